from collections.abc import Iterator

import pytest

from tests.intake.schemas.registry_server import RegistryServer


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    """A registry without schemas."""
    server = RegistryServer()
    yield server
    server.close()
