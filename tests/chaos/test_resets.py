"""What is read of a worker's reason and of a command's answer, and what the replaced journals are."""

import json
from collections.abc import Callable

import pytest

from consumer.kafka.protocols import Bounds
from consumer.settings.model import Settings
from consumer.state import journal as journals
from consumer.state.checkpoint import RULES_VERSION, Checkpoint, Identity
from consumer.state.consistency import StateInconsistent, check_offsets
from consumer.state.journal import Journal
from consumer.windows.layout import Times
from consumer.windows.storage.checksum import Checksum
from tests.chaos.journals import POISONS
from tests.chaos.resets import command_in, continued_at

OFFSET = 40
CHECKPOINT = Checkpoint(3, OFFSET, Times(), (1, 2), Checksum(0, 0), {}, RULES_VERSION, Identity("c", "t", "g"), 0)


def test_the_command_of_a_reason_is_read() -> None:
    wanted = StateInconsistent(4, "the journal is not JSON")
    assert command_in(wanted.message(Settings().command)) == ["state", "reset", "--partition", "4"]


def test_the_command_that_keeps_rows_is_read() -> None:
    journal = journals.decoded(Journal().encoded(3, OFFSET, Checksum(0, 0)))
    with pytest.raises(StateInconsistent) as raised:
        check_offsets(4, Bounds(OFFSET, 0, OFFSET + 2, OFFSET + 2), CHECKPOINT, journal)
    assert command_in(raised.value.message(Settings().command)) == ["state", "reset", "--partition", "4", "--keep-rows"]


def test_the_offset_of_an_answer_is_read() -> None:
    assert continued_at("partition 4: reset; continues at offset 1234 with checkpoint 8\n") == 1234


@pytest.mark.parametrize("read", [command_in, continued_at])
def test_where_there_is_none_that_is_said(read: Callable[[str], object]) -> None:
    with pytest.raises(AssertionError, match="in: nothing"):
        read("nothing")


@pytest.mark.parametrize("name", POISONS)
def test_a_poison_changes_the_journal_and_nothing_else_of_it(name: str) -> None:
    before = json.loads(Journal().encoded(3, OFFSET, Checksum(0, 0)))
    value = POISONS[name].change(before)
    if name == "no JSON":
        with pytest.raises(journals.StateError) as raised:
            journals.decoded(value)
        assert POISONS[name].reason in str(raised.value)
        return
    journals.decoded(value)
    changed = {key for key, now in json.loads(value).items() if now != before[key]}
    assert changed == {{"another digest": "summaries_digest", "a record too many": "records"}.get(name, "next_offset")}
