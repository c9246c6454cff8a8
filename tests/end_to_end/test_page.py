"""Page and API of a worker at work on a real broker."""

import json
import time
import urllib.error
import urllib.request
from collections import defaultdict
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import pytest

from consumer.settings.model import HttpSettings
from consumer.worker.service import Service
from tests.end_to_end.stage import running, stage
from tests.end_to_end.test_real_broker import LENGTH_MS, audience
from tests.reference.events_counting import Rules
from tests.support.waiting import until

RULES = Rules(window_duration_ms=60_000, bucket_ms=10_000, grace_ms=2_000, stream_idle_ms=25_000)


def api(service: Service, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{service.address}/api/v1/{path}", timeout=30) as answer:  # noqa: S310  # ours
        content: dict[str, Any] = json.load(answer)
        return content


def test_the_api_shows_every_bucket_that_was_published(bootstrap_servers: str) -> None:
    with stage(bootstrap_servers, 3, RULES, viewer_timeout_ms=30_000) as kafka:
        kafka.write(audience(time.time_ns() // 1_000_000 - LENGTH_MS))
        with running(kafka.settings()) as service:
            kafka.wait_until_all_is_committed()
            until(
                lambda: all(one["lag_records"] == 0 for one in api(service, "worker")["partitions"]), "it has caught up"
            )
            published = kafka.summaries()
            by_stream: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for summary in published:
                by_stream[summary["stream_id"]].append(summary)
            for stream_id, summaries in list(by_stream.items())[:40]:
                shown = api(service, f"streams/{quote(stream_id, safe='')}?history=1000")["history"]
                for name, values in shown.items():
                    # The clock may have closed more since the summaries were read.
                    assert values[: len(summaries)] == [summary[name] for summary in summaries], (stream_id, name)
            worker = api(service, "worker")
        assert worker["ready"]
        assert worker["live_partitions"] == [0, 1, 2]
        assert worker["history"]["buckets"] >= len(published) == sum(map(len, by_stream.values())) > 1_000
        assert sum(worker["counters"]["events"].values()) > 1_000


def test_without_the_page_there_is_neither_page_nor_history(bootstrap_servers: str) -> None:
    with stage(bootstrap_servers, 1, RULES) as kafka:
        settings = kafka.settings().model_copy(update={"http": HttpSettings(host="127.0.0.1", port=0, page=False)})
        with running(settings) as service:
            until(lambda: service.board.latest().health.ready, "it is ready")
            for path in ("/", "/page.js", "/api/v1/streams"):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(f"{service.address}{path}", timeout=30)  # noqa: S310  # ours
                assert refused.value.code == HTTPStatus.NOT_FOUND
                assert "/api" not in refused.value.read().decode()
                refused.value.close()
            assert service._history is None
