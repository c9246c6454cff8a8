"""The page in a real Chromium: its figures against those of the API and of /metrics, and what people do with it."""

import json
import re
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from consumer.observe.labels import label_of
from consumer.observe.snapshot import Health
from tests.observe.samples import parse_text
from tests.page.browser import DESKTOP, DOWN, ENTER, ESCAPE, PHONE, Browser
from tests.page.stage import Stage

Serve = Callable[..., Stage]

HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=document.title='owned'>",
    "quote\"s ' and `backticks`",
    "über 漢字 🎬 \u202ertl",
    "path/../with//slashes/",
    "100%/%2F/%zz",
    "a?b#c&d=e;f",
    " ",
    "__proto__",
    "x" * 5_000,
]

NONE = "\u2013"

ROWS = "tr[data-stream]"


def number(text: str) -> float:
    """A number as the page writes it."""
    return float(text.replace(",", ""))


def get(stage: Stage, path: str) -> str:
    with urllib.request.urlopen(f"{stage.server.address}/{path}", timeout=30) as answer:  # noqa: S310  # ours
        return bytes(answer.read()).decode()


def api(stage: Stage, path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(get(stage, f"api/v1/{path}"))
    return content


def opened(browser: Browser, stage: Stage, fragment: str = "") -> None:
    """Open the page, and wait until it shows an answer."""
    browser.open(f"{stage.server.address}/{fragment}")
    browser.wait("document.querySelector('#totals dd').textContent")


def shown_streams(browser: Browser) -> dict[str, dict[str, str]]:
    """The texts of all rows by stream, and within it by name of the figure."""
    shown: list[tuple[str, list[tuple[str, str]]]] = browser.run(
        """
        const text = (one) => [one.dataset.name, one.textContent];
        const texts = (row) => [...row.querySelectorAll("[data-name]")].map(text);
        const rows = [...document.querySelectorAll("tr[data-stream]")];
        return rows.map((row) => [row.dataset.stream, texts(row)]);
        """
    )
    return {stream_id: dict(texts) for stream_id, texts in shown}


def test_the_figures_of_the_list_are_those_of_the_api_and_of_the_metrics(browser: Browser, serve: Serve) -> None:
    stage = serve(*(f"channel-{each}" for each in range(12)))
    stage.close_buckets(40)
    opened(browser, stage)
    browser.wait("document.querySelectorAll('tr[data-stream]').length === 12")
    shown, answered = shown_streams(browser), api(stage, "streams?history=30")["streams"]
    gauges = {
        (sample.name.removeprefix("viewer_stream_"), sample.labels["stream_id"]): sample.value
        for family in parse_text(get(stage, "metrics"))
        for sample in family.samples
        if sample.name.startswith("viewer_stream_")
    }
    assert list(shown) == [one["stream_id"] for one in answered]
    for one in answered:
        row, name = shown[one["stream_id"]], one["stream_id"]
        assert number(row["viewers"]) == one["concurrent_viewers"] == gauges["concurrent_viewers", name]
        peak = one["window_peak_concurrent_viewers"]
        assert number(row["peak"]) == peak == gauges["window_peak_concurrent_viewers", name]
        average = one["window_bitrate_avg_bps"]
        assert average == gauges["window_bitrate_avg_bps", name]
        assert row["bitrate"] == (f"{average / 1e6:.2f} Mbit/s" if one["window_bitrate_samples"] else NONE)
        stalls = one["window_buffer_events"]
        assert number(row["stalls"].split(" · ")[0]) == stalls == gauges["window_buffer_events", name]
    totals = dict(zip(browser.texts("#totals dt"), browser.texts("#totals dd"), strict=True))
    assert number(totals["Viewers"]) == sum(one["concurrent_viewers"] for one in answered)
    assert (totals["Streams"], totals["Events"], totals["Lag"]) == ("12", "51,234/s", "42")


def test_the_curves_are_drawn_from_the_closed_buckets(browser: Browser, serve: Serve) -> None:
    stage = serve("one", "two")
    stage.close_buckets(7)
    opened(browser, stage)
    paths = browser.wait("[...document.querySelectorAll('tr[data-stream] .spark')].map((one) => one.getAttribute('d'))")
    assert len(paths) == 6
    assert len(re.findall(r"[ML]", paths[0])) == 7, "a point for each closed bucket"
    assert paths[0].count("M") == 1, "without a gap"
    stage.close_buckets(1)
    browser.wait("document.querySelector('tr[data-stream] .spark').getAttribute('d').match(/[ML]/g).length === 8")


def test_a_streams_page_shows_each_closed_bucket_as_published(browser: Browser, serve: Serve) -> None:
    stage = serve("one", "two/2")
    stage.close_buckets(5)
    opened(browser, stage, f"#/streams/{quote('two/2', safe='')}")
    browser.wait("document.querySelectorAll('tr[data-start]').length === 5")
    history = api(stage, "streams/two%2F2")["history"]
    rows = browser.run(
        "return [...document.querySelectorAll('tr[data-start]')].map((row) => [row.dataset.start,"
        " ...[...row.cells].slice(1).map((one) => one.textContent)])"
    )
    for place, (start, peak, average, joins, leaves, timeouts, *_) in enumerate(reversed(rows)):
        assert int(start) == history["bucket_start_ms"][place]
        assert number(peak) == history["peak_concurrent_viewers"][place]
        assert number(average) == pytest.approx(history["avg_concurrent_viewers"][place], abs=0.05)
        assert number(joins) == history["joins"][place]
        assert number(leaves) == history["leaves"][place]
        assert number(timeouts) == history["timeouts"][place]
    assert browser.texts("figcaption b") == ["Viewers", "Joins and leaves", "Bitrate", "Stall time"]
    newest = f"peak {history['peak_concurrent_viewers'][-1]:,}"
    assert newest in browser.text("figure .readout")
    assert "This worker has had the partition since" in browser.text(".one p")
    live = api(stage, "streams/two%2F2")["live"]
    assert number(browser.text("[data-name='Viewers']")) == sum(
        one["concurrent_viewers"] for one in api(stage, "streams")["streams"]
    ), "the header counts all streams"
    assert number(browser.text(".one [data-name='Viewers']")) == live["concurrent_viewers"]


def test_events_counting_has_no_figures_of_sessions(browser: Browser, serve: Serve) -> None:
    stage = serve("one", counting="events")
    stage.close_buckets(3)
    opened(browser, stage, "#/streams/one")
    browser.wait("document.querySelectorAll('tr[data-start]').length === 3")
    cells = browser.texts("tr[data-start]:first-child td")
    assert (cells[2], cells[5]) == (NONE, NONE)
    assert "average" not in browser.text("figure .readout")


def test_the_worker_says_what_is_wrong_and_counts_by_reason(browser: Browser, serve: Serve) -> None:
    health = Health(assigned=True, producer_ready=True, reason="partition 5: the state is ahead")
    stage = serve("one", health=health, waiting=(5,))
    stage.worker.metrics.count_rejects("truncated", 12)
    stage.worker.metrics.count_late("clamped", 1_234, 5)
    opened(browser, stage, "#/worker")
    browser.wait("document.querySelector('.conditions').textContent.includes('the state is ahead')")
    assert "Missing: restored" in browser.text(".conditions")
    assert browser.text("#state") == "not ready"
    assert "the state is ahead" in browser.text("#alert")
    found = api(stage, "worker")
    partitions = {
        int(row[0]): row[1:]
        for row in browser.run(
            "return [...document.querySelectorAll('tr[data-partition]')]"
            ".map((row) => [...row.cells].map((one) => one.textContent))"
        )
    }
    for one in found["partitions"]:
        lag, _, held, viewers, *_ = partitions[one["partition"]]
        assert (number(lag), number(held), number(viewers)) == (one["lag_records"], one["held_records"], one["viewers"])
    assert partitions[5] == ["restoring, or stopped: see the reason above"]
    assert browser.texts("[data-counter='rejects'] [data-label='truncated'] td") == ["truncated", "12"]
    assert browser.texts("[data-counter='late_events'] [data-label='clamped'] td") == ["clamped", "1,234"]
    assert "This worker alone: partitions 0, 1, 2, 3 (1 more" in browser.text("#scope")


def test_hostile_ids_are_texts_and_their_pages_open(browser: Browser, serve: Serve) -> None:
    stage = serve(*HOSTILE)
    stage.close_buckets(3)
    opened(browser, stage)
    browser.wait(f"document.querySelectorAll('tr[data-stream]').length === {len(HOSTILE)}")
    assert set(shown_streams(browser)) == {label_of(each) for each in HOSTILE}
    assert browser.run("return document.querySelectorAll('main script, main img').length") == 0
    for stream_id in HOSTILE:
        browser.run(
            "[...document.querySelectorAll('tr[data-stream]')].find((row) => row.dataset.stream === arguments[0])"
            ".querySelector('a').click()",
            label_of(stream_id),
        )
        browser.wait("document.querySelector('h1')?.textContent === arguments[0]", stream_id)
        browser.wait("document.querySelectorAll('tr[data-start]').length === 3")
        browser.run("location.hash = '#/streams'")
        browser.wait(f"document.querySelectorAll('tr[data-stream]').length === {len(HOSTILE)}")
        # The next stream's page must not be taken for this one's.
        browser.run("document.querySelector('h1')?.replaceChildren()")
    assert browser.run("return document.title") == "worker-1 · viewer-consumer"
    assert browser.messages() == []


def test_nothing_is_loaded_from_elsewhere_and_nothing_inline_runs(browser: Browser, serve: Serve) -> None:
    stage = serve("one")
    stage.close_buckets(3)
    for fragment in ("", "#/streams/one", "#/worker"):
        opened(browser, stage, fragment)
        browser.wait("document.querySelector('main').children.length")
        assert all(url.startswith(stage.server.address) for url in browser.requested())
        assert browser.messages() == []
    browser.run(
        "const inline = document.createElement('script'); inline.textContent = 'window.owned = 1';"
        "document.head.append(inline)"
    )
    assert browser.run("return window.owned ?? null") is None
    assert "Content Security Policy" in "".join(browser.messages())


def test_two_thousand_streams_are_one_screen_and_do_not_freeze_the_tab(browser: Browser, serve: Serve) -> None:
    stage = serve(*(f"channel-{each:04d}" for each in range(2_000)), left_out=17)
    stage.close_buckets(60)
    opened(browser, stage)
    browser.run("window.frames = 0; (function frame() { window.frames += 1; requestAnimationFrame(frame); })()")
    browser.wait(f"document.querySelectorAll('{ROWS}').length >= 10")
    assert "of 2,000" in browser.text(".matched")
    assert "17 smaller streams are not listed" in browser.text(".note")
    seen = set()
    for _ in range(3):
        stage.close_buckets(1)
        before = browser.text(f"{ROWS} [data-name='viewers']")
        browser.wait(f"document.querySelector(\"{ROWS} [data-name='viewers']\").textContent !== arguments[0]", before)
        seen.add(browser.text(f"{ROWS} [data-name='viewers']"))
    browser.press("/")
    browser.press("CHANNEL-19")
    browser.wait("document.querySelector('.matched').textContent.endsWith('of 100')")
    assert browser.run("return window.frames") > 3
    assert browser.run("return document.querySelectorAll('*').length") < 2_000


def test_search_sort_and_pages_by_keyboard(browser: Browser, serve: Serve) -> None:
    stage = serve(*(f"channel-{each:03d}" for each in range(100)))
    opened(browser, stage)
    browser.wait(f"document.querySelector('{ROWS}')")
    first = list(shown_streams(browser))
    browser.press("]")
    browser.wait(f"document.querySelector('{ROWS}').dataset.stream !== arguments[0]", first[0])
    assert not set(shown_streams(browser)) & set(first)
    browser.press("[")
    browser.wait(f"document.querySelector('{ROWS}').dataset.stream === arguments[0]", first[0])
    browser.press("1")
    browser.wait(f"document.querySelector('{ROWS}').dataset.stream === 'channel-000'")
    browser.press("1")
    browser.wait(f"document.querySelector('{ROWS}').dataset.stream === 'channel-099'")
    assert browser.run("return document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "descending"
    browser.press("/")
    browser.press("nel-01")
    browser.wait("document.querySelector('.matched').textContent === '1\u201310 of 10'")
    browser.press(ENTER)
    browser.press("j")
    browser.press(DOWN)
    chosen = browser.run("return document.querySelector('tr.chosen').dataset.stream")
    assert chosen == "channel-017"
    browser.press(ENTER)
    browser.wait("document.querySelector('h1')?.textContent === arguments[0]", chosen)
    browser.press(ESCAPE)
    browser.wait("document.querySelector('.matched')?.textContent === '1\u201310 of 10'")
    browser.press(ESCAPE)
    browser.wait("document.querySelector('.matched').textContent.endsWith('of 100')")
    browser.press("?")
    browser.wait("document.querySelector('dialog').open")
    browser.press(ESCAPE)
    browser.wait("!document.querySelector('dialog').open")


def test_a_link_leads_to_the_same_list(browser: Browser, serve: Serve) -> None:
    stage = serve(*(f"channel-{each:03d}" for each in range(60)))
    opened(browser, stage, "#/streams?search=nel-03&sort=-stream_id")
    browser.wait(f"document.querySelector('{ROWS}')?.dataset.stream === 'channel-039'")
    assert browser.run("return document.querySelector('input').value") == "nel-03"


def test_a_stream_that_is_not_here_says_where_it_may_be(browser: Browser, serve: Serve) -> None:
    stage = serve("one")
    opened(browser, stage, "#/streams/gone")
    browser.wait("document.querySelector('.one p').textContent.includes('another worker')")
    assert browser.text("#state") == "ready"


def test_it_says_that_it_is_stale_when_the_worker_is_gone(browser: Browser, serve: Serve) -> None:
    stage = serve("one")
    opened(browser, stage)
    browser.wait("document.querySelector('#state').textContent === 'ready'")
    stage.server.close()
    browser.wait("document.querySelector('#state').textContent === 'stale'")
    assert "no answer from this worker for" in browser.text("#alert")
    assert "The figures are of" in browser.text("#alert")
    assert browser.text(f"{ROWS} a") == "one", "what was known stays"


def test_it_says_that_it_is_stale_when_the_loop_publishes_nothing(browser: Browser, serve: Serve) -> None:
    stage = serve("one")
    opened(browser, stage)
    browser.wait("document.querySelector('#state').textContent === 'ready'")
    stage.clock.ahead_s += 20.0
    browser.wait("document.querySelector('#state').textContent === 'stale'")
    assert "the worker's loop has published nothing for 2" in browser.text("#alert")
    stage.publish()
    browser.wait("document.querySelector('#state').textContent === 'ready'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_its_window_light_and_dark(browser: Browser, serve: Serve, size: tuple[int, int], scheme: str) -> None:
    stage = serve(*HOSTILE, *(f"channel-{each:03d}" for each in range(60)), waiting=(5,))
    stage.close_buckets(40)
    browser.resize(size, scheme)
    for fragment, ready in (
        ("", ROWS),
        (f"#/streams/{quote(label_of(HOSTILE[-1]), safe='')}", "tr[data-start]"),
        ("#/worker", "tr[data-partition]"),
    ):
        opened(browser, stage, fragment)
        browser.wait("document.querySelector(arguments[0])", ready)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), fragment
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
    assert (brightness < 128) == (scheme == "dark")
    browser.element("#theme").click()
    assert browser.run("return document.documentElement.dataset.theme") == "light"
    browser.run("localStorage.clear()")
