"""What faults happen to: topics, workers on them, events that keep coming, and a reader downstream."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from consumer.state.keys import CHECKPOINT
from tests.chaos.counting import COUNTINGS, RULES, Counting
from tests.chaos.judge import (
    Interventions,
    Published,
    Verdict,
    dead_letter_of,
    judge_dead_letters,
    judge_offsets,
    judge_stops,
    judge_summaries,
    must_be_published,
    must_be_set_aside,
)
from tests.chaos.producer import Flow
from tests.chaos.reader import Reader, Seen
from tests.chaos.waits import answer_of, until_kafka
from tests.chaos.workers import Ending, WorkerProcess
from tests.cli.command import Ran, run
from tests.end_to_end.stage import Stage
from tests.support.topics import create_topic, ends, read_committed

SESSION_S = 6.0
TRANSACTION_S = 5.2
"""As short as the worker's own checks allow; between the two lies a moment in which a zombie is only half dead."""

NEVER_MS = 2**39
"""The clock has no part in this: closing by it has tests of its own."""

READ_TIMEOUT_S = 300.0
JUMP_TIMEOUT_S = 120.0
"""For the pieces of a burst's jump, each with a checkpoint of its own."""
END_TIMEOUT_S = 30.0
"""Transactions of the dead: their timeout, and the brokers' interval for looking after it."""

GROUP_PROTOCOLS: Mapping[str, Mapping[str, object]] = {
    "classic": {"kafka.client.session.timeout.ms": int(SESSION_S * 1000)},
    # The session's time-out is the brokers': tests.support.cluster sets it.
    "consumer": {"kafka.client.group.protocol": "consumer"},
}
"""What members of either protocol are given."""

_OVERRIDES: Mapping[str, object] = {
    "kafka.client.transaction.timeout.ms": int(TRANSACTION_S * 1000),
    # New partitions are noticed soon.
    "kafka.client.topic.metadata.refresh.interval.ms": 2_000,
    "commit.interval_ms": 50,
    "commit.checkpoint_interval_ms": 1_000,
    "windows.partition_idle_ms": NEVER_MS,
}


class Deployment:
    """Topics, and workers on them that faults can be done to.

    Args:
        kafka: the topics, as seen past any proxy.
        counting: how the workers count.
        flow: writes events until the deployment settles.
        reader: of the output topic.
        workers: none runs yet.
        settings: of the workers, as `section.key=value`, but for those of one worker and of the proxy.
    """

    def __init__(
        self,
        kafka: Stage,
        counting: Counting,
        flow: Flow,
        reader: Reader,
        workers: list[WorkerProcess],
        settings: Sequence[str],
    ) -> None:
        self.kafka = kafka
        self.flow = flow
        self.workers = workers
        self.interventions = Interventions()
        self._counting = counting
        self._reader = reader
        self._settings = settings

    @property
    def endings(self) -> list[Ending]:
        """How processes of workers ended, so far."""
        return [ending for worker in self.workers for ending in worker.endings]

    def command(self, *arguments: str) -> Ran:
        """Run a command with the workers' settings, past any proxy."""
        flags = [part for setting in self._settings for part in ("--set", setting)]
        return run(*arguments, *flags)

    def wait_for_progress(self, offsets: int, within_s: float) -> None:
        """As `wait_for_commits` in all partitions with events; workers that end meanwhile are started again."""
        try:
            self.wait_for_commits(self.flow.partitions, offsets, within_s, start_missing=True)
        except AssertionError as error:
            self._say_where_they_are()
            for worker in self.workers:
                error.add_note(
                    f"{worker.name}, running: {worker.running}, at the end of its log:\n{worker.last_lines()}"
                )
            raise

    def wait_for_commits(
        self, partitions: Iterable[int], offsets: int, within_s: float, *, start_missing: bool = False
    ) -> None:
        """Until so many offsets more are committed in each of these.

        Raises:
            AssertionError: they were not in time.
        """
        goals: dict[int, int] = {}

        def are_there() -> bool:
            if start_missing:
                self.start_missing()
            committed = self.kafka.committed_so_far()
            for partition in partitions:
                goals.setdefault(partition, committed.get(partition, 0) + offsets)
            return all(committed.get(partition, 0) >= goal for partition, goal in goals.items())

        until_kafka(are_there, f"{offsets} more offsets are committed in partitions {list(partitions)}", within_s)

    def grow(self, replicas: Sequence[int]) -> int:
        """Add a partition with these replicas to the input, and write events to it; return its number."""
        number = self.kafka.partitions
        self.kafka.grow(number + 1, [replicas])
        self.flow.add(number)
        return number

    def follow_growth(self) -> None:
        """Read the output's new partitions too."""
        kafka = self.kafka.kafka
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 2})
        self._reader.grow(len(admin.list_topics(kafka.output_topic, 15).topics[kafka.output_topic].partitions))

    def settle(self, within_s: float, *, restart: bool = False) -> None:
        """Write no more, let the workers commit all there is, and stop them; what they leave behind is judged.

        Args:
            within_s: what is not committed by then will be found by the judge.
            restart: stop all workers first, so that every partition is restored once more.
        """
        self.flow.stop()
        written = answer_of(self.kafka.ends)
        for worker in self.workers if restart else ():
            worker.thaw()
            worker.terminate()
        self._let_commit(written, within_s)
        until_kafka(self._no_jump_is_pending, "every jump of time is finished", JUMP_TIMEOUT_S)
        for worker in self.workers:
            worker.thaw()
            worker.terminate()

    def _let_commit(self, written: Mapping[int, int], within_s: float) -> None:
        def all_is_committed() -> bool:
            self.start_missing()
            return self.kafka.committed_so_far() == written

        try:
            until_kafka(all_is_committed, "all is committed", within_s)
        except AssertionError:
            self._say_where_they_are()  # the judge finds what is not

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
        self.wait_until_no_transaction_is_open(kafka.output_topic)
        answer_of(self.follow_growth)
        output_ends = answer_of(lambda: ends(servers, kafka.output_topic, "read_committed"))
        self._reader.wait_until_at(output_ends, READ_TIMEOUT_S)
        records = self._records()
        verdict = Verdict()
        seen = self._reader.seen
        expected = must_be_published(records, kafka.input_topic, self._counting.expect, self.interventions)
        published = (Published(each.partition, json.loads(each.value)) for each in seen)
        judge_summaries(verdict, expected, published, self.interventions)
        dead_letters = self._read(kafka.dead_letter_topic)
        judge_dead_letters(verdict, must_be_set_aside(records), map(dead_letter_of, dead_letters))
        judge_offsets(verdict, answer_of(self.kafka.ends), answer_of(self.kafka.committed))
        judge_stops(verdict, (stop for worker in self.workers for stop in worker.stops()), self.interventions)
        self._judge_stability(verdict, seen)
        return verdict

    def _records(self) -> Mapping[int, list[Message]]:
        """All that was ever written, in the order of offsets."""
        records: dict[int, list[Message]] = {partition: [] for partition in range(self.kafka.partitions)}
        for record in self._read(self.kafka.kafka.input_topic):
            records[record.partition() or 0].append(record)
        return self.interventions.with_deleted(records)

    def _read(self, topic: str) -> list[Message]:
        servers = self.kafka.kafka.bootstrap_servers
        return answer_of(lambda: read_committed(servers, topic, READ_TIMEOUT_S))

    def wait_until_no_transaction_is_open(self, topic: str) -> None:
        """Until the brokers have ended those of workers that were killed.

        Raises:
            AssertionError: they did not in time.
        """
        servers = self.kafka.kafka.bootstrap_servers
        until_kafka(
            lambda: ends(servers, topic, "read_committed") == ends(servers, topic, "read_uncommitted"),
            "every transaction has ended",
            END_TIMEOUT_S,
        )

    def _judge_stability(self, verdict: Verdict, seen: list[Seen]) -> None:
        """What downstream saw must still be there."""
        output = self._read(self.kafka.kafka.output_topic)
        now = {(record.partition(), record.offset()): record.value() for record in output}
        for each in seen:
            if now.pop((each.partition, each.offset), None) != each.value:
                verdict.note(
                    "unstable", f"output {each.partition} at {each.offset} was seen, and is not there any more"
                )
        for partition, offset in now:
            verdict.note("unstable", f"output {partition} at {offset} was not seen when it was passed")


