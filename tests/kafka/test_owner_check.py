"""When a group is asked for partitions without an owner, and who makes it rebalance."""

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.errors import ViewerConsumerError
from consumer.kafka.brokers import MemberWatch
from consumer.kafka.group_view import WorkerGroup
from consumer.kafka.owner_check import ASK_AGAIN_S, REBALANCE_AGAIN_S, SETTLE_S, GroupView, OwnerCheck
from consumer.settings.model import Settings

ALL_OWNED = GroupView(is_stable=True, members=["a", "b"], unowned=frozenset())
UNOWNED = ALL_OWNED._replace(unowned=frozenset({3}))


def metadata(member: str, generation: int = 1) -> bytes:
    return b"CGMDv2:" + generation.to_bytes(4, "little") + b"group\0" + member.encode() + b"\0" + b"one"


class FakeGroup:
    """Says what it is told to, and counts rebalances."""

    def __init__(self, answer: GroupView | Exception) -> None:
        self.answer = answer
        self.asked = self.rebalances = 0
        self.failure: Exception | None = None

    def view(self) -> GroupView:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def make_rebalance(self, closed: threading.Event) -> None:
        assert not closed.is_set()
        self.rebalances += 1
        if self.failure is not None:
            raise self.failure


class Member:
    """A member of the group at a clock of its own."""

    def __init__(self, group: FakeGroup, name: str = "a") -> None:
        self.now_s = 0.0
        self.metadata: bytes | None = metadata(name)
        self.watch = MemberWatch(lambda: self.now_s)
        self.check = OwnerCheck(group, self.watch, lambda: self.now_s)

    def turn(self) -> None:
        self.check.turn(lambda: self.metadata)
        for thread in threading.enumerate():
            if thread.name == "owner-check":
                thread.join()

    def live(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.turn()
            self.now_s += 0.5


def test_each_generation_is_asked_about_once_when_it_has_settled() -> None:
    group = FakeGroup(ALL_OWNED)
    member = Member(group)
    member.live(SETTLE_S)
    assert group.asked == 0
    member.live(60)
    assert group.asked == 1
    member.metadata = metadata("a", generation=2)
    member.live(60)
    assert (group.asked, group.rebalances) == (2, 0)


def test_nothing_is_asked_during_a_rebalance() -> None:
    group = FakeGroup(ALL_OWNED)
    member = Member(group)
    member.metadata = None
    member.live(60)
    assert group.asked == 0


def test_a_group_that_is_not_stable_is_asked_again() -> None:
    group = FakeGroup(UNOWNED._replace(is_stable=False))
    member = Member(group)
    member.live(30)
    assert group.asked >= 3
    assert (group.rebalances, member.watch.unowned) == (0, frozenset())


def test_what_has_no_owner_twice_makes_the_first_member_rebalance() -> None:
    group = FakeGroup(UNOWNED)
    member = Member(group)
    member.live(SETTLE_S + 2)
    assert (group.asked, group.rebalances) == (1, 0)
    assert "partitions [3] have no owner" in member.watch.group_reason()
    member.live(SETTLE_S + 2)
    assert (group.asked, group.rebalances) == (2, 1)


def test_what_has_an_owner_the_second_time_makes_nobody_rebalance() -> None:
    #  the first half of a rebalance: partitions are committed before another member gets them
    group = FakeGroup(UNOWNED)
    member = Member(group)
    member.live(SETTLE_S + 2)
    group.answer = ALL_OWNED
    member.live(60)
    assert (group.rebalances, member.watch.unowned) == (0, frozenset())


@pytest.mark.parametrize("name", ["b", "not in it"])
def test_other_members_leave_it_to_the_first_for_a_while(name: str) -> None:
    group = FakeGroup(UNOWNED)
    member = Member(group, name)
    member.live(2 * SETTLE_S + 4)
    assert group.rebalances == 0
    member.live(2 * SETTLE_S)
    assert group.rebalances == 1


def test_a_new_generation_begins_anew() -> None:
    group = FakeGroup(UNOWNED)
    member = Member(group)
    member.live(SETTLE_S + 2)
    member.metadata = metadata("a", generation=2)
    member.live(2)
    assert member.watch.unowned == frozenset()
    member.live(SETTLE_S)
    assert group.rebalances == 0


def test_a_rebalance_that_does_not_help_is_made_again_after_a_while() -> None:
    group = FakeGroup(UNOWNED)
    member = Member(group)
    for generation in range(1, 10):
        member.metadata = metadata("a", generation)
        member.live(30)
    assert group.rebalances == 1
    member.live(REBALANCE_AGAIN_S)
    assert group.rebalances == 2


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (TimeoutError(), 2),
        (ViewerConsumerError("no token"), 2),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), 2),
        (KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)), 1),
        (KafkaException(KafkaError(KafkaError._UNSUPPORTED_FEATURE)), 1),
    ],
)
def test_a_question_without_an_answer_is_asked_again_after_a_while_unless_it_is_refused(
    error: Exception, asked: int
) -> None:
    group = FakeGroup(error)
    member = Member(group)
    member.live(SETTLE_S + 2)
    assert group.asked == 1
    member.live(ASK_AGAIN_S)
    assert (group.asked, group.rebalances) == (asked, 0)


def test_brokers_that_refuse_the_rebalance_are_told_about(caplog: pytest.LogCaptureFixture) -> None:
    group = FakeGroup(UNOWNED)
    group.failure = ViewerConsumerError("no right to read the group")
    member = Member(group)
    member.live(4 * SETTLE_S)
    assert group.rebalances == 1
    assert "the group was not made to rebalance: no right to read the group" in caplog.text
    member.check.close()


def test_closing_waits_for_a_rebalance_that_is_being_made_and_ends_it() -> None:
    class Joining(FakeGroup):
        def make_rebalance(self, closed: threading.Event) -> None:
            joined.set()
            assert closed.wait(10)
            self.rebalances += 1

    joined = threading.Event()
    group = Joining(UNOWNED)
    member = Member(group)
    member.live(SETTLE_S + 2)
    member.now_s += SETTLE_S
    member.check.turn(lambda: member.metadata)
    assert joined.wait(10)
    member.check.close()
    assert group.rebalances == 1


@pytest.fixture
def without_collections() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collections")
def test_after_a_question_that_failed_the_client_is_freed_without_a_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the loop's thread a collection would wait for the client's threads, and so for brokers."""

    class Admin:
        def list_topics(self, topic: str, timeout: float) -> SimpleNamespace:
            assert timeout > 0
            return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None})})

        def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> dict[str, Future[None]]:
            assert request_timeout > 0
            future: Future[None] = Future()
            future.set_exception(KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)))
            return {groups[0]: future}

    clients: list[weakref.ref[Admin]] = []

    def make(*_: object) -> Admin:
        admin = Admin()
        clients.append(weakref.ref(admin))
        return admin

    monkeypatch.setattr("consumer.kafka.group_view.make_admin", make)
    with pytest.raises(KafkaException, match="NOT_COORDINATOR") as raised:
        WorkerGroup(Settings()).view()
    del raised
    assert [client() for client in clients] == [None]
