"""A few seeds, that a run can be repeated, and that it finds workers that are broken."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from confluent_kafka import KafkaError

from consumer.kafka.deadline import Deadline
from consumer.kafka.errors import Outcome, TransactionAborted, TransactionLost
from consumer.kafka.transaction import TransactionOwner
from consumer.worker.loop import Worker
from tests.simulation.run import simulate

KEPT = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "seeds.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]

SEARCHED = 100


@pytest.mark.parametrize("seed", [*range(1, 11), *KEPT])
def test_nothing_is_lost_doubled_wrong_or_stuck(seed: int) -> None:
    result = simulate(seed)
    assert not result.problem
    assert result.seen["summaries"] > 0


def test_a_seed_gives_the_same_run_again() -> None:
    first: list[str] = []
    again: list[str] = []
    assert simulate(KEPT[0], first.append) == simulate(KEPT[0], again.append)
    assert first == again


def a_lost_commit_is_taken_for_an_aborted_one(owner: TransactionOwner, error: KafkaError) -> None:
    owner._drop_producer()
    raise TransactionAborted(error.name(), error.str())


def nothing_is_restored_after_a_loss(worker: Worker) -> None:
    worker._publisher.outcome_unknown = False
    for task in worker._tasks.values():
        task.outbox.send_again()


def nothing_is_aborted_with_lost_partitions(worker: Worker, partitions: list[int]) -> None:
    worker._drop(partitions)


RETRIED = TransactionOwner._retried


def a_lost_call_counts_as_done(owner: TransactionOwner, deadline: Deadline, call: Any, too_late: Outcome) -> None:
    with contextlib.suppress(TransactionLost):
        RETRIED(owner, deadline, call, too_late)


@pytest.mark.parametrize(
    ("owner", "name", "broken", "first"),
    [
        (TransactionOwner, "_lose_transaction", a_lost_commit_is_taken_for_an_aborted_one, KEPT[0]),
        (TransactionOwner, "_retried", a_lost_call_counts_as_done, 1),
        (Worker, "_start_over", nothing_is_restored_after_a_loss, KEPT[0]),
        (Worker, "on_lost", nothing_is_aborted_with_lost_partitions, 1),
    ],
)
def test_a_broken_worker_is_found(owner: type, name: str, broken: Callable[..., Any], first: int) -> None:
    """The first seed shows it today; where the worker's calls have changed, another one soon does."""
    with patch.object(owner, name, broken):
        assert any("summaries instead of" in simulate(seed).problem for seed in range(first, first + SEARCHED))
