"""What the page shows of closed buckets: what was committed, since the partition became live.

read       close 0        commit          close 1   abort   commit
  ├───────────┼──────────────┼────────────────┼───────┼───────┤
shown    -          -        0                0       0       0 1
"""

from consumer.kafka.errors import TransactionAborted
from tests.worker.rig import INTERVAL_S, Rig


def test_a_bucket_is_shown_once_it_is_committed() -> None:
    rig = Rig().start()
    rig.join(0)
    rig.join(1)
    rig.turn(INTERVAL_S / 2)
    assert (rig.buckets(), rig.shown()) == ([], [])
    rig.turn(INTERVAL_S)
    assert rig.buckets() == rig.shown() == [0]


def test_after_an_abort_a_bucket_is_shown_once() -> None:
    rig = Rig().start()
    rig.join(0)
    rig.join(1)
    rig.transactions.fail("commit", TransactionAborted("_TIMED_OUT", "in a test"))
    rig.turn(INTERVAL_S)
    assert rig.shown() == []
    rig.turn(INTERVAL_S, times=3)
    assert rig.buckets() == rig.shown() == [0]


def test_after_a_restore_the_history_begins_empty_and_says_since_when() -> None:
    rig = Rig().start()
    rig.join(0)
    rig.join(1)
    rig.turn(INTERVAL_S, times=3)
    assert rig.shown() == [0]
    rig.input.lose(0)
    rig.input.assign(0)
    rig.turn()
    rig.until_live()
    assert rig.shown() == []
    assert rig.history.since_ms(0) == rig.clock.now_ms()
    rig.join(2)
    rig.turn(INTERVAL_S, times=3)
    assert rig.shown() == [1]
    assert rig.buckets() == [0, 1]


def test_each_partition_shows_its_own() -> None:
    rig = Rig(partitions=2).start()
    for partition in (0, 1):
        rig.join(0, partition)
        rig.join(1 + partition, partition)
    rig.turn(INTERVAL_S, times=3)
    assert (rig.shown(0), rig.shown(1)) == ([0], [0])
    rig.join(3, 1)
    rig.turn(INTERVAL_S, times=3)
    assert (rig.shown(0), rig.shown(1)) == ([0], [0, 2])


def test_the_snapshot_says_how_old_it_is_and_what_is_done_per_second() -> None:
    rig = Rig(partitions=2).start()
    for bucket in range(5):
        rig.join(bucket)
        rig.turn(1.0)
    snapshot = rig.board.latest()
    assert snapshot.taken_s == rig.clock.now_s
    assert snapshot.history_buckets == len(rig.history) == 4
    assert snapshot.rates["events"] == 1.0
    assert snapshot.streams[0].partitions == (0,)
    rig.input.lose(1)
    rig.input.assign(1)
    rig.reader.errors[rig.settings.kafka.state_topic, 1] = "no leader"
    rig.turn(1.0)
    assert rig.board.latest().waiting == (1,)
