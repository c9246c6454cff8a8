import gzip
import json
import re
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from consumer.observe.api import MOST_ANSWERS
from consumer.observe.buckets import COLUMNS
from consumer.observe.labels import label_of
from consumer.observe.snapshot import Health, OutputStatus
from consumer.output.summary import FIELDS, Origin, summary_dicts
from consumer.windows.events import EVENT_TYPES, FactCounts
from consumer.windows.partition import ClosedBuckets
from consumer.worker.loop import RATES
from tests.observe.samples import closed_rows, partition, snapshot, stream
from tests.observe.site import BUCKET_MS, Worker

IDS = [
    "a/b",
    "100%",
    "<script>alert(1)</script>",
    "quo\"te's",
    "ü 漢字 🎬",
    "a?b#c&d=e",
    "..",
    "",
    "x" * 500,
    "-",
    "%2F",
]


@pytest.fixture
def worker() -> Worker:
    worker = Worker()
    worker.history.begin(0, 500)
    return worker


def random_rows(number: int, seed: int) -> Any:
    """Closed buckets with any figures that a bucket can have."""
    rng = np.random.default_rng(seed)
    rows = closed_rows(*(each * BUCKET_MS for each in range(number)))
    for part in ("bucket", "presence"):
        for name in rows[part].dtype.names or ():
            if name not in {"start_ms", "newer", "older", "first_chunk", "last_chunk"}:
                rows[part][name] = rng.integers(0, 2**40, number)
    rows["bucket"]["bitrate_samples"][::3] = 0
    rows["bucket"]["bitrate_sum_low"] = rng.integers(0, 2**62, number)
    rows["bucket"]["bitrate_sum_high"] = rng.integers(0, 3, number)
    rows["reason"] = rng.integers(0, 5, number)
    return rows


@pytest.mark.parametrize("counting", ["sessions", "events"])
def test_a_streams_buckets_equal_the_summaries_that_were_published(counting: str) -> None:
    worker = Worker(counting)
    rows = random_rows(40, seed=4)
    worker.history.begin(3, 0)
    worker.history.add(3, [b"one"] * len(rows), rows)
    worker.board.publish(snapshot(stream("one", partitions=(3,)), partitions=(partition(3),)))
    summaries = summary_dicts(ClosedBuckets([b"one"] * len(rows), rows), Origin(BUCKET_MS, counting, "t", 3))
    shown = worker.json("streams/one")["history"]
    assert set(shown) < set(FIELDS)
    for name, values in shown.items():
        assert (values or [None] * len(rows)) == [summary[name] for summary in summaries], name


def test_the_list_has_the_newest_buckets_of_each_stream(worker: Worker) -> None:
    rows = random_rows(12, seed=5)
    for name in (b"one", b"two"):
        worker.history.add(0, [name] * len(rows), rows)
    streams = [stream("one", 7, partitions=(0,)), stream("two", 3, partitions=(0,))]
    worker.board.publish(snapshot(*streams, partitions=(partition(0),)))
    full = worker.json("streams/two")["history"]
    listed = worker.json("streams?history=5")["streams"]
    assert [one["stream_id"] for one in listed] == ["one", "two"]
    assert listed[1]["history"] == {name: full[name][-5:] for name in listed[1]["history"]}
    assert listed[1]["history_since_ms"] == 500
    assert "history" not in worker.json("streams")["streams"][0]


def test_figures_have_the_names_of_the_gauges(worker: Worker) -> None:
    one = stream(
        "one",
        7,
        window_peak_concurrent_viewers=9,
        window_bitrate_samples=2,
        window_bitrate_avg_bps=1.5,
        window_stall_ms=11,
        last_closed_bucket_start_ms=-20_000,
        partitions=(0,),
    )
    worker.board.publish(snapshot(one, partitions=(partition(0),)))
    expected = {**one._asdict(), "partitions": [0]}
    assert worker.json("streams")["streams"] == [expected]
    assert worker.json("streams/one")["live"] == {
        name: value for name, value in expected.items() if name != "stream_id"
    }


