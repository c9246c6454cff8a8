"""What faults happen to: topics, workers on them, events that keep coming, and a reader downstream."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from confluent_kafka import Message

from consumer.state.keys import CHECKPOINT
from tests.chaos.counting import COUNTINGS, RULES, Counting
from tests.chaos.judge import (
    Verdict,
    judge_letters,
    judge_offsets,
    judge_summaries,
    letter_of,
    must_be_published,
    must_be_set_aside,
)
from tests.chaos.producer import EventSource, Flow
from tests.chaos.reader import Reader, Seen
from tests.chaos.workers import Ending, WorkerProcess
from tests.end_to_end.stage import Stage
from tests.support.topics import create_topic, ends, read_committed
from tests.support.waiting import until

SESSION_S = 6.0
TRANSACTION_S = 5.2
"""As short as the worker's own checks allow; between the two lies a moment in which a zombie is only half dead."""

NEVER_MS = 2**39
"""The clock has no part in this: closing by it has tests of its own."""

READ_TIMEOUT_S = 300.0
END_TIMEOUT_S = 30.0
"""Transactions of the dead: their timeout, and the brokers' interval for looking after it."""

_OVERRIDES: Mapping[str, object] = {
    "kafka.client.session.timeout.ms": int(SESSION_S * 1000),
    "kafka.client.transaction.timeout.ms": int(TRANSACTION_S * 1000),
    "commit.interval_ms": 50,
    "commit.checkpoint_interval_ms": 1_000,
    "windows.partition_idle_ms": NEVER_MS,
}


class Scene:
    """A stage with workers that can be hurt.

    Args:
        kafka: the topics, as seen past any proxy.
        counting: how the workers count.
        flow: writes events until the scene settles.
        reader: of the output topic.
        workers: none runs yet.
    """

    def __init__(
        self, kafka: Stage, counting: Counting, flow: Flow, reader: Reader, workers: list[WorkerProcess]
    ) -> None:
        self.kafka = kafka
        self.workers = workers
        self._counting = counting
        self._flow = flow
        self._reader = reader

    @property
    def endings(self) -> list[Ending]:
        """How processes of workers ended, so far."""
        return [ending for worker in self.workers for ending in worker.endings]

    def wait_for_progress(self, offsets: int, within_s: float) -> None:
        """Until so many offsets more are committed in every partition; workers that end meanwhile are started again."""
        before = self.kafka.committed()

        def have_come() -> bool:
            self.start_missing()
            return all(
                self.kafka.committed().get(partition, 0) >= before.get(partition, 0) + offsets
                for partition in range(self.kafka.partitions)
            )

        try:
            until(
                have_come,
                f"{offsets} more offsets are committed in every partition",
                within_s,
            )
        except AssertionError:
            self._say_where_they_are()
            raise

    def settle(self, within_s: float) -> None:
        """Write no more, let the workers commit all there is, and stop them; what they leave behind is judged."""
        self._flow.stop()
        written = self.kafka.ends()
        deadline = time.monotonic() + within_s
        while self.kafka.committed() != written and time.monotonic() < deadline:
            self.start_missing()
            time.sleep(0.1)
        if self.kafka.committed() != written:
            self._say_where_they_are()
        until(self._no_jump_is_pending, "every jump of time is finished", END_TIMEOUT_S)
        for worker in self.workers:
            worker.thaw()
            worker.terminate()

    def _no_jump_is_pending(self) -> bool:
        """Offsets are behind a record from the first piece of its jump on."""
        self.start_missing()
        newest: dict[int | None, bytes] = {}
        for each in read_committed(self.kafka.kafka.bootstrap_servers, self.kafka.kafka.state_topic, READ_TIMEOUT_S):
            if each.key() == CHECKPOINT:
                newest[each.partition()] = each.value() or b""
        return all(json.loads(value)["jump"] is None for value in newest.values())

    def _say_where_they_are(self) -> None:
        for worker in self.workers:
            worker.say_where_it_is()

    def start_missing(self) -> None:
        """Start the workers that don't run."""
        for worker in self.workers:
            if not worker.running:
                worker.start()

    def verdict(self) -> Verdict:
        """Judge what was published of all that was written."""
        servers, kafka = self.kafka.kafka.bootstrap_servers, self.kafka.kafka
        self._wait_until_no_transaction_is_open()
        self._reader.wait_until_at(ends(servers, kafka.output_topic, "read_committed"), READ_TIMEOUT_S)
        records: dict[int, list[Message]] = {partition: [] for partition in range(self.kafka.partitions)}
        for record in read_committed(servers, kafka.input_topic, READ_TIMEOUT_S):
            records[record.partition() or 0].append(record)
        verdict = Verdict()
        seen = self._reader.seen
        expected = must_be_published(records, kafka.input_topic, self._counting.expect)
        judge_summaries(verdict, expected, (json.loads(each.value) for each in seen))
        letters = read_committed(servers, kafka.dead_letter_topic, READ_TIMEOUT_S)
        judge_letters(verdict, must_be_set_aside(records), map(letter_of, letters))
        judge_offsets(verdict, self.kafka.ends(), self.kafka.committed())
        self._judge_stability(verdict, seen)
        return verdict

    def _wait_until_no_transaction_is_open(self) -> None:
        servers, topic = self.kafka.kafka.bootstrap_servers, self.kafka.kafka.output_topic
        until(
            lambda: ends(servers, topic, "read_committed") == ends(servers, topic, "read_uncommitted"),
            "every transaction has ended",
            END_TIMEOUT_S,
        )

    def _judge_stability(self, verdict: Verdict, seen: list[Seen]) -> None:
        """What downstream saw must still be there."""
        kafka = self.kafka.kafka
        now = {
            (record.partition(), record.offset()): record.value()
            for record in read_committed(kafka.bootstrap_servers, kafka.output_topic, READ_TIMEOUT_S)
        }
        for each in seen:
            if now.pop((each.partition, each.offset), None) != each.value:
                verdict.note(
                    "unstable", f"output {each.partition} at {each.offset} was seen, and is not there any more"
                )
        for partition, offset in now:
            verdict.note("unstable", f"output {partition} at {offset} was not seen when it was passed")


