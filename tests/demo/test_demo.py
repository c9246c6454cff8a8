"""The demo end to end, as `make run` starts it."""

import re
import signal
import socket
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.demo.process import END_TIMEOUT_S, START_TIMEOUT_S, demo_on_a_pipe, demo_on_a_terminal

ANY_PORT = ("--set", "http.port=0")
QUICK_END_S = 10.0


def scraped(url: str) -> dict[str, float]:
    """Sum the samples of each metric."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # the address that the demo shows
        text = answer.read().decode()
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    return sums


LINE = re.compile(
    r"\d+:\d\d  (?P<viewers>[\d,]+) viewers of (?P<streams>[\d,]+) streams \((?P<busiest>[^)]*)\)  "
    r"events (?P<events>[\d,]+) \([\d,]+/s\)  summaries (?P<summaries>[\d,]+)  lag \S+  late [\d,]+  "
    r"rejects (?P<rejects>[\d,]+)"
)
CLOSING = re.compile(r"(?P<events>[\d,]+) events read in .*, (?P<summaries>[\d,]+) summaries published")


def figure(found: re.Match[str], name: str) -> int:
    return int(found[name].replace(",", ""))


def test_on_a_pipe_it_prints_lines_for_people_and_sigint_ends_it_cleanly() -> None:
    with demo_on_a_pipe(*ANY_PORT) as demo:

        def lines() -> list[re.Match[str]]:
            return list(LINE.finditer(demo.text()))

        demo.wait("buckets close", lambda: any(figure(line, "summaries") > 300 for line in lines()))
        seen = len(lines())
        demo.wait("the next line", lambda: len(lines()) > seen)
        first, last = lines()[seen - 1], lines()[-1]
        assert figure(last, "events") > figure(first, "events")
        assert figure(last, "viewers") > 1_000
        assert figure(last, "streams") > 100
        assert figure(last, "rejects") == 0
        assert last["busiest"].startswith("channel-0001 ")

        page = re.search(r"page (http://\S+),", demo.text())
        assert page is not None
        with urllib.request.urlopen(page[1], timeout=10) as answer:  # noqa: S310  # the address that the demo shows
            assert b"<title>viewer-consumer</title>" in answer.read()
        address = re.search(r"metrics (http://\S+)", demo.text())
        assert address is not None
        metrics = scraped(address[1])
        assert metrics["viewer_consumer_events_total"] >= figure(last, "events")
        assert metrics["viewer_stream_concurrent_viewers"] > 1_000
        assert metrics["viewer_consumer_ready"] == 1

        assert demo.end(signal.SIGINT) < QUICK_END_S
        closing = CLOSING.match(demo.text().splitlines()[-1])
        assert closing is not None
        assert figure(closing, "events") >= figure(last, "events")
        assert figure(closing, "summaries") >= figure(last, "summaries")
        assert "{" not in demo.text(), "no JSON"


def test_on_a_terminal_it_draws_the_busiest_streams_and_sigterm_ends_it_cleanly() -> None:
    with demo_on_a_terminal(120, 40, *ANY_PORT) as demo:
        demo.wait("streams are drawn", lambda: "channel-0001" in demo.text() and "Mbit/s" in demo.text())
        demo.wait("the demo runs", lambda: "running 0:" in demo.text())
        demo.wait("a bucket is closed", lambda: re.search(r"channel-0001 .* \d\d:\d\d:\d\d", demo.text()))
        assert "http://localhost:" in demo.text()
        drawn = demo.text().count("channel-0001")
        demo.wait("the dashboard is drawn again", lambda: demo.text().count("channel-0001") > drawn + 2)
        assert demo.end(signal.SIGTERM) < QUICK_END_S
        assert "summaries published" in demo.text().splitlines()[-1]
        assert "Traceback" not in demo.text()


def test_it_ends_after_the_given_duration() -> None:
    with demo_on_a_pipe(*ANY_PORT, "--duration", "2s") as demo:
        demo.ended(within_s=START_TIMEOUT_S + END_TIMEOUT_S)
        closing = CLOSING.match(demo.text().splitlines()[-1])
        assert closing is not None
        assert figure(closing, "events") > 10_000


def test_a_configured_port_that_is_in_use_is_a_one_line_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with demo_on_a_pipe("--set", f"http.port={port}", "--set", "http.host=127.0.0.1") as demo:
            assert demo.process.wait(90) == 1
            demo._reader.join(5)
            assert str(port) in demo.text()
            assert "Traceback" not in demo.text()
