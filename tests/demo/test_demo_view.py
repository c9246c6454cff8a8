from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from consumer.demo.view import Screen, Totals, closing_line, dashboard, lag, text_line
from consumer.observe.snapshot import Health, PartitionStatus, Snapshot, StreamStatus
from consumer.runtime.text import clock_text

READY = Health(assigned=True, restored=True, producer_ready=True)
URL = "http://localhost:9464/metrics"


def stream(stream_id: str = "channel-0001", viewers: int = 1_234) -> StreamStatus:
    return StreamStatus(stream_id, viewers, 2_345, 10, 3_456_789.0, 1, 9, 17, 65_400, 1_700_000_030_000)


def partition(end_offset: int | None = 150) -> PartitionStatus:
    return PartitionStatus(0, 100, end_offset, 0.5, 7, 42, 5_678, 6_000, 7_000, 9_999)


def screen(*streams: StreamStatus, end_offset: int | None = 150) -> Screen:
    snapshot = Snapshot(READY, streams or (stream(),), partitions=(partition(end_offset),))
    return Screen(snapshot, Totals(98_765, 432, 3, 1), 1_500.4, 83.9, "in-process broker", URL)


def drawn(shown: Screen, width: int = 120, height: int = 40) -> str:
    console = Console(record=True, width=width, height=height, file=None, force_terminal=False, quiet=False)
    with console.capture() as capture:
        console.print(dashboard(shown, width, height))
    return capture.get()


def test_it_shows_totals_the_busiest_stream_and_the_metrics_address() -> None:
    text = drawn(screen())
    for value in (
        "in-process broker",
        "running 1:23",
        "98,765 (1,500/s)",
        "432",
        "lag 50",
        "5,678",
        "late 3",
        "rejects 1",
        URL,
    ):
        assert value in text
    row = next(line for line in text.splitlines() if line.startswith("channel-0001"))
    for value in ("1,234", "2,345", "3.46 Mbit/s", "17 (65.4 s)", "22:13:50", "█" * 24):
        assert value in row


def test_it_shows_the_page_where_there_is_one() -> None:
    footer = drawn(replace(screen(), page_url="http://localhost:9464/"), width=80).splitlines()[-1]
    assert footer.rstrip() == "page http://localhost:9464/   Ctrl-C ends it"


def test_bars_are_proportional_to_the_largest_stream() -> None:
    text = drawn(screen(stream("a", 1_000), stream("b", 500), stream("c", 0)))
    assert [line.count("█") for line in text.splitlines() if line[:1] in {"a", "b", "c"}] == [24, 12, 0]


def test_before_the_first_snapshot_it_shows_what_it_waits_for() -> None:
    empty = Screen(Snapshot(Health(reason="joining the group")), Totals(), 0.0, 0.0, "in-process broker", URL)
    text = drawn(empty)
    assert "starting 0:00" in text
    assert "joining the group" in text
    assert "lag ?" in text


@pytest.mark.parametrize("width", [20, 40, 50, 66, 80, 110, 200])
def test_no_line_is_wider_than_the_terminal_and_none_wraps(width: int) -> None:
    shown = screen(stream("event-" + "very-long-" * 30, 10), *(stream(f"channel-{i}", i) for i in range(30)))
    lines = drawn(shown, width, 24).splitlines()
    assert max(cell_len(line) for line in lines) <= width
    assert len(lines) <= 24


def test_a_low_terminal_shows_fewer_streams_and_a_high_one_at_most_twenty() -> None:
    shown = screen(*(stream(f"channel-{i:02d}", 100 - i) for i in range(50)))
    assert drawn(shown, height=12).count("channel-") == 12 - 8
    assert drawn(shown, height=2).count("channel-") == 1
    assert drawn(shown, height=200).count("channel-") == 20


@pytest.mark.parametrize(
    "odd", ["[bold red]x[/]", "[/", "a\x1b[31mb", "line\nbreak", "\t", "", "日本の放送", "\u202eabc", "\x00"]
)
def test_control_characters_in_stream_ids_are_not_sent_to_the_terminal(odd: str) -> None:
    text = drawn(screen(stream(odd)))
    assert len(text.splitlines()) == 7
    assert not any(ord(letter) < 32 and letter != "\n" for letter in text)
    if odd.startswith("["):
        assert odd in text


@settings(max_examples=60)
@given(st.text(max_size=60), st.integers(8, 150), st.integers(1, 60))
def test_any_stream_id_can_be_drawn_on_any_terminal(stream_id: str, width: int, height: int) -> None:
    assert "viewers" in drawn(screen(stream(stream_id)), max(width, 60), height)
    drawn(screen(stream(stream_id)), width, height)


def test_lag_is_unknown_without_end_offsets_and_never_negative() -> None:
    assert lag(screen(end_offset=None).snapshot) is None
    assert lag(screen(end_offset=150).snapshot) == 50
    assert lag(screen(end_offset=90).snapshot) == 0


def test_a_line_of_text_has_the_same_totals_as_the_dashboard() -> None:
    assert text_line(screen()) == (
        "1:23  5,678 viewers of 7 streams (channel-0001 1,234)  events 98,765 (1,500/s)  summaries 432  lag 50  "
        "late 3  rejects 1"
    )
    empty = Screen(Snapshot(Health(reason="joining the group")), Totals(), 0.0, 0.0, "in-process broker", URL)
    assert "(joining the group)" in text_line(empty)
    assert "lag ?" in text_line(empty)


def test_the_closing_line_has_the_totals() -> None:
    line = closing_line(Totals(10_000, 55, 4, 2), 20.0)
    assert line == "10,000 events read in 20.0 s (500/s), 55 summaries published, 4 late, 2 rejects"
    assert "(0/s)" in closing_line(Totals(), 0.0)


def test_times_outside_the_calendar_are_shown_as_numbers() -> None:
    assert clock_text(-(2**52)) == f"{-(2**52)} ms"
    assert clock_text(0) == "00:00:00"


def test_a_stream_without_samples_has_no_bitrate() -> None:
    silent = replace(screen(), snapshot=Snapshot(READY, (stream()._replace(window_bitrate_samples=0),)))
    assert "Mbit/s" not in drawn(silent)
