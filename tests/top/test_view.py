"""What `top` draws, for terminals of any size."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from consumer.top.view import ORDERS, View, in_order, screen
from consumer.top.workers import WorkerFigures
from tests.top.workers import stream, worker

URL = "http://worker-0:9464"


def figures(*streams: Any, problem: str = "", **said: Any) -> WorkerFigures:
    return WorkerFigures(URL, problem, {} if problem else worker(**said), streams)


def drawn(*workers: WorkerFigures, view: View = View(), width: int = 80, height: int = 24) -> str:  # noqa: B008  # immutable
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as capture:
        console.print(screen(workers, view, width, height))
    return capture.get()


def test_it_shows_totals_of_all_workers_a_line_for_each_and_the_streams() -> None:
    text = drawn(figures(stream()), figures(stream("other", 5), ready=False, reason="partition 3: stopped"))
    for part in ("viewers 11,356", "streams 84", "events/s 3,001", "summaries/s 62", "late/s 1.0", "rejects/s 0.0"):
        assert part in text
    assert "workers ready 1 of 2" in text
    assert f"{URL}  ready  partitions 2  lag 12" in text
    assert f"{URL}  not ready  partitions 2  lag 12  partition 3: stopped" in text
    row = next(line for line in text.splitlines() if line.startswith("channel-0001"))
    assert row.split() == ["channel-0001", "1,234", "2,345", "3.46", "Mbit/s", "17", "(65.4", "s)", "22:13:50"]


def test_on_80_columns_nothing_is_cut() -> None:
    text = drawn(figures(stream("channel-0001", 10_234_567, window_peak_concurrent_viewers=10_345_678)))
    assert "…" not in text
    header = next(line for line in text.splitlines() if line.startswith("stream "))
    assert header.split() == ["stream", "viewers", "peak", "bitrate", "stalls", "closed"]


def test_a_long_id_is_cut_and_never_a_figure() -> None:
    text = drawn(figures(stream("x" * 300)))
    row = next(line for line in text.splitlines() if line.startswith("xx"))
    assert row.split()[1:] == ["1,234", "2,345", "3.46", "Mbit/s", "17", "(65.4", "s)", "22:13:50"]
    assert row.split()[0].endswith("x…")


def test_a_worker_that_does_not_answer_says_why_and_the_others_are_shown() -> None:
    text = drawn(figures(problem="no answer: timed out"), figures(stream()))
    assert f"{URL}  no answer: timed out" in text
    assert "viewers 5,678" in text


def test_lag_that_is_not_known_is_a_question_mark() -> None:
    assert "lag ?" in drawn(figures(lag_records=None))


@pytest.mark.parametrize(
    ("keys", "first"),
    [("", "b"), ("p", "a"), ("b", "c"), ("s", "d"), ("n", "a"), ("nr", "d"), ("r", "d"), ("x", "b"), ("rv", "d")],
)
def test_keys_choose_the_order(keys: str, first: str) -> None:
    view = View()
    for key in keys:
        view = view.pressed(key)
    streams = (
        stream("a", 3, window_peak_concurrent_viewers=9_000),
        stream("b", 4),
        stream("c", 2, window_bitrate_avg_bps=9e6),
        stream("d", 1, window_stall_ms=90_000),
    )
    assert in_order([figures(*streams)], view)[0].stream_id == first


def test_the_streams_of_all_workers_are_one_list() -> None:
    found = in_order([figures(stream("a", 1), stream("c", 3)), figures(stream("b", 2))], View())
    assert [one.stream_id for one in found] == ["c", "b", "a"]


def test_a_low_terminal_shows_fewer_streams() -> None:
    many = figures(*(stream(f"s{number:03d}", number) for number in range(100)))
    assert sum(line.startswith("s0") for line in drawn(many, height=24).splitlines()) == 24 - 7
    assert len(drawn(many, height=24).splitlines()) <= 24


@given(st.text(max_size=300), st.integers(30, 200), st.sampled_from(ORDERS))
@settings(max_examples=100)
def test_any_stream_id_fits_any_terminal(stream_id: str, width: int, order: Any) -> None:
    text = drawn(figures(stream(stream_id)), view=View(order), width=width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert "\x1b" not in text
