"""Work is bounded: a large jump of time closes in pieces that are committed one by one; reading pauses."""

from collections.abc import Callable, Iterable

import pytest

from consumer.kafka.errors import TransactionLost
from consumer.settings.model import CommitSettings
from consumer.state.keys import CHECKPOINT, JOURNAL
from consumer.worker import backpressure, publishing, restoring
from tests.worker.rig import INTERVAL_S, Rig

STREAMS = 40
SINGLE = (CHECKPOINT, JOURNAL)
"""What a checkpoint has besides rows."""


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "CLOSED_AT_ONCE", 3)
    monkeypatch.setattr(backpressure, "HIGH_BYTES", 1_000)
    monkeypatch.setattr(backpressure, "LOW_BYTES", 500)


def audience(rig: Rig) -> None:
    for number in range(STREAMS):
        rig.join(0, stream_id=f"s{number}")
    rig.turn(INTERVAL_S, times=2)


def published(rig: Rig) -> list[tuple[object, ...]]:
    return sorted(tuple(sorted(each.items(), key=str)) for each in rig.summaries())


def by_a_record(rig: Rig) -> None:
    rig.join(100, stream_id="s0")
    for number in range(STREAMS):
        rig.join(101, stream_id=f"s{number}")


def by_the_clock(rig: Rig) -> None:
    for _ in range(300):
        rig.turn(1.0)


def whole(jump: Callable[[Rig], None]) -> list[tuple[object, ...]]:
    rig = rig_for(jump)
    audience(rig)
    jump(rig)
    rig.turn(INTERVAL_S, times=60)
    return published(rig)


def rig_for(jump: Callable[[Rig], None]) -> Rig:
    """Return a worker whose clock closes nothing unless that is tested."""
    return Rig(stream_idle_ms=2_000, partition_idle_ms=5_000 if jump is by_the_clock else 3_600_000).start()


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("jump", [by_a_record, by_the_clock])
@pytest.mark.parametrize("killed_every", [None, 1, 3])
def test_a_jump_in_pieces_gives_the_same_summaries_once(jump: Callable[[Rig], None], killed_every: int | None) -> None:
    rig = rig_for(jump)
    audience(rig)
    commits = len(rig.transactions.carried)
    jump(rig)
    rig_commits = 0
    for turn in range(1, 120):
        rig.turn(INTERVAL_S)
        if killed_every is not None and turn % killed_every == 0 and turn < 90:
            rig_commits += len(rig.transactions.carried)
            rig.kill()
    assert rig_commits + len(rig.transactions.carried) - commits > STREAMS // 6, "there are many commits"
    with pytest.MonkeyPatch.context() as usual:
        usual.setattr(restoring, "CLOSED_AT_ONCE", 1_000_000)
        assert published(rig) == whole(jump)


@pytest.mark.usefixtures("small_pieces")
def test_reading_is_paused_while_a_jump_is_pending_and_continues_at_the_next_record() -> None:
    rig = Rig(stream_idle_ms=2_000).start()
    audience(rig)
    by_a_record(rig)
    rig.turn()
    task = rig.worker._tasks[0]
    assert task.jumping
    assert task.paused
    assert task.next_offset == STREAMS + 1, "the record that causes the jump is counted, later ones are not"
    rig.turn(INTERVAL_S, times=60)
    assert not task.paused
    assert task.next_offset == len(rig.cluster.log[0])
    assert (0, STREAMS + 1) in rig.input.begun


@pytest.mark.usefixtures("small_pieces")
def test_a_commit_inside_a_jump_is_a_checkpoint_that_holds_it() -> None:
    rig = Rig(stream_idle_ms=2_000).start()
    audience(rig)
    rig.join(100, stream_id="s0")
    rig.turn(INTERVAL_S, times=2)
    newest = next(each.value for each in reversed(rig.states()) if each.key == CHECKPOINT)
    assert newest is not None
    assert b'"jump":{"reason":"STREAM_IDLE","offset":40}' in newest


@pytest.mark.usefixtures("small_pieces")
def test_changed_settings_take_effect_in_pieces_and_survive_kills() -> None:
    def run(*, kills: bool) -> list[tuple[object, ...]]:
        rig = Rig(grace_ms=5_000).start()
        for number in range(STREAMS):
            rig.join(0, stream_id=f"s{number}")
            rig.join(3, stream_id=f"s{number}")
        rig.turn(INTERVAL_S, times=3)
        rig.settings = rig.settings.model_copy(
            update={"windows": rig.settings.windows.model_copy(update={"grace_ms": 0})}
        )
        rig.kill()
        for turn in range(60):
            rig.turn(INTERVAL_S)
            if kills and turn < 20:
                rig.kill()
        return published(rig)

    expected = run(kills=False)
    assert len(expected) == STREAMS
    assert run(kills=True) == expected


def test_an_overdue_transaction_is_committed_before_more_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig().start()
    rig.join(0)
    rig.join(1)
    monkeypatch.setattr(publishing, "SEND_AT_ONCE", 1)
    rig.turn()
    assert rig.worker._publisher.is_overdue() is False
    rig.clock.now_s += 11.0  # more than half of transaction.timeout.ms
    assert rig.worker._publisher.is_overdue()
    rig.join(2)
    rig.worker._backpressure.turn(rig.worker._tasks)
    assert rig.worker._tasks[0].paused
    rig.turn(INTERVAL_S, times=3)
    assert rig.buckets() == [0, 1]


def test_a_checkpoint_too_slow_for_its_transaction_makes_the_worker_unready_and_names_the_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(commit=CommitSettings(checkpoint_interval_ms=10_000)).start()
    produce_all, took_s = rig.transactions.produce_all, 11.0  # more than half of transaction.timeout.ms

    def slow(topic: str, records: Iterable[tuple[bytes | None, bytes | None]], partition: int = -1) -> None:
        rig.clock.now_s += took_s
        produce_all(topic, records, partition)

    monkeypatch.setattr(rig.transactions, "produce_all", slow)
    rig.join(0)
    rig.turn(1.0, times=3)
    size = sum(len(each.key or b"") + len(each.value or b"") for each in rig.states() if each.key not in SINGLE)
    latest = rig.board.latest()
    assert latest.health.reason == (
        f"partition 0: a checkpoint of {size} bytes took 11 s to send, more than half of transaction.timeout.ms; set "
        "kafka.client transaction.timeout.ms to 33000 or more"
    )
    assert latest.health.missing() == ("commits succeed",)
    took_s = 0.0
    rig.join(0)
    rig.turn(10.0, times=2)
    rig.turn(1.0)
    assert rig.board.latest().health.ready, "a later checkpoint was fast"


def test_a_transaction_lost_with_a_checkpoint_too_slow_for_it_names_the_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig().start()

    def too_slow(*_: object) -> None:
        rig.clock.now_s += 21.0  # more than transaction.timeout.ms
        raise TransactionLost("_FENCED", "the broker has ended it")

    rig.join(0)
    with monkeypatch.context() as patched:
        patched.setattr(rig.transactions, "produce_all", too_slow)
        rig.turn(1.0, times=8)
        assert rig.board.latest().health.reason.endswith(
            "transactions in a row were lost, nothing is committed: _FENCED: the broker has ended it; its checkpoints "
            "took 21 s to send, more than half of transaction.timeout.ms; set kafka.client transaction.timeout.ms to "
            "63000 or more"
        )
    rig.turn(1.0, times=4)
    assert rig.board.latest().health.ready, "a later one was fast"
