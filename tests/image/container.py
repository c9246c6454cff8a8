"""One container of a worker: start it, wait for what its HTTP server says, stop it."""

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple

from tests.image.engine import Engine, EngineError

STOP_GRACE_S = 30
"""As the compose file and the Kubernetes objects have it."""

_UNTIL = """
import re, sys, time, urllib.error, urllib.request
url, pattern, within_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
end_s, last = time.monotonic() + within_s, ""
while time.monotonic() < end_s:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            last = f"{answer.status} {answer.read().decode()}"
    except urllib.error.HTTPError as error:
        last = f"{error.code} {error.read().decode()}"
    except OSError as error:
        last = str(error)
    if re.search(pattern, last, re.MULTILINE):
        sys.exit(0)
    time.sleep(0.1)
sys.exit(f"not within {within_s:.0f} s: {pattern}; the last answer: {last[-2000:]}")
"""


class Stopped(NamedTuple):
    """How a container ended."""

    seconds: float
    exit_code: int


class Container(NamedTuple):
    """A container that was started."""

    engine: Engine
    name: str
    started_s: float

    def run(self, *command: str, timeout_s: float = 120.0) -> str:
        """Run a command inside and return what it prints."""
        return self.engine.call("exec", self.name, *command, timeout_s=timeout_s)

    def until_it_says(
        self, path: str, pattern: str, within_s: float, port: int = 9464, host: str = "127.0.0.1"
    ) -> float:
        """Wait for an answer, status and body, that has this pattern; return the seconds since the start.

        Raises:
            EngineError: there is none in time; with the last answer and the last lines of the log.
        """
        url = f"http://{host}:{port}{path}"
        try:
            self.run("python", "-c", _UNTIL, url, pattern, str(within_s), timeout_s=within_s + 60)
        except EngineError as error:
            raise EngineError(f"{str(error)[-3000:]}\n{self.last_lines()}") from None
        return time.monotonic() - self.started_s

    def last_lines(self) -> str:
        """The end of its log, which goes to stderr."""
        with contextlib.suppress(EngineError):
            command = f'exec "$0" logs --tail 20 {self.name} 2>&1'
            return Engine("sh", "/bin/sh", self.engine.environ).call("-c", command, self.engine.program)
        return ""

    def signal(self, name: str) -> None:
        """Send a signal to its first process."""
        self.engine.call("kill", "--signal", name, self.name)

    def stop(self) -> Stopped:
        """Stop it as a platform does."""
        began_s = time.monotonic()
        self.engine.call("stop", "--time", str(STOP_GRACE_S), self.name)
        return self.ended(began_s)

    def ended(self, began_s: float) -> Stopped:
        """Wait until it has ended."""
        code = self.engine.call("wait", self.name)
        return Stopped(time.monotonic() - began_s, int(code))

    def state(self, field: str) -> str:
        """A field of its state, as `.State.Health.Status`."""
        return self.engine.call("inspect", "--format", f"{{{{{field}}}}}", self.name)


class Launcher(NamedTuple):
    """Starts containers of an image in a network; all of them have the label."""

    engine: Engine
    label: str
    network: str
    image: str

    @contextlib.contextmanager
    def running(
        self, *command: str, options: tuple[str, ...] = (), files: tuple[tuple[str, str], ...] = ()
    ) -> Iterator[Container]:
        """Start one and remove it at the end.

        Args:
            command: behind the image's name.
            options: of `docker create`.
            files: pairs of a file here and its place inside.
        """
        name = self.engine.call(
            "create", "--label", self.label, "--network", self.network, *options, self.image, *command
        )
        try:
            for source, target in files:
                self.engine.call("cp", source, f"{name}:{target}")
            started_s = time.monotonic()
            self.engine.call("start", name)
            yield Container(self.engine, name, started_s)
        finally:
            self.engine.call("rm", "--force", name)

    def output_of(self, *command: str, options: tuple[str, ...] = (), timeout_s: float = 300.0) -> str:
        """Run one to its end and return what it prints."""
        common = ("--rm", "--label", self.label, "--network", self.network)
        return self.engine.call("run", *common, *options, self.image, *command, timeout_s=timeout_s)
