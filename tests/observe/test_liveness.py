"""What `/healthz` and `/readyz` say while the loop waits, and the log when it is stuck."""

import threading
from http import HTTPStatus

import structlog

from consumer.observe.routes import Routes
from consumer.observe.snapshot import SnapshotBoard
from consumer.observe.watchdog import Watchdog, stacks
from tests.observe.samples import Clock, snapshot, worker_metrics
from tests.support.waiting import until


class Loop:
    """A ready worker whose loop a test stops in the middle of something."""

    def __init__(self) -> None:
        self.clock = Clock(1000.0)
        self.board = SnapshotBoard(self.clock())
        self.board.publish(snapshot())
        self.routes = Routes(worker_metrics(self.board, self.clock).registry, self.board, self.clock)

    def answer(self, path: str) -> tuple[int, str]:
        answer = self.routes.answer("GET", path)
        return answer.status, answer.body.decode()


def test_a_loop_that_waits_for_kafka_is_alive_and_not_ready_with_what_it_waits_for() -> None:
    loop = Loop()
    with loop.board.during("a commit that waits for Kafka", 60.0, loop.clock):
        loop.clock.now_s += 9.0
        assert loop.answer("/readyz")[0] == HTTPStatus.OK
        loop.clock.now_s += 3.0
        status, text = loop.answer("/readyz")
        assert (status, text) == (
            HTTPStatus.SERVICE_UNAVAILABLE,
            "not ready\nmissing: Kafka answers\nreason: a commit that waits for Kafka has taken 12 s\n",
        )
        assert b"viewer_consumer_ready 0.0" in loop.routes.answer("GET", "/metrics").body
        loop.clock.now_s += 50.0
        assert loop.answer("/healthz") == (HTTPStatus.OK, "ok\n")
    assert loop.answer("/readyz")[0] == HTTPStatus.OK
    assert loop.answer("/healthz")[0] == HTTPStatus.OK


def test_a_bounded_call_far_above_its_limit_is_stuck() -> None:
    loop = Loop()
    with loop.board.during("a commit that waits for Kafka", 60.0, loop.clock):
        loop.clock.now_s += 80.0
        status, text = loop.answer("/healthz")
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert text == "the loop is in a commit that waits for Kafka since 80.0 s (limit 60 s)\n"


def test_a_loop_stuck_in_our_own_code_is_neither_alive_nor_ready() -> None:
    loop = Loop()
    loop.clock.now_s += 31.0
    assert loop.answer("/healthz")[0] == HTTPStatus.SERVICE_UNAVAILABLE
    assert loop.answer("/readyz") == (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "not ready\nmissing: loop turns\nreason: the loop has not ticked for 31.0 s (limit 30 s)\n",
    )


def test_calls_may_be_nested() -> None:
    loop = Loop()
    with loop.board.during("leaving the group", 60.0, loop.clock):
        with loop.board.during("a commit that waits for Kafka", 30.0, loop.clock):
            assert loop.board.activity is not None
            assert loop.board.activity.what == "a commit that waits for Kafka"
        assert loop.board.activity is not None
        assert loop.board.activity.what == "leaving the group"
    assert loop.board.activity is None


def test_the_stacks_of_all_threads_are_logged_once_each_time_the_loop_is_stuck() -> None:
    loop = Loop()
    watchdog = Watchdog(loop.board, loop.clock)
    with structlog.testing.capture_logs() as logged:
        watchdog.look()
        loop.clock.now_s += 31.0
        watchdog.look()
        watchdog.look()
        assert [each["event"] for each in logged] == ["loop stuck"]
        assert "MainThread:\n" in logged[0]["threads"]
        loop.board.tick(loop.clock())
        watchdog.look()
        loop.clock.now_s += 31.0
        watchdog.look()
    assert len(logged) == 2


def test_the_watchdog_looks_by_itself_until_it_is_closed() -> None:
    loop = Loop()
    loop.clock.now_s += 31.0
    with structlog.testing.capture_logs() as logged:
        watchdog = Watchdog(loop.board, loop.clock, look_every_s=0.01)
        watchdog.start()
        until(lambda: bool(logged), "the stacks are logged")
        watchdog.close()
    assert all(thread.name != "watchdog" for thread in threading.enumerate())


def test_stacks_name_threads_and_their_lines() -> None:
    assert "test_stacks_name_threads_and_their_lines" in stacks()
