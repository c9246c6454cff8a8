"""What is said about a writer schema agrees with its compilation, for any schema and settings."""

import copy
import json
import random

from hypothesis import given, note, settings
from hypothesis import strategies as st

from consumer.intake.compiler.mapping import FIELDS, IGNORE_KIND, UNKNOWN_KIND, mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import ParsedSchema, SchemaRefused, parse_schema_json
from consumer.intake.explain import explain_schema
from consumer.settings.model import InputSettings
from tests.intake.writers import Writer, WriterMaker


def parsed(writer: Writer) -> ParsedSchema:
    return parse_schema_json(copy.deepcopy(writer.schema))


def refusal(schema: ParsedSchema, source: InputSettings) -> str:
    try:
        compile_program(schema, mapping_from(source))
    except SchemaRefused as refused:
        return str(refused)
    return ""


@settings(max_examples=150)
@given(seed=st.integers(0, 2**64), is_mapped=st.booleans())
def test_the_report_agrees_with_the_compilation(seed: int, is_mapped: bool) -> None:
    writer = WriterMaker(random.Random(seed), with_keys=True).writer()
    source = writer.source if is_mapped else InputSettings()
    note(json.dumps(writer.schema))
    note(str(source))
    report = explain_schema(parsed(writer), source)
    assert report.refusal == refusal(parsed(writer), source)
    assert [row.field for row in report.fields if row.field] == list(FIELDS)
    paths = {row.path.removeprefix("and ").removeprefix("else ") for row in report.fields}
    assert paths.isdisjoint(each.rpartition(" (")[0] for each in report.skipped)
    kinds = {row.name: row.read for row in report.types}
    for name, read in kinds.items():
        facts = mapping_from(source).kind_of(name)
        assert (read == "ignored") == (facts == IGNORE_KIND)
        assert read.startswith("unknown: ") == (facts == UNKNOWN_KIND)
    if is_mapped:
        assert not report.refusal
        assert not any(row.read.startswith("missing") for row in report.fields[:1])
