"""A real schema registry for tests: Apicurio, which offers Confluent's API; Maven fetches its release once.

It needs Java 21 or newer, which is looked for in `JAVA_HOME`, on the PATH and where systems install it.
"""

import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from consumer.intake.schemas.http_client import HttpClient, NoResponseError
from tests.support.broker import CACHE, DOWNLOAD_TIMEOUT_S, fetching, lasting_ports
from tests.support.waiting import until

VERSION = "3.3.3"
START_TIMEOUT_S = 90.0

_JAVA_AT_LEAST = 21
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
_INSTALLED = (
    "/usr/lib/jvm/*/bin/java",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home/bin/java",
    "/opt/java/*/bin/java",
)


class NoJavaError(Exception):
    """No Java is new enough; the message says which ones were found."""


class NoRegistryError(Exception):
    """There is such a Java, but no registry to run on it; the message says why."""


class Apicurio:
    """A registry in its own process, with everything in memory."""

    def __init__(self) -> None:
        java, home = find_java(_JAVA_AT_LEAST), _fetched()
        port, management_port = lasting_ports(2)
        self.url = f"http://localhost:{port}/apis/ccompat/v7"
        self._directory = Path(tempfile.mkdtemp(prefix="apicurio-"))
        log = self._directory / "registry.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [java, "-Xmx512m", "-jar", str(home / "quarkus-run.jar")],
                cwd=self._directory,
                env={**os.environ, **_addresses(port, management_port)},
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        try:
            until(self._answers, f"the registry answers; its log is {log}", START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise

    def freeze(self) -> None:
        """Let it accept connections but not answer, like a swapping machine or a network that drops packets."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and delete its data."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._directory / "registry.log").read_text(errors="replace")[-2_000:]
        try:
            return HttpClient(self.url).ask("/subjects", {}, 2.0, 1_000).status == 200
        except NoResponseError:
            return False


def _addresses(port: int, management_port: int) -> dict[str, str]:
    """Return both of its addresses: by default all registries on a machine use the same management port."""
    return {
        "QUARKUS_HTTP_HOST": "localhost",
        "QUARKUS_HTTP_PORT": str(port),
        "QUARKUS_MANAGEMENT_HOST": "localhost",
        "QUARKUS_MANAGEMENT_PORT": str(management_port),
    }


def find_java(at_least: int) -> str:
    """Return the command of a Java of that version or newer.

    Raises:
        NoJavaError: there is none.
    """
    seen = []
    for command in _candidates():
        try:
            output = subprocess.run(
                [command, "-version"], capture_output=True, text=True, timeout=30, check=False
            ).stderr
        except OSError:
            continue
        version = re.search(r'version "(?:1\.)?(\d+)', output)
        if version and int(version[1]) >= at_least:
            return command
        seen.append(f"{command} ({version[1] if version else 'unknown'})")
    raise NoJavaError(f"Java {at_least} or newer is needed; there is {', '.join(seen) or 'none'}")


def _candidates() -> Iterator[str]:
    if home := os.environ.get("JAVA_HOME"):
        yield str(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        yield on_path
    for pattern in _INSTALLED:
        yield from sorted(map(str, Path("/").glob(pattern.removeprefix("/"))))


def _fetched() -> Path:
    """Return the folder of the unpacked release; the first call on this machine fetches it."""
    home = CACHE / f"apicurio-registry-{VERSION}"
    with fetching():
        if not home.is_dir():
            _fetch(home)
    return home


def _fetch(home: Path) -> None:
    """Fetch to a temporary place and rename, so that a partial download never counts."""
    if shutil.which("mvn") is None:
        raise NoRegistryError(f"mvn, which fetches Apicurio into {home}, is not on the PATH")
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{home.name}-") as unfinished:
        copy = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={unfinished}"]
        try:
            subprocess.run(copy, check=True, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise NoRegistryError(f"mvn could not fetch Apicurio: {str(error.stdout)[-500:]}") from None
        (archive,) = Path(unfinished).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(Path(unfinished) / "app", filter="data")
        (Path(unfinished) / "app").rename(home)
