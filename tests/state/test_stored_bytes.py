"""State that an earlier release wrote is restored, and the same summaries and rows follow, byte for byte.

`stored/` holds what commit d222fab left in a state partition when its worker was killed behind a checkpoint, and what
its next worker wrote and published from there. `stored/rules_1_*` holds what commit 3938618 left: its journal was made
without clamping, of events ahead of their records. `stored/rules_2_*` holds what commit bce3d8e left: its journal was
made with samples of 0 that were rounded from below 0, and with rejects that are signs of life by now. Never write these
files anew: they stand for state that users have.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from consumer.intake.intake import Intake
from consumer.intake.intakes import Intakes
from consumer.settings.field_sources import FieldPath, FieldSettings
from consumer.settings.model import CommitSettings, InputSettings
from consumer.state import checkpoint
from consumer.state.checkpoint import RULES_VERSION
from consumer.state.keys import CHECKPOINT, JOURNAL
from tests.intake.payloads import bitrate, confluent, join
from tests.support.fakes import Published
from tests.worker.rig import INTERVAL_S, Rig

VERSION_1 = {
    JOURNAL: ("next_offset", "steps", "summaries", "summaries_digest", "rejects"),
    CHECKPOINT: (
        "next_offset", "times", "hash_key", "rows", "settings", "identity"
    ),
}  # fmt: skip

STORED = Path(__file__).parent / "stored"
NO_EVENT = b"no event"


def rig_on(stored: dict[str, Any]) -> Rig:
    """Return a worker that has restored the partition."""
    settings = {key: stored[key] for key in ("counting", "grace_ms", "viewer_timeout_ms")}
    scaled = FieldPath(path="event.bitrate_bps", scale=stored["bitrate_scale"]) if "bitrate_scale" in stored else None
    rig = Rig(
        **settings,
        commit=CommitSettings(checkpoint_interval_ms=stored.get("checkpoint_interval_ms", 30_000)),
        fields=FieldSettings(bitrate_bps=scaled),
    )
    rig.clock.now_s = stored["now_s"]
    for value, timestamp_ms in zip(stored["input"], stored["timestamps_ms"], strict=True):
        rig.cluster.write(0, NO_EVENT if value is None else confluent(bytes.fromhex(value)), timestamp_ms)
    topic = rig.settings.kafka.state_topic
    rig.cluster.published = [
        Published(topic, bytes.fromhex(key), None if value is None else bytes.fromhex(value), partition=0)
        for key, value in stored["states"]
    ]
    rig.cluster.committed[0] = stored["committed"]
    return rig.start()


@pytest.mark.parametrize("counting", ["sessions", "events"])
def test_a_worker_continues_stored_state_with_the_same_bytes(counting: str) -> None:
    stored = json.loads((STORED / f"{counting}.json").read_text(encoding="utf-8"))
    rig = rig_on(stored)
    for value in stored["then"]:
        rig.write(bytes.fromhex(value))
        rig.turn(INTERVAL_S)
    rig.turn(1.5, times=2)
    rig.turn(61.0, times=2)
    rig.worker.stop()
    assert rig.summaries() == stored["summaries_then"]
    assert len(rig.summaries()) > 10
    written = {each.key or b"": each.value for each in rig.states()}
    expected = {bytes.fromhex(k): v and bytes.fromhex(v) for k, v in [*stored["states"], *stored["states_then"]]}
    assert [comparable(*each) for each in sorted(written.items())] == [
        comparable(*each) for each in sorted(expected.items())
    ]
    assert checkpoints_of(rig)[-1]["rules_version"] == RULES_VERSION


def comparable(key: bytes, value: bytes | None) -> tuple[bytes, object]:
    """Return rows unchanged; of checkpoints and journals, the fields of version 1 that the change of rules keeps."""
    if value is None or key not in (CHECKPOINT, JOURNAL):
        return key, value
    record = json.loads(value)
    if key == CHECKPOINT:
        record["settings"]["input"]["events"].pop("heartbeat", None)  # settings that version 1 did not have
        record["settings"]["input"].pop("key_format", None)
    return key, {name: record.get(name) for name in VERSION_1[key]}


def checkpoints_of(rig: Rig) -> list[dict[str, Any]]:
    return [json.loads(each.value or b"") for each in rig.states() if each.key == CHECKPOINT]


def stored_under_rules(version: int, counting: str) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((STORED / f"rules_{version}_{counting}.json").read_text(encoding="utf-8"))
    return stored | {"checkpoint_interval_ms": 86_400_000}


# fast clock       ·  ·  ·  ·  F            F     its events are 20 s ahead of their records
# the old worker   ───────────────────────────x   closed buckets up to F's time; all others were late
# this one                                    └─ replays that, and only then takes F at its record's time


@pytest.mark.parametrize("counting", ["sessions", "events"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_journal_made_under_earlier_rules_is_replayed_under_them(version: int, counting: str) -> None:
    stored = stored_under_rules(version, counting)
    rig = rig_on(stored)
    assert rig.counted("replayed_records_total") > 10
    assert (rig.board.latest().stopped, rig.worker._restoring.reason) == (0, "")
    rig.turn(INTERVAL_S, times=2)
    before = [bytes.fromhex(key) for key, _ in stored["states"]].count(CHECKPOINT)
    assert [(each["rules_version"], each["next_offset"]) for each in checkpoints_of(rig)][before:] == [
        (RULES_VERSION, stored["committed"])
    ], "the new rules take effect at a checkpoint, before any record"
    assert len(rig.states()) > len(stored["states"])
    assert rig.summaries() == []


@pytest.mark.parametrize("counting", ["sessions", "events"])
def test_behind_that_checkpoint_events_are_clamped(counting: str) -> None:
    stored = stored_under_rules(1, counting)
    rig = rig_on(stored)
    rig.turn(INTERVAL_S, times=2)
    time_ms = rig.worker._tasks[0].windows.times().partition_time_ms or 0
    rig.clock.now_s = time_ms / 1000 + 1  # where the fast clock was
    written_ms = rig.clock.now_ms()
    rig.write(join("a", "fast", written_ms + 20_000))
    rig.turn(INTERVAL_S)
    rig.turn(1.0)
    assert rig.counted("clamped_events_total") == 1
    assert rig.worker._tasks[0].windows.times().partition_time_ms == written_ms
    rig.kill()
    assert rig.counted("replayed_records_total") == 1
    assert rig.worker._tasks[0].windows.times().partition_time_ms == written_ms, "its replay clamps too"


def test_with_clamping_the_same_replay_would_give_other_summaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "clamps", lambda _version: True)
    rig = rig_on(stored_under_rules(1, "sessions"))
    assert "the replay does not give what was published before" in rig.worker._restoring.reason


def test_a_worker_killed_before_that_checkpoint_leaves_state_of_the_old_rules() -> None:
    stored = stored_under_rules(1, "sessions")
    rig = rig_on(stored)
    for _ in range(3):
        rig.kill()
    assert rig.worker._restoring.reason == ""
    assert [each["rules_version"] for each in checkpoints_of(rig)][-1] in {1, RULES_VERSION}
    rig.turn(INTERVAL_S, times=2)
    assert checkpoints_of(rig)[-1]["rules_version"] == RULES_VERSION


def test_with_negative_samples_skipped_the_same_replay_would_give_other_summaries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoint, "skips_negative", lambda _version: True)
    rig = rig_on(stored_under_rules(2, "sessions"))
    assert "the replay does not give what was published before" in rig.worker._restoring.reason


def test_behind_that_checkpoint_samples_below_0_are_skipped() -> None:
    rig = rig_on(stored_under_rules(2, "sessions"))
    rig.turn(INTERVAL_S, times=2)
    start_ms = rig.clock.now_ms() // 1_000 * 1_000 + 10_000  # all others have timed out by then
    rig.clock.now_s = start_ms / 1_000 + 5
    for at_ms, thousandths in ((start_ms, -400), (start_ms + 1, 2_000), (start_ms + 4_000, 0)):
        rig.write(bitrate(thousandths, at_ms))
    rig.turn(INTERVAL_S, times=2)
    (closed,) = [each for each in rig.summaries() if each["bucket_start_ms"] == start_ms]
    assert (closed["bitrate_sample_count"], closed["min_bitrate_bps"], closed["unique_viewers"]) == (1, 2, 1)
    assert rig.counted("skipped_samples_total", field="bitrate_bps") == 1
    rig.kill()
    assert (rig.worker._restoring.reason, rig.counted("replayed_records_total")) == ("", 3), "its replay skips too"


@pytest.mark.parametrize(("version", "taken"), [(1, True), (2, True), (RULES_VERSION, False)])
def test_only_a_replay_under_earlier_rules_takes_unclear_names(
    version: int, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    make = Intakes.make

    def make_and_note(self: Intakes, source: InputSettings, *, takes_unclear: bool = False) -> Intake:
        asked.append(takes_unclear)
        return make(self, source, takes_unclear=takes_unclear)

    monkeypatch.setattr(Intakes, "make", make_and_note)
    rig = rig_on(stored_under_rules(min(version, 2), "sessions"))
    if version == RULES_VERSION:
        rig.turn(INTERVAL_S, times=2)
        rig.kill()
    assert asked[-1] is taken
    assert rig.worker._restoring.reason == ""
