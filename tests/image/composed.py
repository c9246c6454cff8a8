"""The compose file: brought up with these images, events counted and scraped, and down in seconds."""

import shutil
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tests.deploy.files import DEPLOY
from tests.image.checks import GIVE_UP_S, STOPPED_WITHIN_S, Finding
from tests.image.container import Container, Stopped
from tests.image.engine import Engine, EngineError

UP_TIMEOUT_S = 240.0
END_CODES = {"worker": 0, "audience": 130}
"""130: the simulation says that it was interrupted."""

_SCRAPED = r'"health":"up".*"job":"viewer-consumer"|"job":"viewer-consumer".*"health":"up"'


class Composed(NamedTuple):
    """A project of Compose."""

    tool: Engine
    before: tuple[str, ...]
    engine: Engine

    def call(self, *arguments: str) -> str:
        return self.tool.call(*self.before, *arguments, timeout_s=UP_TIMEOUT_S)

    def container(self, service: str) -> Container:
        """The only one of a service."""
        return Container(self.engine, self.call("ps", "-q", service), time.monotonic())


def check_compose(engine: Engine, name: str, images: Mapping[str, str | None]) -> Iterator[Finding]:
    """Up, events counted, scraped, down; without Grafana.

    Args:
        engine: runs them.
        name: of the project.
        images: variables of the compose file; None for one that is not available.
    """
    project = _project(engine, name, {key: image for key, image in images.items() if image})
    yield Finding("compose: version", project.tool.name)
    project.call("config", "--quiet")
    try:
        yield from _check_up(project, prometheus=images["PROMETHEUS_IMAGE"] is not None)
        yield _check_down(project)
    finally:
        project.call("down", "--volumes")


def _check_up(project: Composed, *, prometheus: bool) -> Iterator[Finding]:
    began_s = time.monotonic()
    project.call("up", "-d", "--no-build", "audience", *(("prometheus",) if prometheus else ()))
    worker = project.container("worker")
    worker.until_it_says("/readyz", "^200 ", GIVE_UP_S)
    worker.until_it_says("/metrics", r"^viewer_consumer_events_total\{type=\"join\"\} [1-9]", GIVE_UP_S)
    yield Finding("compose: up until events are counted", f"{time.monotonic() - began_s:.0f} s")
    if prometheus:
        # Its own image has no Python: the worker asks.
        worker.until_it_says("/api/v1/targets", _SCRAPED, GIVE_UP_S, port=9090, host="prometheus")
        yield Finding("compose: Prometheus", "scrapes the worker")


def _check_down(project: Composed) -> Finding:
    names = {service: project.container(service).name for service in END_CODES}
    began_s, began = time.monotonic(), time.time()
    project.call("down", "--volumes")
    down_s = time.monotonic() - began_s
    ends = {service: _end_of(project.engine, name, began) for service, name in names.items()}
    slowest_s = max(end.seconds for end in ends.values())
    texts = [f"{service} {end.seconds:.1f} s, exit code {end.exit_code}" for service, end in ends.items()]
    met = {service: end.exit_code for service, end in ends.items()} == END_CODES and slowest_s <= STOPPED_WITHIN_S
    limit = f"at most {STOPPED_WITHIN_S:.0f} s each"
    return Finding("compose: down", f"{', '.join(texts)} ({limit}); everything {down_s:.0f} s", met)


def _end_of(engine: Engine, container: str, since: float) -> Stopped:
    """How a container that is gone ended, by the engine's events: from its first signal on."""
    span = ("--since", f"{since - 1:.3f}", "--until", f"{time.time():.3f}", "--filter", f"container={container}")
    shape = '{{.Action}} {{.TimeNano}} {{index .Actor.Attributes "exitCode"}}'
    events = [line.split() for line in engine.call("events", *span, "--format", shape).splitlines()]
    signalled = next(int(event[1]) for event in events if event[0] == "kill")
    died = next(event for event in events if event[0] == "die")
    return Stopped((int(died[1]) - signalled) / 1e9, int(died[2]))


def _project(engine: Engine, name: str, images: Mapping[str, str]) -> Composed:
    variables = {**engine.environ, **images}
    options = ("--file", str(DEPLOY / "compose.yaml"), "--project-name", name)
    plugin = Engine("docker compose", engine.program, variables)
    try:
        return Composed(plugin._replace(name=plugin.call("compose", "version")), ("compose", *options), engine)
    except EngineError:
        program = shutil.which("docker-compose")
    if program is None:
        raise EngineError("neither `docker compose` nor docker-compose is installed (Debian package: docker-compose)")
    alone = Engine("docker-compose", program, variables)
    return Composed(alone._replace(name=f"docker-compose {alone.call('version', '--short')}"), options, engine)
