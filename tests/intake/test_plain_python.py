"""The same functions without compilation give the same columns, and no calculation overflows."""

import os
import random
import subprocess
import sys

import pytest

from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import parse_schema_json
from consumer.intake.intake import Intake
from consumer.intake.schemas.cache import SchemaCache
from consumer.intake.vm.columns import decode_block
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from tests.intake.payloads import confluent, join
from tests.intake.reference import encode, row
from tests.intake.writers import WriterMaker

SEEDS = (1, 2, 3, 5)
WILD = (2**63 - 1, -(2**63), 2**52 + 1, -(2**52) - 1)


def digest(seed: int) -> list[str]:
    """Return a digest of the columns of some payloads: whole, truncated and changed."""
    rng = random.Random(seed)
    maker = WriterMaker(rng)
    writer = maker.writer()
    program = compile_program(parse_schema_json(writer.schema), mapping_from(writer.source))
    found = []
    for _ in range(8):
        payload = encode(writer.schema, maker.value(writer.schema))
        changed = bytearray(payload)
        changed[rng.randrange(len(changed))] = rng.randrange(256)
        overflowing = b"\xff" * rng.randrange(12) + payload
        for data in (payload, payload[: rng.randrange(len(payload))], bytes(changed), overflowing):
            try:
                found.append(repr(row(decode_block(program, data, 1), 0)))
            except ValueError as error:
                found.append(str(error))
    return found


def clamped(seed: int) -> list[str]:
    """What becomes of events before, at and behind their records and the clock."""
    rng = random.Random(seed)
    values, stamps, clock_ms = [], [], 200_000
    for _ in range(300):
        stamp = rng.choice([-1, rng.randrange(400_000), rng.choice(WILD)])
        near = stamp if 0 <= stamp < 2**52 else clock_ms
        values.append(confluent(join(timestamp_ms=near + rng.choice([-1, 0, 1, 60_000, 60_001, 90_000]))))
        stamps.append(stamp)
    source = InputSettings()
    found = []
    for clamps in (True, False):
        decoded = Intake(source, SchemaCache(source)).decode(joined(values), stamps, clock_ms, clamps=clamps)
        events = decoded.events
        rows = [(row(events, i), 0 if events.reject[i] else int(events.clamped_ms[i])) for i in range(len(values))]
        found += [repr((*each, int(code))) for each, code in zip(rows, decoded.clock, strict=True)]
    return found


def main() -> None:
    """Print the digests, for the test below to compare."""
    for seed in SEEDS:
        for line in (*digest(seed), *clamped(seed)):
            print(line)  # noqa: T201  # the test below reads it


@pytest.mark.timeout(120)
def test_plain_python_gives_the_same_columns_as_compiled_code() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from tests.intake.test_plain_python import main; main()"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [line for seed in SEEDS for line in (*digest(seed), *clamped(seed))]
