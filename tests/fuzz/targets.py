"""Parts of the intake as functions of bytes, for atheris and the stored corpora; they raise if something is wrong."""

import contextlib
import json
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import SchemaRefused, parse_schema_text
from consumer.intake.intake import Intake
from consumer.intake.schemas.builtin import builtin_schema_text
from consumer.intake.schemas.cache import SchemaCache
from consumer.intake.vm.columns import decode_block
from consumer.intake.vm.instructions import Program
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from tests.fuzz.feeds import FORMATS, Feed, make_feed
from tests.fuzz.judging import judge_batch
from tests.fuzz.run import CLOCK_MS
from tests.intake.payloads import schema_headers

CORPUS = Path(__file__).parent / "corpus"
FEEDS = 16


def decoder(data: bytes) -> None:
    """Decode and judge: the first byte chooses one of some writer schemas, the rest is a payload of it."""
    feed = _feed(data[0] % FEEDS if data else 0)
    values: list[bytes | None] = [feed.head + data[1:]]
    decoded = feed.intake.decode(joined(values), [-1], CLOCK_MS)
    judge_batch(feed, values, [-1], CLOCK_MS, decoded)


def admission(data: bytes) -> None:
    """Compile or refuse a schema's text; the first byte says how many bytes at the end are a record of it."""
    size = min(data[0], len(data) - 1) if data else 0
    text = data[1 : len(data) - size].decode("utf-8", "replace")
    found = _compiled(text)
    if isinstance(found, str):
        assert found.isprintable()
        return
    # A ValueError says that bytes are left after the record.
    with contextlib.suppress(ValueError):
        assert len(decode_block(found, data[len(data) - size :], 1).reject) == 1


def _compiled(text: str) -> Program | str:
    """Return the program of a schema, or the reason why it is refused."""
    try:
        return compile_program(parse_schema_text(text), mapping_from(InputSettings()))
    except SchemaRefused as refusal:
        return str(refusal)


def framing(data: bytes) -> None:
    """Frame: the first byte chooses a format and whether the next 17 are a header; never raises for a record."""
    choice, rest = (data[0] if data else 0), data[1:]
    intake = _intakes()[choice % len(FORMATS)]
    header = rest[:17] if choice & 4 else None
    value = rest[17:] if choice & 4 else rest
    headers = None if header is None else [[("__value_schema_id", header)]]
    decoded = intake.decode(joined([value]), [-1], CLOCK_MS, schema_headers(headers))
    assert decoded.waiting == 1
    for row in decoded.rejects.tolist():
        assert decoded.explain(row).message


TARGETS: dict[str, Callable[[bytes], None]] = {"decoder": decoder, "admission": admission, "framing": framing}


@cache
def _feed(number: int) -> Feed:
    with tempfile.TemporaryDirectory() as directory:
        return make_feed(random.Random(number), Path(directory))


@cache
def _intakes() -> list[Intake]:
    sources = [InputSettings.model_validate({"format": form}) for form in FORMATS]
    return [Intake(source, SchemaCache(source)) for source in sources]


def seeds(name: str) -> list[bytes]:
    """Return valid inputs to begin with."""
    if name == "admission":
        return [b"\0" + builtin_schema_text("viewer_event").encode(), b"\0" + json.dumps("string").encode()]
    if name == "framing":
        return [bytes([i]) + one for i in range(8) for one in (b"\0\0\0\0\1\2s\2v\2\0", b"\xc3\x01" + bytes(12))]
    return [bytes([i]) + _feed(i).seeds[0][len(_feed(i).head) :] for i in range(FEEDS)]
