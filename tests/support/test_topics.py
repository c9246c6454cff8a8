"""What tests do to topics leaves no client of the library behind."""

import gc
import weakref
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from tests.support import topics
from tests.support.topics import unique


def test_a_client_that_deletes_topics_is_gone_without_a_collection(
    bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[AdminClient]] = []

    class Remembered(AdminClient):
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__(config)
            made.append(weakref.ref(self))

    monkeypatch.setattr(topics, "AdminClient", Remembered)
    gc.disable()  # switched on again behind the test
    topics.delete_topics(bootstrap_servers, [unique("never-there")])
    assert [each() for each in made] == [None]