@contextlib.contextmanager
def deployment(
    bootstrap_servers: str,
    logs: Path,
    *,
    counting: str,
    seed: int,
    partitions: int,
    workers: Mapping[str, str],
    busy: Sequence[int] | None = None,
    replicas: Sequence[Sequence[int]] = (),
    through: str | None = None,
    keep: bool = False,
    group_protocol: str = "classic",
) -> Iterator[Deployment]:
    """Topics with events that keep coming, and workers that are yet to be started; none is left running at the end.

    Args:
        bootstrap_servers: for all but the workers.
        logs: a directory for the workers' logs.
        counting: a name of `COUNTINGS`.
        seed: of the events.
        partitions: of the input.
        workers: names, each with its `group.instance.id`; "" has none.
        busy: the partitions with events; else all.
        replicas: of each partition of the input; else as many as the brokers give by default.
        through: the workers' bootstrap servers, where those are others.
        keep: leave the topics.
        group_protocol: a name of `GROUP_PROTOCOLS`.
    """
    chosen = COUNTINGS[counting]
    with contextlib.ExitStack() as stack:
        kafka = Stage(bootstrap_servers, partitions, RULES, chosen.by_viewer, replicas)
        stack.callback(kafka.leave if keep else kafka.close)
        create_topic(bootstrap_servers, kafka.kafka.output_topic, partitions)
        overrides = {**GROUP_PROTOCOLS[group_protocol], **_OVERRIDES}
        settings = [*kafka.flags()[1::2], *(f"{key}={value}" for key, value in overrides.items())]
        by_proxy = [*settings, f"kafka.bootstrap_servers={through or bootstrap_servers}"]
        processes = [
            WorkerProcess(name, by_proxy + ([f"kafka.client.group.instance.id={instance}"] if instance else []), logs)
            for name, instance in workers.items()
        ]
        for worker in processes:
            stack.callback(worker.kill)
        reader = stack.enter_context(Reader(bootstrap_servers, kafka.kafka.output_topic, partitions))
        written_to = range(partitions) if busy is None else busy
        flow = stack.enter_context(Flow(bootstrap_servers, kafka.kafka.input_topic, seed, written_to))
        yield Deployment(kafka, chosen, flow, reader, processes, settings)
