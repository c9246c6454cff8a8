"""Heartbeats, and events whose samples are no numbers, in a worker: their viewers count, and nothing is rejected."""

from tests.intake.payloads import bitrate, heartbeat, join
from tests.worker.rig import Rig

MORE_THAN_OPEN_THE_BREAKER = 1_500


def live(rig: Rig) -> int:
    return sum(view.concurrent_viewers for view in rig.worker._tasks[0].windows.views())


def test_viewers_without_a_bitrate_are_counted_and_open_no_breaker() -> None:
    rig = Rig(counting="sessions", grace_ms=0).start()
    for number in range(MORE_THAN_OPEN_THE_BREAKER):
        rig.write(bitrate(-1, rig.clock.now_ms(), f"v{number}"))
    rig.turn(0.1)
    assert live(rig) == MORE_THAN_OPEN_THE_BREAKER
    assert rig.counted("skipped_samples_total", field="bitrate_bps") == MORE_THAN_OPEN_THE_BREAKER
    assert rig.counted("skipped_samples_total", field="duration_ms") == 0
    assert rig.counted("events_total", type="heartbeat") == MORE_THAN_OPEN_THE_BREAKER
    rig.turn(1.0)
    assert rig.dead_letters() == []
    rig.kill()
    assert live(rig) == MORE_THAN_OPEN_THE_BREAKER, "a replay counts them too"
    assert rig.counted("skipped_samples_total", field="bitrate_bps") == 0, "and increments no counter"


def test_heartbeats_make_viewers_present_in_sessions_and_change_no_count_in_events() -> None:
    for counting, viewers in (("sessions", 3), ("events", 1)):
        rig = Rig(counting=counting).start()
        now_ms = rig.clock.now_ms()
        rig.write(join("s", "a", now_ms))
        for viewer in "bc":
            rig.write(heartbeat("s", viewer, now_ms))
        rig.turn(0.1)
        assert live(rig) == viewers
        assert [rig.counted("events_total", type=kind) for kind in ("join", "heartbeat")] == [1, 2]