@pytest.mark.parametrize("stream_id", IDS)
def test_any_id_can_be_asked_for(worker: Worker, stream_id: str) -> None:
    others = [stream(f"other-{number}", partitions=(0,)) for number in range(3)]
    worker.board.publish(snapshot(*others, stream(stream_id, 7, partitions=(0,)), partitions=(partition(0),)))
    worker.history.add(0, [stream_id.encode()], closed_rows(0, peak=5))
    for name in {stream_id, label_of(stream_id)}:
        found = worker.json(f"streams/{quote(name, safe='')}")
        assert (found["full_stream_id"], found["stream_id"]) == (stream_id, label_of(stream_id))
        assert (found["live"]["concurrent_viewers"], found["history"]["peak_concurrent_viewers"]) == (7, [5])
    listed = worker.json(f"streams?{'search=' + quote(stream_id, safe='') if stream_id else ''}")
    assert label_of(stream_id) in [one["stream_id"] for one in listed["streams"]]


@pytest.mark.parametrize("name", ["%ff%fe", "%", "%zz", "gone", "%00"])
def test_an_id_that_is_not_here_is_not_found_and_says_where_it_may_be(worker: Worker, name: str) -> None:
    answer = worker.get(f"/api/v1/streams/{name}")
    assert answer.status == HTTPStatus.NOT_FOUND
    assert "another worker" in json.loads(answer.body)["error"]


def test_a_stream_beyond_the_limit_of_series_is_found_by_its_buckets(worker: Worker) -> None:
    worker.board.publish(snapshot(partitions=(partition(0),), left_out=1))
    worker.history.add(0, [b"small"], closed_rows(0, peak=1))
    found = worker.json("streams/small")
    assert (found["live"], found["history"]["peak_concurrent_viewers"]) == (None, [1])


def test_a_stream_of_two_partitions_is_added_up_as_the_gauges_are(worker: Worker) -> None:
    worker.history.begin(1, 900)
    rows = closed_rows(0, 10_000, peak=2, joins=3, bitrate_samples=1, stall_ms=5, viewer_ms=10_000)
    rows["bucket"]["bitrate_sum_low"] = 2**62 - 1
    rows["bucket"]["bitrate_min_bps"], rows["bucket"]["bitrate_max_bps"] = 100, 200
    worker.history.add(0, [b"one"] * 2, rows)
    other = closed_rows(10_000, 20_000, peak=4, joins=1, bitrate_samples=0)
    worker.history.add(1, [b"one"] * 2, other)
    third = closed_rows(10_000, bitrate_samples=2)
    third["bucket"]["bitrate_sum_low"] = 2**62 - 1
    third["bucket"]["bitrate_min_bps"], third["bucket"]["bitrate_max_bps"] = 50, 150
    worker.history.begin(2, 700)
    worker.history.add(2, [b"one"], third)
    worker.board.publish(
        snapshot(stream("one", partitions=(0, 1, 2)), partitions=tuple(partition(each) for each in range(3)))
    )
    found = worker.json("streams/one")
    assert found["history_since_ms"] == 900
    shown = found["history"]
    assert shown["bucket_start_ms"] == [0, 10_000, 20_000]
    assert shown["peak_concurrent_viewers"] == [2, 6, 4]
    assert shown["joins"] == [3, 4, 1]
    assert shown["bitrate_sample_count"] == [1, 3, 0]
    assert shown["avg_bitrate_bps"] == [float(2**62 - 1), 2 * (2**62 - 1) / 3, 0.0]
    assert shown["min_bitrate_bps"] == [100, 50, 0]
    assert shown["max_bitrate_bps"] == [200, 200, 0]
    assert shown["avg_concurrent_viewers"] == [1.0, 1.0, 0.0]


def many(number: int) -> list[Any]:
    """Streams as a snapshot has them: the largest first."""
    return [
        stream(
            f"S-{each:05d}",
            number - each,
            window_stall_ms=each * 7919 % number,
            last_closed_bucket_start_ms=None if each % 3 else each,
            partitions=(0,),
        )
        for each in range(number)
    ]


