"""Docker or Podman by its command line: one that answers here, else a private daemon."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

BUILD_TIMEOUT_S = 900.0
PULL_TIMEOUT_S = 300.0


class EngineError(Exception):
    """The engine refused a command; the message has what it printed."""


class NoEngineError(Exception):
    """No engine is available here; the message says what is missing."""


class Engine(NamedTuple):
    """An engine that answers."""

    name: str
    """For people."""
    program: str
    environ: Mapping[str, str] = MappingProxyType({})

    def call(self, *arguments: str, timeout_s: float = 120.0, given: str = "") -> str:
        """Run one command and return what it prints.

        Raises:
            EngineError: it failed, or took too long.
        """
        try:
            done = subprocess.run(
                [self.program, *arguments],
                env={**os.environ, **self.environ},
                input=given,
                capture_output=True,
                encoding="utf-8",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"{' '.join(arguments)}: took more than {timeout_s:.0f} s") from None
        if done.returncode != 0:
            raise EngineError(f"{' '.join(arguments)}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout.strip()

    def build(self, tag: str, context: Path, *options: str) -> None:
        """Build an image with BuildKit, where the engine is Docker."""
        docker_format = () if Path(self.program).name == "docker" else ("--format", "docker")
        self.call("build", *docker_format, *options, "--tag", tag, str(context), timeout_s=BUILD_TIMEOUT_S)

    def has(self, image: str) -> bool:
        """Whether an image is there, or can be pulled."""
        with contextlib.suppress(EngineError):
            self.call("image", "inspect", image)
            return True
        with contextlib.suppress(EngineError):
            self.call("pull", "--quiet", image, timeout_s=PULL_TIMEOUT_S)
            return True
        return False

    def bytes_of(self, image: str) -> int:
        """Size of an image."""
        return int(self.call("image", "inspect", "--format", "{{.Size}}", image))


def running_engine() -> Engine | None:
    """Find an engine that answers and builds, Docker first.

    A client may lack BuildKit's plugin though the next one on the PATH has it.
    """
    folders = os.get_exec_path()
    for program in ("docker", "podman"):
        for path in filter(None, (shutil.which(program, path=folder) for folder in folders)):
            engine = Engine(program, path, {"DOCKER_BUILDKIT": "1"})
            field = "{{.Server.Version}}" if program == "docker" else "{{.Version}}"
            with contextlib.suppress(EngineError):
                version = engine.call("version", "--format", field, timeout_s=15.0)
                engine.call("build", "--quiet", "-", given="FROM scratch\nLABEL made-by=image-test\n")
                return engine._replace(name=f"{program} {version}")
    return None


@contextlib.contextmanager
def labelled(engine: Engine, label: str) -> Iterator[None]:
    """Remove every container and network with this label at the end."""
    try:
        yield
    finally:
        of_label = ("--quiet", "--filter", f"label={label}")
        for container in engine.call("ps", "--all", *of_label).split():
            engine.call("rm", "--force", container)
        for network in engine.call("network", "ls", *of_label).split():
            engine.call("network", "rm", network)
