"""What is mutated: records of a random writer schema in one of the four formats, and the intake that reads them."""

import json
import random
from pathlib import Path
from typing import Any, NamedTuple, cast

import fastavro

from consumer.intake.compiler.schema_json import parse_schema_json
from consumer.intake.framing import NAMED_BY_ID
from consumer.intake.intake import Intake
from consumer.intake.schemas.builtin import load_builtin_schema
from consumer.intake.schemas.cache import SchemaCache
from consumer.settings.model import InputSettings
from tests.intake.payloads import framed_key
from tests.intake.reference import Judge, encode
from tests.intake.writers import Writer, WriterMaker

SCHEMA_ID = 7
MAX_PAYLOAD_BYTES = 4_096
FORMATS = ("confluent", "apicurio", "single-object", "raw")
SEEDS = 40
TRIED = 300
OURS_ONE_IN = 4
RARE = frozenset({"not_finite", "out_of_range", "timestamp_out_of_range", "time_without_offset", "bad_time"})


class Feed(NamedTuple):
    """Valid records to begin with, and everything that is needed to read and judge them."""

    source: InputSettings
    head: bytes
    """Precedes each payload."""
    intake: Intake
    judge: Judge
    seeds: list[bytes]


def make_feed(rng: random.Random, directory: Path) -> Feed:
    """Return a feed with its own writer schema; the same random source gives the same feed."""
    maker = WriterMaker(rng, with_keys=True)
    writer = maker.writer()
    if rng.randrange(OURS_ONE_IN) == 0:
        writer = Writer(_with_full_names(load_builtin_schema("viewer_event")), InputSettings())
    path = directory / "writer.avsc"
    path.write_text(json.dumps(writer.schema), encoding="utf-8")
    form = rng.choice(FORMATS)
    pinned = {"ids": {SCHEMA_ID: path}} if form in NAMED_BY_ID else {"schemas": (path,)}
    source = writer.source.model_copy(update={"format": form, "max_payload_bytes": MAX_PAYLOAD_BYTES, **pinned})
    head = {
        "confluent": b"\0" + SCHEMA_ID.to_bytes(4, "big"),
        "apicurio": b"\0" + SCHEMA_ID.to_bytes(8, "big"),
        "single-object": b"\xc3\x01" + parse_schema_json(writer.schema).fingerprint(),
        "raw": b"",
    }[form]
    judge, key = Judge(writer.schema, source), framed_key(b"key") if source.key_format == "confluent" else b"key"
    payloads = [encode(writer.schema, maker.value(writer.schema)) for _ in range(TRIED)]
    # Most random values are not events; those that are reach more code, and a few numbers reach rare reasons.
    worth = {payload: _worth(judge, payload, key) for payload in payloads}
    rare = [payload for payload in payloads if worth[payload] == 2][: SEEDS // 4]
    rest = sorted((payload for payload in payloads if worth[payload] < 2), key=worth.__getitem__, reverse=True)
    seeds = [head + payload for payload in (rare + rest)[:SEEDS]]
    return Feed(source, head, Intake(source, SchemaCache(source)), judge, seeds)


def _with_full_names(schema: Any) -> Any:
    parsed = dict(cast("dict[str, Any]", fastavro.parse_schema(schema)))
    return {key: part for key, part in parsed.items() if not key.startswith("__")}


def _worth(judge: Judge, payload: bytes, key: bytes) -> int:
    event = judge.read(payload, key)
    if event is None:
        return 0
    return 2 if event.reject in RARE else int(not event.reject)
