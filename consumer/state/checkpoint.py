"""The checkpoint record of a partition: which rows are its state, at which input offset, under which settings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from consumer.state.journal import StateError
from consumer.windows.closing import CLOSE_REASONS
from consumer.windows.layout import Jump, Times
from consumer.windows.storage.checksum import Checksum

VERSION = 2

READABLE_VERSIONS = frozenset({1, VERSION})
"""Version 1 holds no pending jump."""

RULES_VERSION = 3
"""Version of the rules that shape results, as this release applies them to new records."""

READABLE_RULES = frozenset({1, 2, RULES_VERSION})
"""Rules versions that this release can replay: a replay runs under the version of its checkpoint."""

_STORED_TIMES = ("partition_time_ms", "floor_ms", "closed_below_ms")
"""Keys of `Times` in the stored record, in its order; they do not follow renames in the code."""


@dataclass(frozen=True)
class Identity:
    """The owner of the state; rows of another cluster, topic or group must not be used."""

    cluster_id: str
    """Empty if the cluster does not report it, as is `topic_id`."""
    topic_id: str
    group: str


@dataclass(frozen=True)
class Checkpoint:
    """The last record of its transaction."""

    number: int
    """Number of the checkpoint, from 1; a journal names the one it follows."""
    next_offset: int
    times: Times
    """Partition time, the idle watermark, and the oldest bucket that may be open."""
    hash_key: tuple[int, int]
    rows: Checksum
    """Number and digest of the rows."""
    settings: Mapping[str, Mapping[str, Any]]
    rules_version: int
    """The version under which the rows are as they are, as the settings are."""
    identity: Identity
    written_ms: int
    """Wall clock, for people."""
    jump: Jump | None = None
    """A jump of time that was cut here; the rest closes before anything else happens."""
    pending_settings: Mapping[str, Mapping[str, Any]] | None = None
    """Changed settings that are in effect in some streams only; applied to all before anything else happens."""

    def encoded(self) -> bytes:
        """The record's value."""
        record = asdict(self) | {
            "version": VERSION,
            "times": dict(zip(_STORED_TIMES, self.times, strict=True)),
            "hash_key": [f"{word:016x}" for word in self.hash_key],
            "rows": {"count": self.rows.count, "digest": f"{self.rows.digest:016x}"},
            "jump": self.jump and {"reason": CLOSE_REASONS[self.jump.reason], "offset": self.jump.offset},
        }
        return json.dumps(record, separators=(",", ":")).encode()


def decoded(value: bytes) -> Checkpoint:
    """Decode a checkpoint record's value.

    Raises:
        StateError: not a checkpoint, or of a release with other rules.
    """
    try:
        record = json.loads(value)
        if record["version"] not in READABLE_VERSIONS or record["rules_version"] not in READABLE_RULES:
            raise StateError(
                f"the checkpoint is of version {record['version']}, rules {record['rules_version']}; "
                f"this release reads versions up to {VERSION}, rules up to {RULES_VERSION}"
            )
        first, second = (int(word, 16) for word in record["hash_key"])
        return Checkpoint(
            number=int(record["number"]),
            next_offset=int(record["next_offset"]),
            times=Times(*(record["times"][name] for name in _STORED_TIMES)),
            hash_key=(first, second),
            rows=Checksum(int(record["rows"]["count"]), int(record["rows"]["digest"], 16)),
            settings=record["settings"],
            rules_version=int(record["rules_version"]),
            identity=Identity(**record["identity"]),
            written_ms=int(record["written_ms"]),
            jump=_jump(record.get("jump")),
            pending_settings=record.get("pending_settings"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"the checkpoint cannot be read: {type(error).__name__}: {error}") from None


def clamps(rules_version: int) -> bool:
    """Whether events ahead of their records are taken at the records' Kafka timestamps: not under version 1."""
    return rules_version > 1


def skips_negative(rules_version: int) -> bool:
    """Whether a sample below 0 that is rounded to 0 is skipped: under versions 1 and 2 it is a sample of 0."""
    return rules_version > 2


def takes_unclear(rules_version: int) -> bool:
    """Whether a name of an event type may fit two records: under versions 1 and 2 both are of that type."""
    return rules_version < 3


def _jump(stored: Mapping[str, Any] | None) -> Jump | None:
    return None if stored is None else Jump(CLOSE_REASONS.index(stored["reason"]), int(stored["offset"]))
