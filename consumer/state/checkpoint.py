"""The checkpoint record of a partition: which rows are its state, at which input offset, under which settings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from consumer.state.journal import StateError
from consumer.windows.layout import Times
from consumer.windows.storage.checksum import Checksum

VERSION = 1

RULES_VERSION = 1
"""Of what windows make of events; another one can't go on from the same rows, nor replay to the same summaries."""

_STORED_TIMES = ("partition_time_ms", "floor_ms", "closed_below_ms")
"""Keys of `Times` in the stored record, in its order; they do not follow renames in the code."""


@dataclass(frozen=True)
class Identity:
    """Whose state it is: rows of another cluster, topic or group are not ours, whatever their offsets say."""

    cluster_id: str
    """Empty where the cluster doesn't tell, as with the next."""
    topic_id: str
    group: str


@dataclass(frozen=True)
class Checkpoint:
    """Written last in its transaction."""

    number: int
    """Counts from 1; journals name the one they follow."""
    next_offset: int
    times: Times
    """Partition time, the idle watermark, and the oldest bucket that may be open."""
    hash_key: tuple[int, int]
    rows: Checksum
    """How many rows there are, and their digest."""
    settings: Mapping[str, Mapping[str, Any]]
    identity: Identity
    written_ms: int
    """Wall clock, for people."""

    def encoded(self) -> bytes:
        """The record's value."""
        record = asdict(self) | {
            "version": VERSION,
            "times": dict(zip(_STORED_TIMES, self.times, strict=True)),
            "rules_version": RULES_VERSION,
            "hash_key": [f"{word:016x}" for word in self.hash_key],
            "rows": {"count": self.rows.count, "digest": f"{self.rows.digest:016x}"},
        }
        return json.dumps(record, separators=(",", ":")).encode()


def decoded(value: bytes) -> Checkpoint:
    """From a checkpoint record's value.

    Raises:
        StateError: it is none, or of a release that counts otherwise.
    """
    try:
        record = json.loads(value)
        if record["version"] != VERSION or record["rules_version"] != RULES_VERSION:
            raise StateError(
                f"the checkpoint is of version {record['version']}, rules {record['rules_version']}; "
                f"this release reads version {VERSION}, rules {RULES_VERSION}"
            )
        first, second = (int(word, 16) for word in record["hash_key"])
        return Checkpoint(
            number=int(record["number"]),
            next_offset=int(record["next_offset"]),
            times=Times(*(record["times"][name] for name in _STORED_TIMES)),
            hash_key=(first, second),
            rows=Checksum(int(record["rows"]["count"]), int(record["rows"]["digest"], 16)),
            settings=record["settings"],
            identity=Identity(**record["identity"]),
            written_ms=int(record["written_ms"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"the checkpoint cannot be read: {type(error).__name__}: {error}") from None
