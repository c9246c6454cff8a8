"""Golden cases of sessions counting through workers on a real broker: one partition per case, with a restart.

```
    first      ── half of the records ──■ stops, or ✗ SIGKILL
    next                                 └ restores ── the other half ── live counts
```
"""

import signal
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from consumer.settings.model import Settings
from tests.aggregate.files import golden
from tests.end_to_end.events import by_stream, encoded
from tests.end_to_end.stage import Record, Stage, running, stage
from tests.end_to_end.test_golden import reached
from tests.end_to_end.test_process import START_TIMEOUT_S, start
from tests.reference.events_counting import Event, Rules
from tests.support.waiting import until

AT_ONCE = 8
"""Number of services that run at once: each mostly waits for its group."""
NEVER_MS = 86_400_000
STATIC = {"group.instance.id": "one"}
"""With this stable id the next worker gets the partitions at once, not after the session timeout."""

Case = dict[str, Any]

CASES = golden("sessions.jsonl")


def by_rules() -> list[list[Case]]:
    grouped: dict[str, list[Case]] = defaultdict(list)
    for case in CASES:
        grouped[repr(case["settings"])].append(case)
    return list(grouped.values())


def staged(bootstrap_servers: str, cases: Sequence[Case]) -> Any:
    rules = dict(cases[0]["settings"])
    assert rules.pop("counting") == "sessions"
    timeout_ms = rules.pop("viewer_timeout_ms")
    # The clock of a silent partition would close what the files leave open.
    return stage(
        bootstrap_servers, len(cases), Rules(**rules), viewer_timeout_ms=timeout_ms, partition_idle_ms=NEVER_MS
    )


def halves(cases: Sequence[Case]) -> tuple[list[Record], list[Record]]:
    """Return the records of the cases, each case split in the middle."""
    first, second = [], []
    for partition, case in enumerate(cases):
        records = [
            Record(None, encoded(Event(stream_id, kind, time_ms, value), viewer_id), partition=partition)
            for stream_id, viewer_id, time_ms, kind, value in case["events"]
        ]
        middle = len(records) // 2
        first += records[:middle]
        second += records[middle:]
    return first, second


def settings(kafka: Stage) -> Settings:
    made = kafka.settings()
    return made.model_copy(update={"kafka": made.kafka.model_copy(update={"client": STATIC})})


def finish(kafka: Stage, cases: Sequence[Case], records: Iterable[Record]) -> int:
    """Process the rest with a second worker; compare all summaries and live counts. Return the number of summaries."""
    kafka.write(records)
    with running(settings(kafka)) as service:
        kafka.wait_until_all_is_committed(within_s=90)
        written = kafka.ends()
        until(lambda: reached(service.board.latest(), written), "the snapshot shows all written records")
        live = {each.stream_id: each.concurrent_viewers for each in service.board.latest().streams}
    names = {stream_id for case in cases for stream_id in case["expect"]}
    of_all = {name: sum(case["expect"].get(name, {"live": 0})["live"] for case in cases) for name in names}
    assert {name: live.get(name, 0) for name in names} == of_all
    got = by_stream(kafka.summaries())
    for partition, case in enumerate(cases):
        for stream_id, expect in case["expect"].items():
            closed = [row for row in expect["summaries"] if row["close_reason"] != "END_OF_INPUT"]
            mine = got.get((partition, stream_id), [])
            assert [{key: row[key] for key in expect["summaries"][0]} for row in mine] == closed
    return sum(map(len, got.values()))


def run_cases(bootstrap_servers: str, cases: Sequence[Case]) -> int:
    first, second = halves(cases)
    with staged(bootstrap_servers, cases) as kafka:
        kafka.write(first)
        with running(settings(kafka)):
            kafka.wait_until_all_is_committed(within_s=90)
        return finish(kafka, cases, second)


@pytest.mark.slow
def test_golden_cases_with_a_restart_in_the_middle(bootstrap_servers: str) -> None:
    groups = by_rules()
    assert sum(map(len, groups)) == 40
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [pool.submit(run_cases, bootstrap_servers, cases) for cases in groups]
        assert sum(run.result() for run in runs) > 500


def test_golden_cases_with_a_kill_in_the_middle(bootstrap_servers: str, tmp_path: Path) -> None:
    cases = max(by_rules(), key=lambda group: (len(group), len(group[0]["events"])))
    first, second = halves(cases)
    with staged(bootstrap_servers, cases) as kafka:
        kafka.write(first)
        name = [f"kafka.client.{key}={value}" for key, value in STATIC.items()]
        worker = start(kafka, tmp_path / "killed.log", "--set", *name)
        try:
            kafka.wait_until_all_is_committed(within_s=START_TIMEOUT_S)
        finally:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        assert finish(kafka, cases, second) > 0
