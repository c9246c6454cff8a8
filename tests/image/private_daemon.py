"""A Docker daemon of its own for machines without an engine: nobody finds its socket, and it leaves nothing behind.

It runs in a network namespace of its own, so that its bridge and its rules of iptables are not the machine's;
slirp4netns connects that to the outside. Debian's packages have all of it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.image.engine import Engine, EngineError, NoEngineError
from tests.support.waiting import until

TOOLS = ("dockerd", "debootstrap", "iptables", "slirp4netns", "unshare")
PACKAGES = "docker.io docker-compose debootstrap iptables slirp4netns"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
DEBIANS_CLIENT = "/usr/bin/docker"
"""It fits the daemon and has BuildKit; a newer one that comes first on the PATH may lack its plugin."""


@contextlib.contextmanager
def private_daemon() -> Iterator[Engine]:
    """Yield an engine that ends with this context.

    Raises:
        NoEngineError: a tool is missing.
    """
    _need_tools()
    with tempfile.TemporaryDirectory(prefix="image-test-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        socket = home / "docker.sock"
        environ = {"DOCKER_HOST": f"unix://{socket}", "DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": str(home / "client")}
        engine = Engine("private dockerd", DEBIANS_CLIENT, environ)
        with contextlib.ExitStack() as stack:
            stack.callback(_unmount, home)
            daemon = stack.enter_context(_process(_command(home), home / "dockerd.log"))
            until(lambda: _answers(engine), "the private daemon answers", START_TIMEOUT_S)
            connect = ["slirp4netns", "--configure", "--mtu=1400", "--disable-host-loopback", str(daemon), "tap0"]
            stack.enter_context(_process(connect, home / "slirp4netns.log"))
            routes = Path(f"/proc/{daemon}/net/route")
            until(lambda: "tap0" in routes.read_text(), "the private daemon is connected", START_TIMEOUT_S)
            yield engine._replace(name=f"private dockerd {_version(engine)}")


def _need_tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        raise NoEngineError(
            f"no Docker or Podman answers; a private daemon needs root and {', '.join(TOOLS)}: "
            f"apt-get install --no-install-recommends {PACKAGES}"
        )


def _command(home: Path) -> list[str]:
    daemon = f"exec dockerd --host unix://{home}/docker.sock --data-root {home}/data --exec-root {home}/exec"
    return ["unshare", "--net", "sh", "-c", f"ip link set lo up; {daemon} --pidfile {home}/docker.pid"]


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[int]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(engine: Engine) -> bool:
    try:
        return bool(_version(engine))
    except EngineError:
        return False


def _version(engine: Engine) -> str:
    return engine.call("version", "--format", "{{.Server.Version}}", timeout_s=15.0)


def _unmount(home: Path) -> None:
    for namespace in (home / "exec/netns").glob("*"):
        subprocess.run(["umount", str(namespace)], capture_output=True, check=False)