def test_ten_thousand_streams_are_searched_sorted_and_cut(worker: Worker) -> None:
    worker.board.publish(snapshot(*many(10_000), partitions=(partition(0),), left_out=5))
    first = worker.json("streams")
    assert (first["total"], first["left_out"], first["matched"], len(first["streams"])) == (10_005, 5, 10_000, 100)
    assert len(worker.get("/api/v1/streams?limit=100&history=60").body) < 100_000
    page = worker.json("streams?offset=9995&limit=10")["streams"]
    assert [one["stream_id"] for one in page] == [f"S-{each:05d}" for each in range(9_995, 10_000)]
    found = worker.json("streams?search=s-0012&sort=stream_id")
    assert (found["matched"], found["streams"][0]["stream_id"]) == (10, "S-00120")
    by_stalls = worker.json("streams?sort=-window_stall_ms&limit=3")["streams"]
    assert [one["window_stall_ms"] for one in by_stalls] == [9_999, 9_998, 9_997]
    closed = worker.json("streams?sort=-last_closed_bucket_start_ms&limit=2")["streams"]
    assert [one["last_closed_bucket_start_ms"] for one in closed] == [9_999, 9_996]
    never = worker.json("streams?sort=last_closed_bucket_start_ms&limit=2")["streams"]
    assert [one["stream_id"] for one in never] == ["S-00001", "S-00002"], "equal ones stay by viewers"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=1001", "limit must be a whole number from 0 to 1000"),
        ("limit=-1", "limit must be"),
        ("limit=1_0", "limit must be"),
        ("limit=", "limit must be"),
        ("limit=" + "9" * 5_000, "limit must be"),
        ("offset=x", "offset must be"),
        ("history=%D9%A3", "history must be"),
        ("limit=1000&history=11", "limit times history must be at most 10000"),
        ("sort=viewer_id", "sort must be one of stream_id, concurrent_viewers"),
        ("sort=--stream_id", "sort must be one of"),
        ("page=2", "unknown parameter 'page'; known are: search, sort"),
        ("&".join(f"a{number}=1" for number in range(20)), "at most 16 parameters"),
    ],
)
def test_a_query_that_cannot_be_used_says_what_is_allowed(worker: Worker, query: str, said: str) -> None:
    answer = worker.get(f"/api/v1/streams?{query}")
    assert answer.status == HTTPStatus.BAD_REQUEST
    assert said in json.loads(answer.body)["error"]


def test_the_worker_says_what_it_is_and_does(worker: Worker) -> None:
    one = partition(
        2, next_offset=90, end_offset=100, time_lag_s=1.5, streams=4, viewers=33, held_records=2, checkpoint_age_s=3.0
    )
    health = Health(assigned=True, producer_ready=True, reason="partition 5: stopped")
    worker.history.begin(2, 777)
    worker.history.add(2, [b"a"], closed_rows(0))
    worker.metrics.count_events(FactCounts(np.array([5, 4, 3, 2, 1, 6]), np.array([0, 7])))
    worker.metrics.count_rejects("truncated", 2)
    worker.metrics.count_late("clamped", 3, 10)
    worker.metrics.count_clock_step()
    worker.board.starting("")
    worker.board.publish(
        replace(
            snapshot(partitions=(one,), health=health, left_out=3),
            taken_s=worker.clock(),
            waiting=(5,),
            stopped=1,
            rates={"events": 12.5},
            output=OutputStatus(pending_records=7, last_commit_s=1_700_000_000.25),
        )
    )
    worker.clock.now_s += 0.25
    found = worker.json("worker")
    assert found["worker"] == "worker-1"
    assert (found["age_s"], found["now_ms"]) == (0.25, 1_700_001_000_250)
    assert (found["ready"], found["missing"], found["reason"]) == (False, ["restored"], "partition 5: stopped")
    assert (found["live_partitions"], found["waiting_partitions"], found["stopped"]) == ([2], [5], 1)
    assert (found["viewers"], found["streams"], found["streams_left_out"], found["lag_records"]) == (33, 4, 3, 10)
    (shown,) = found["partitions"]
    assert {name: shown[name] for name in one._fields} == one._asdict()
    assert (shown["lag_records"], shown["history_since_ms"]) == (10, 777)
    assert (found["output"]["pending_records"], found["output"]["last_commit_ms"]) == (7, 1_700_000_000_250)
    assert found["rates_per_s"] == {"events": 12.5}
    counters = found["counters"]
    assert counters["events"] == dict(zip(EVENT_TYPES, (5, 4, 3, 2, 1, 6), strict=True))
    assert sum(counters["skipped_samples"].values()) == 7
    assert counters["rejects"] == {"truncated": 2, "unknown_schema": 0}
    assert counters["late_events"] == {"stream_time": 0, "stream_idle": 0, "clamped": 3}
    assert (counters["clock_steps"], counters["commits"]) == (1, 0)
    assert found["history"] == {"buckets": 1, "limit": 1_000}