@contextlib.contextmanager
def scene(
    bootstrap_servers: str,
    logs: Path,
    *,
    counting: str,
    seed: int,
    partitions: int,
    workers: Mapping[str, str],
    through: str | None = None,
    keep: bool = False,
) -> Iterator[Scene]:
    """Topics with events that keep coming, and workers that are yet to be started; none is left running at the end.

    Args:
        bootstrap_servers: for all but the workers.
        logs: a directory for the workers' logs.
        counting: a name of `COUNTINGS`.
        seed: of the events.
        partitions: of the input.
        workers: names, each with its `group.instance.id`; "" has none.
        through: the workers' bootstrap servers, where those are others.
        keep: leave the topics.
    """
    chosen = COUNTINGS[counting]
    with contextlib.ExitStack() as stack:
        kafka = Stage(bootstrap_servers, partitions, RULES, chosen.by_viewer)
        stack.callback(kafka.leave if keep else kafka.close)
        create_topic(bootstrap_servers, kafka.kafka.output_topic, partitions)
        overrides = [*kafka.flags()[1::2], *(f"{key}={value}" for key, value in _OVERRIDES.items())]
        overrides.append(f"kafka.bootstrap_servers={through or bootstrap_servers}")
        crew = [
            WorkerProcess(name, overrides + ([f"kafka.client.group.instance.id={instance}"] if instance else []), logs)
            for name, instance in workers.items()
        ]
        for worker in crew:
            stack.callback(worker.kill)
        reader = stack.enter_context(Reader(bootstrap_servers, kafka.kafka.output_topic, partitions))
        flow = stack.enter_context(Flow(bootstrap_servers, kafka.kafka.input_topic, EventSource(seed, partitions)))
        yield Scene(kafka, chosen, flow, reader, crew)
