"""Records of a quiet partition that are deleted once they are counted, as retention does it."""

from functools import partial

from confluent_kafka import OFFSET_END

from tests.chaos.crew import Crew
from tests.chaos.deployment import Deployment
from tests.chaos.faults import Fault
from tests.chaos.judge import Stop
from tests.chaos.producer import PartitionEvents
from tests.chaos.resets import Resolver
from tests.chaos.stored import newest_journal, stored_state
from tests.chaos.transactions import write_transaction
from tests.chaos.waits import answer_of, until_kafka
from tests.support.topics import delete_records, read_committed

STEPS = 12
"""Of event time in a transaction: three seconds, so that buckets close."""


class RetentionLane:
    """Does the faults of retention on one partition, which nothing else writes to."""

    def __init__(self, deployment: Deployment, crew: Crew, resolver: Resolver, seed: int, partition: int) -> None:
        self._deployment = deployment
        self._crew = crew
        self._resolver = resolver
        self._partition = partition
        self._events = PartitionEvents(seed, partition)
        self._end_at_least = 0

    def do(self, fault: Fault) -> str:
        """Write transactions, delete all that was counted of them, and see that the partition continues behind it.

        Raises:
            AssertionError: it did not in time.
        """
        self._write(commit=True)
        self._write(commit=False)
        end = self._wait_until_counted()
        self._wait_until_none_is_needed(end)
        kinds = {
            "trim": lambda: self._delete(end),
            "trim stopped": lambda: self._delete_while_stopped(end, dirty=fault.dirty),
            "trim uncounted": self._delete_uncounted,
        }
        kinds[fault.kind]()
        self._write(commit=True)
        return f"all up to offset {end} is deleted, and all up to {self._wait_until_counted()} is counted"

    def _write(self, *, commit: bool) -> None:
        records = [record for _ in range(STEPS) for record in self._events.step()]
        kafka = self._deployment.kafka.kafka
        # A marker may be written after the brokers have answered.
        self._end_at_least = self._end() + len(records) + 1
        answer_of(lambda: write_transaction(kafka.bootstrap_servers, kafka.input_topic, records, commit=commit))

    def _wait_until_counted(self) -> int:
        """Until the group is where the partition ends: markers and aborted records are stepped over."""
        kafka, partition = self._deployment.kafka, self._partition
        until_kafka(
            lambda: self._end_at_least <= kafka.end_of(partition) == kafka.committed_so_far().get(partition),
            f"partition {partition} is counted up to its end",
        )
        return self._end()

    def _wait_until_none_is_needed(self, end: int) -> None:
        """Until a checkpoint is behind the records, a restore needs them: it would rightly stop the partition."""

        def is_none_needed() -> bool:
            journal = newest_journal(self._deployment, self._partition)
            return journal["next_offset"] >= end and not journal["records"]

        until_kafka(is_none_needed, f"a restore of partition {self._partition} needs no records before {end}")

    def _end(self) -> int:
        return max(self._end_at_least, answer_of(lambda: self._deployment.kafka.end_of(self._partition)))

    def _delete_while_stopped(self, end: int, *, dirty: bool) -> None:
        with self._crew.stopped(dirty=dirty):
            self._delete(end)

    def _delete_uncounted(self) -> None:
        """Nobody can tell that it was a marker and aborted records: the partition stops until somebody says so."""
        stop = Stop(self._partition, "nobody can tell whether there were records between them")
        with self._crew.stopped(dirty=False):
            since = self._crew.place()
            journal = answer_of(lambda: stored_state(self._deployment, self._partition)).journal
            assert not journal["records"], "the workers have left no checkpoint at the end"
            self._deployment.interventions.stops.append(stop)
            self._write(commit=False)
            self._delete(OFFSET_END)
        self._resolver.resolve(stop, since)

    def _delete(self, before: int) -> None:
        """Delete them; they are kept for the judge."""
        kafka = self._deployment.kafka.kafka
        for record in read_committed(kafka.bootstrap_servers, kafka.input_topic, only=self._partition):
            self._deployment.interventions.deleted[self._partition][record.offset() or 0] = record
        answer_of(partial(delete_records, kafka.bootstrap_servers, kafka.input_topic, self._partition, before))