def test_the_lag_of_all_is_unknown_while_one_is(worker: Worker) -> None:
    worker.board.publish(snapshot(partitions=(partition(0, end_offset=5), partition(1, end_offset=None))))
    found = worker.json("worker")
    assert (found["lag_records"], [one["lag_records"] for one in found["partitions"]]) == (None, [5, None])


def test_before_the_first_turn_there_is_nothing_but_the_reason() -> None:
    worker = Worker()
    worker.board.starting("compiling 14 of 29")
    found = worker.json("worker")
    assert (found["ready"], found["starting"], found["age_s"]) == (False, "compiling 14 of 29", None)
    assert worker.json("streams")["streams"] == []


def test_the_counters_are_those_of_the_metrics(worker: Worker) -> None:
    worker.metrics.count_abort("_TIMED_OUT")
    worker.metrics.count_events(FactCounts(np.array([1, 0, 0, 0, 0, 0]), np.array([0, 0])))
    scraped: dict[str, dict[str, float]] = {}
    for family in worker.metrics.registry.collect():
        for sample in family.samples:
            name = sample.name.removeprefix("viewer_consumer_").removesuffix("_total")
            if family.type == "counter" and sample.name == f"viewer_consumer_{name}_total":
                scraped.setdefault(name, {})["".join(sample.labels.values())] = sample.value
    shown = worker.json("worker")["counters"]
    assert {name: value if isinstance(value, dict) else {"": value} for name, value in shown.items()} == scraped
    assert len(scraped) > 15


def test_an_answer_is_computed_once_a_second_for_all(worker: Worker) -> None:
    worker.board.publish(snapshot(stream("old"), partitions=(partition(0),)))
    first = worker.get("/api/v1/streams")
    worker.board.publish(snapshot(stream("new"), partitions=(partition(0),)))
    worker.clock.now_s += 0.99
    assert worker.get("/api/v1/streams") == first
    assert b'"new"' in worker.get("/api/v1/streams?limit=5").body
    worker.clock.now_s += 0.01
    assert b'"new"' in worker.get("/api/v1/streams").body


def test_answers_that_are_kept_are_few(worker: Worker) -> None:
    for number in range(3 * MOST_ANSWERS):
        worker.get(f"/api/v1/streams?offset={number}")
    site = worker.routes._site
    assert site is not None
    assert len(site._api._answers) == MOST_ANSWERS


def test_answers_are_packed_for_those_who_take_it(worker: Worker) -> None:
    worker.board.publish(snapshot(*many(100), partitions=(partition(0),)))
    plain, packed = worker.get("/api/v1/streams"), worker.get("/api/v1/streams", "gzip")
    assert ("Content-Encoding", "gzip") in packed.headers
    assert gzip.decompress(packed.body) == plain.body


def test_every_column_is_a_field_of_the_summary() -> None:
    assert set(COLUMNS) == set(FIELDS) - {
        "stream_id", "bucket_end_ms", "bitrate_sum_bps", "counting", "topic", "partition", "offset",
    }  # fmt: skip


def test_the_guides_examples_have_the_members_of_the_answers(worker: Worker) -> None:
    guide = (Path(__file__).parents[2] / "deploy/README.md").read_text(encoding="utf-8")
    streams, of_worker = map(json.loads, re.findall(r"^```json\n(.*?)^```", guide, re.MULTILINE | re.DOTALL))
    worker.history.add(0, [b"one"] * 2, closed_rows(0, BUCKET_MS))
    worker.board.publish(
        replace(
            snapshot(stream("one", partitions=(0,)), partitions=(partition(0),)),
            rates=dict.fromkeys(RATES, 0.0),
        )
    )
    answered = worker.json("streams?limit=1&history=2")
    assert shape(streams) == shape(answered)
    answered = worker.json("worker")
    assert of_worker["counters"].keys() < answered["counters"].keys()
    assert shape(of_worker | {"counters": 0}) == shape(answered | {"counters": 0})
    for name in worker.json("streams/one")["history"]:
        assert f"`{name}`" in guide


def shape(value: Any) -> Any:
    """The members of an answer, whatever their values."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [shape(value[0])]
    return None
