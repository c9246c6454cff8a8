"""What all readers do alike, whatever the client library answers."""

import re
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from consumer.errors import UsageError
from consumer.kafka import readers
from consumer.kafka.batch import Batch
from consumer.kafka.config import admin_config, restore_config
from consumer.kafka.messages import batch_of
from consumer.kafka.reading import LONGEST_POLL_S, Place, ReadError, ReadEvent, RecordReader
from consumer.kafka.restore_reader import KafkaRestoreReader
from consumer.settings.model import KafkaSettings, Settings
from tests.support.fakes import RecordingHandler
from tests.support.waiting import until

PLACE = ("t", 0)


class ScriptedReader(RecordReader):
    """Refuses assignments where a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses = False
        self.assigned: dict[Place, int] = {}
        self.waited_s: list[float] = []
        self.fetched: list[Message] = []
        self.events: list[ReadEvent] = []

    def known_end(self, place: Place) -> int:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def _fetch(self, max_records: int, timeout_s: float) -> Batch:
        del max_records  # they are few
        self.waited_s.append(timeout_s)
        fetched, self.fetched = self.fetched, []
        return batch_of(fetched)

    def _pop_events(self) -> Iterator[ReadEvent]:
        events, self.events = self.events, []
        return iter(events)

    def _assign(self, place: Place, offset: int) -> None:
        if self.refuses:
            raise KafkaException(KafkaError(KafkaError._CONFLICT))
        self.assigned[place] = offset

    def _unassign(self, place: Place) -> None:
        del self.assigned[place]

    def _renew_client(self) -> None:
        self.assigned.clear()


def message(offset: int) -> Message:
    return Message(topic=PLACE[0], partition=PLACE[1], offset=offset, value=b"x")


@pytest.fixture
def reader() -> ScriptedReader:
    return ScriptedReader()


def test_a_wait_is_never_negative_nor_long(reader: ScriptedReader) -> None:
    """The client library takes a negative time as infinite."""
    for timeout_s in (-0.001, 0.1, 60.0):
        reader.poll(1, timeout_s)
    assert reader.waited_s == [0.0, 0.1, LONGEST_POLL_S]


def test_a_place_that_could_not_be_begun_is_not_read(reader: ScriptedReader) -> None:
    reader.refuses = True
    with pytest.raises(KafkaException):
        reader.begin(PLACE, 5)
    reader.pause([PLACE])
    reader.drop([PLACE])
    reader.refuses = False
    reader.begin(PLACE, 7)
    assert reader.assigned == {PLACE: 7}


def test_a_place_that_could_not_be_resumed_stays_paused(reader: ScriptedReader) -> None:
    reader.begin(PLACE, 5)
    reader.pause([PLACE])
    reader.refuses = True
    with pytest.raises(KafkaException):
        reader.resume([PLACE])
    reader.refuses = False
    reader.resume([PLACE])
    assert reader.assigned == {PLACE: 5}
    reader.drop([PLACE])
    assert reader.assigned == {}


def test_another_client_reads_on_behind_what_was_returned(reader: ScriptedReader) -> None:
    paused = ("t", 1)
    reader.begin(PLACE, 5)
    reader.begin(paused, 7)
    reader.pause([paused])
    reader.fetched = [message(5), message(6)]
    reader.poll(10, 0.0)
    reader.renew()
    assert reader.assigned == {PLACE: 7}
    reader.resume([paused])
    assert reader.assigned == {PLACE: 7, paused: 7}


def test_what_the_clients_of_restores_say_does_not_pile_up(caplog: pytest.LogCaptureFixture) -> None:
    """With brokers away each of them has some errors a second, and nothing may be restored for days."""
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="localhost:1"))
    reader = KafkaRestoreReader(restore_config(settings), admin_config(settings.kafka), settings.kafka)
    said = re.compile(r"FAIL \[viewer-consumer-restore#(consumer-\d+)\]")

    def both_have_said() -> bool:
        reader.serve()
        return len(set(said.findall(caplog.text))) == 2

    until(both_have_said, "both consumers' errors are logged")
    reader.close()


def test_a_reader_is_closed_whose_member_cannot_be_made(
    reader: ScriptedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(reader, "close", lambda: closed.append(True))
    monkeypatch.setattr(readers, "make_reader", lambda _config, _watch: reader)
    wrong = Settings(kafka=KafkaSettings(client={"session.timeout.ms": "soon"}))
    with pytest.raises(UsageError, match="session"):
        readers.live_input(wrong, RecordingHandler())
    assert closed == [True]


def test_records_that_come_with_an_error_are_returned_before_it(reader: ScriptedReader) -> None:
    reader.begin(PLACE, 5)
    reader.fetched = [message(5), message(6)]
    denied = ReadEvent(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), PLACE, 0)
    reader.events = [denied, denied]
    assert reader.poll(10, 0.0).offsets.tolist() == [5, 6]
    reader.fetched = [message(7)]
    with pytest.raises(ReadError, match="authorization"):
        reader.poll(10, 0.0)
    assert reader.poll(10, 0.0).offsets.tolist() == [7], "raised once"


def test_nothing_that_is_read_is_lost_to_serving(reader: ScriptedReader) -> None:
    reader.serve()
    reader.begin(PLACE, 5)
    reader.serve()
    assert reader.waited_s == [0.0], "polled only where nothing is read"
