"""Kafka in a container, as the compose file starts it."""

import contextlib
from collections.abc import Iterator

from tests.deploy.files import compose
from tests.image.container import Container, Launcher
from tests.image.engine import EngineError
from tests.support.waiting import until

_START_TIMEOUT_S = 120.0


@contextlib.contextmanager
def kafka_running(launcher: Launcher) -> Iterator[Container]:
    """Start it as `kafka` in the launcher's network, with an input topic."""
    services = compose()["services"]
    variables = services["kafka"]["environment"]
    options = ("--network-alias=kafka", *(f"--env={name}={value}" for name, value in variables.items()))
    with launcher.running(options=options) as container:
        check = services["kafka"]["healthcheck"]["test"][1:]
        until(lambda: _succeeds(container, check), "Kafka answers", _START_TIMEOUT_S)
        container.run(*services["input-topic"]["entrypoint"], *services["input-topic"]["command"])
        yield container


def _succeeds(container: Container, command: list[str]) -> bool:
    try:
        container.run(*command)
    except EngineError:
        return False
    return True
