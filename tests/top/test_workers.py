"""Polling workers, against servers that answer, refuse, hang, or are something else."""

import socket

import pytest

from consumer.errors import UsageError
from consumer.top.workers import WorkerPoller
from tests.support.waiting import until
from tests.top.workers import serving, serving_other_streams, serving_without_api, stream


def test_it_reads_what_the_worker_says() -> None:
    with serving(stream("b", 2), stream("a", 9), viewers=11) as url:
        found = WorkerPoller(url, 1.0).ask()
    assert (found.url, found.problem) == (url, "")
    assert found.worker["viewers"] == 11
    assert list(found.streams) == [stream("a", 9), stream("b", 2)]


def test_it_asks_in_the_chosen_order_again_and_again() -> None:
    with serving(stream("b", 2), stream("a", 9)) as url:
        poller = WorkerPoller(url, 0.01)
        poller.start()
        assert [one.stream_id for one in poller.wait_for_answer().streams] == ["a", "b"]
        poller.sort = "-stream_id"
        until(lambda: [one.stream_id for one in poller.newest.streams] == ["b", "a"], "it asks in the new order")
        poller.stop()


def test_a_worker_that_is_away_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    poller = WorkerPoller(url, 0.01)
    assert "refused" in poller.ask().problem


def test_a_worker_without_the_api_is_told() -> None:
    with serving_without_api() as url:
        assert "http.page is false" in WorkerPoller(url, 1.0).ask().problem


def test_a_worker_of_another_release_is_told() -> None:
    with serving_other_streams() as url:
        assert WorkerPoller(url, 1.0).ask().problem == "the answer is not that of a worker of this release"


@pytest.mark.parametrize("url", ["localhost:9464", "https://worker", "http://", "http://host:port"])
def test_an_address_that_is_none_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="--url: must be the address of a worker"):
        WorkerPoller(url, 1.0)
