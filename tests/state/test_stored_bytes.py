"""State that an earlier release wrote is restored, and the same summaries and rows follow, byte for byte.

`stored/` holds what commit d222fab left in a state partition when its worker was killed behind a checkpoint, and what
its next worker wrote and published from there. Never write these files anew: they stand for state that users have.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from consumer.state.keys import CHECKPOINT, JOURNAL
from tests.intake.payloads import confluent
from tests.support.fakes import Published
from tests.worker.rig import INTERVAL_S, Rig

VERSION_1 = {
    JOURNAL: ("checkpoint", "next_offset", "steps", "summaries", "summaries_digest", "rejects"),
    CHECKPOINT: (
        "number", "next_offset", "times", "hash_key", "rows", "settings", "identity", "written_ms", "rules_version"
    ),
}  # fmt: skip

STORED = Path(__file__).parent / "stored"


def rig_on(stored: dict[str, Any]) -> Rig:
    """Return a worker that has restored the partition."""
    settings = {key: stored[key] for key in ("counting", "grace_ms", "viewer_timeout_ms")}
    rig = Rig(**settings)
    rig.clock.now_s = stored["now_s"]
    for value, timestamp_ms in zip(stored["input"], stored["timestamps_ms"], strict=True):
        rig.cluster.write(0, confluent(bytes.fromhex(value)), timestamp_ms)
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
    written = [comparable(each.key or b"", each.value) for each in rig.states()[len(stored["states"]) :]]
    assert written == [comparable(bytes.fromhex(k), v and bytes.fromhex(v)) for k, v in stored["states_then"]]


def comparable(key: bytes, value: bytes | None) -> tuple[bytes, object]:
    """Return rows unchanged; of checkpoints and journals, the fields of version 1."""
    if value is None or key not in (CHECKPOINT, JOURNAL):
        return key, value
    record = json.loads(value)
    return key, {name: record.get(name) for name in VERSION_1[key]}
