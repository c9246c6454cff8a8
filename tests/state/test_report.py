"""What `state check` finds in stored state, with and without workers running."""

import json

import pytest

from consumer.cli.state_text import print_consistency_report
from consumer.settings.model import Settings, load_settings
from consumer.state.checkpoint import RULES_VERSION, Checkpoint, Identity
from consumer.state.contents import Contents
from consumer.state.journal import Journal
from consumer.state.report import StoredPartition, consistency_report
from consumer.state.result_settings import result_settings_of
from consumer.windows.layout import Times
from consumer.windows.storage.checksum import Checksum

SETTINGS = Settings()
IDENTITY = Identity("cluster", "topic", "viewer-consumer")
NONE = Checksum(0, 0)


def checkpoint(
    next_offset: int = 5, identity: Identity = IDENTITY, rows: Checksum = NONE, rules_version: int = RULES_VERSION
) -> bytes:
    return Checkpoint(
        number=3,
        next_offset=next_offset,
        times=Times(),
        hash_key=(1, 2),
        rows=rows,
        settings=result_settings_of(SETTINGS),
        rules_version=rules_version,
        identity=identity,
        written_ms=0,
    ).encoded()


def stored(
    committed: int | None,
    journal_to: int | None = 10,
    before: int | None = None,
    made: bytes | None = None,
    input_begin: int = 0,
    input_end: int = 10,
) -> StoredPartition:
    """A checkpoint at offset 5, and a journal that begins there."""
    journal = None if journal_to is None else Journal(first_offset=5, records=5).encoded(3, journal_to, NONE)
    contents = Contents(checkpoint() if made is None else made, journal)
    return StoredPartition(0, committed if before is None else before, committed, input_begin, input_end, contents)


def found(what: StoredPartition, settings: Settings = SETTINGS) -> list[str]:
    return [each.what for each in consistency_report(what, settings, IDENTITY).disagreements]


def changed(key: str, value: int) -> Settings:
    return load_settings(None, [f"{key}={value}"], {})


def test_a_committed_state_is_consistent() -> None:
    assert found(stored(committed=10)) == []


def test_if_the_groups_offset_has_expired_the_journals_offset_counts() -> None:
    assert found(stored(committed=None)) == []


@pytest.mark.parametrize(
    ("before", "journal_to", "after", "agrees"),
    [
        #  group's offset before ──── journal ──── group's offset after: a worker continued meanwhile
        (8, 8, 10, True),
        (8, 9, 10, True),
        (8, 10, 10, True),
        (8, 7, 10, False),
        (8, 11, 11, True),
        (8, 12, 11, False),
        #  it had no offset before
        (None, 6, 10, True),
    ],
)
def test_a_worker_that_commits_during_the_check_is_no_disagreement(
    before: int | None, journal_to: int, after: int, *, agrees: bool
) -> None:
    one = stored(committed=after, journal_to=journal_to, input_end=20)._replace(committed_before=before)
    assert (found(one) == []) == agrees


def test_an_empty_state_is_consistent_but_an_offset_without_a_checkpoint_is_not() -> None:
    nothing = StoredPartition(0, None, None, 0, 10, Contents())
    assert consistency_report(nothing, SETTINGS, IDENTITY) == ([], [], None)
    assert found(nothing._replace(committed=4)) == [
        "the group has committed offset 4, but there is no checkpoint of it"
    ]
    assert found(nothing._replace(contents=Contents(rows={b"r\0\0a": b""}))) == [
        "there are records of a state, but no checkpoint"
    ]


def test_a_checkpoint_that_is_unreadable_or_has_no_journal_is_reported() -> None:
    assert found(stored(10, journal_to=None)) == ["there is a checkpoint, but no journal"]
    (what,) = found(stored(10, made=b"{"))
    assert what.startswith("the checkpoint cannot be read")


def test_all_disagreements_are_reported() -> None:
    other = Identity("another cluster", "topic", "viewer-consumer")
    one = stored(committed=9, made=checkpoint(identity=other, rows=Checksum(1, 2)))
    one.contents.others.add(b"what?")
    assert [each.split(",")[0] for each in found(one, changed("windows.bucket_ms", 5_000))] == [
        "its state topic holds a record that no worker wrote: b'what?'",
        "its state is of cluster another cluster",
        "the group has committed offset 9",
        "its state was counted with windows.bucket_ms = 10000",
        "its state has 0 rows with digest 0000000000000000",
    ]


def test_deleted_input_that_is_needed_is_reported() -> None:
    assert found(stored(committed=10, input_begin=6)) == [
        "records from offset 5 on are needed, but the input begins at 6; those before were deleted"
    ]


def test_an_input_that_begins_behind_the_state_may_have_lost_records_or_markers() -> None:
    nothing_since = stored(committed=10, input_begin=11, input_end=11)
    nothing_since.contents.journal = Journal().encoded(3, 10, NONE)
    (disagreement,) = consistency_report(nothing_since, SETTINGS, IDENTITY).disagreements
    assert disagreement.what.startswith("its state goes to offset 10, but the input begins at 11")
    assert disagreement.advice(SETTINGS.command).endswith("viewer-consumer state reset --partition 0 --keep-rows")


def test_an_unreadable_row_is_reported() -> None:
    one = stored(committed=10)
    one.contents.rows[b"r\0\0a"] = b"no row"
    (what,) = found(one)
    assert what.startswith("the stored row of stream 'a' ")


def test_settings_that_may_change_are_reported_but_are_no_disagreement() -> None:
    assert consistency_report(stored(committed=10), changed("windows.grace_ms", 1), IDENTITY) == (
        [],
        ["windows.grace_ms"],
        RULES_VERSION,
    )


@pytest.mark.parametrize(("version", "lines"), [(RULES_VERSION, 0), (RULES_VERSION - 1, 1)])
def test_older_rules_are_reported_but_are_no_disagreement(
    capsys: pytest.CaptureFixture[str], version: int, lines: int
) -> None:
    one = stored(committed=10, made=checkpoint(rules_version=version))
    report = consistency_report(one, SETTINGS, IDENTITY)
    assert (report.disagreements, report.rules_version) == ([], version)
    print_consistency_report(one, report, SETTINGS.command, as_json=False)
    line = f"partition 0: counted under rules version {version}; version {RULES_VERSION} takes effect at the next start"
    assert capsys.readouterr().out.splitlines()[1:] == [line] * lines
    print_consistency_report(one, report, SETTINGS.command, as_json=True)
    assert json.loads(capsys.readouterr().out)["rules_version"] == version


def test_every_report_names_the_command_that_resolves_it() -> None:
    (first,) = consistency_report(stored(committed=9), SETTINGS, IDENTITY).disagreements
    assert (
        first.advice(SETTINGS.command) == "continue without its state with: viewer-consumer state reset --partition 0"
    )
