"""What `topics` says of the input's timestamps."""

import json
from collections.abc import Iterator

import pytest

from consumer.cli.topics_text import timestamps_text
from tests.cli.command import run
from tests.support.topics import create_topic, delete_topics, unique


@pytest.fixture(params=["CreateTime", "LogAppendTime"])
def flags(bootstrap_servers: str, request: pytest.FixtureRequest) -> Iterator[tuple[str, list[str]]]:
    """A type of timestamps, and the flags of a worker on a topic that has it."""
    names = {role: unique(role) for role in ("input", "output", "dead_letter", "state")}
    create_topic(bootstrap_servers, names["input"], 1, {"message.timestamp.type": request.param})
    chosen = {f"kafka.{role}_topic": name for role, name in names.items()}
    chosen["kafka.bootstrap_servers"] = bootstrap_servers
    yield request.param, [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]
    delete_topics(bootstrap_servers, list(names.values()))


def test_the_type_and_what_follows_from_it(flags: tuple[str, list[str]]) -> None:
    timestamp_type, chosen = flags
    assert run("topics", *chosen).code == 0
    first, second, *_ = run("topics", "--check", *chosen).out.splitlines()
    assert first.startswith("input topic ")
    assert second == f"  {timestamps_text(timestamp_type)}"
    found = json.loads(run("topics", "--check", "--json", *chosen).out.splitlines()[0])
    assert found["timestamp_type"] == timestamp_type


def test_where_the_type_is_not_known_the_right_that_is_missing_is_named() -> None:
    assert "DescribeConfigs" in timestamps_text("")
    assert timestamps_text("Tomorrow").startswith("timestamps: Tomorrow, ")
