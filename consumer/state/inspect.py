"""Read the stored state while workers run: one partition at a time, each as one consistent cut."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from consumer.errors import UsageError, ViewerConsumerError
from consumer.kafka.admin.cluster import Cluster
from consumer.kafka.admin.state_reader import StateReader
from consumer.kafka.admin.topics import message_bytes_of
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import Settings
from consumer.state import checkpoint as checkpoints
from consumer.state.checkpoint import Checkpoint, Identity
from consumer.state.contents import Contents
from consumer.state.journal import StateError
from consumer.state.report import StoredPartition
from consumer.state.stored_windows import StoredStream, stored_stream
from consumer.windows.storage.batch import RowError


class View(NamedTuple):
    """The partitions a command reads, and a reader for them."""

    state: StateReader
    partitions: list[int]
    identity: Identity
    message_bytes: int
    """The largest batch of records that the state topic accepts."""


class FoundStream(NamedTuple):
    """A stream in a partition's checkpoint."""

    partition: int
    stream_id: str
    checkpoint: Checkpoint
    stream: StoredStream


@contextmanager
def opened(settings: Settings, partitions: Sequence[int], timeouts: Timeouts = TIMEOUTS) -> Iterator[View]:
    """Open the given partitions, or all of them.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`, or there is no such partition.
        ViewerConsumerError: the cluster doesn't answer in time, or a topic is missing.
    """
    kafka, cluster = settings.kafka, Cluster(settings.kafka, timeouts)
    there_are = _partitions(cluster, settings, "input", kafka.input_topic)
    _partitions(cluster, settings, "state", kafka.state_topic)
    wanted = _chosen(partitions, there_are)
    identity = cluster.identity(kafka.input_topic)
    message_bytes = message_bytes_of(kafka, [cluster.config(kafka.state_topic) or {}])
    state = StateReader(settings, timeouts)
    try:
        yield View(state, wanted, Identity(identity.cluster_id, identity.topic_id, kafka.group_id), message_bytes)
    finally:
        state.close()


def read_stored(state: StateReader, partitions: Sequence[int]) -> Iterator[StoredPartition]:
    """Read the partitions one by one.

    Raises:
        ViewerConsumerError: the cluster doesn't answer in time, or refuses.
    """
    for partition in partitions:
        before = state.committed(partition)
        contents = Contents()
        for records in state.records(partition):
            contents.add(records)
        # Queried last, so that the group's offset is not older than the state.
        bounds = state.bounds(partition)
        yield StoredPartition(partition, before, bounds.committed, bounds.begin, bounds.end, contents)


def find_stream(view: View, settings: Settings, stream_id: str) -> Iterator[FoundStream]:
    """Find a stream in every partition that holds it.

    Raises:
        ViewerConsumerError: what is stored cannot be read.
    """
    for stored in read_stored(view.state, view.partitions):
        contents = stored.contents
        if contents.checkpoint is None:
            continue
        try:
            checkpoint = checkpoints.decoded(contents.checkpoint)
            stream = stored_stream(contents, checkpoint, settings, stream_id.encode())
        except (StateError, RowError) as error:
            raise ViewerConsumerError(f"partition {stored.partition}: {error}") from None
        if stream is not None:
            yield FoundStream(stored.partition, stream_id, checkpoint, stream)


def _partitions(cluster: Cluster, settings: Settings, role: str, topic: str) -> int:
    found = cluster.partitions(topic)
    if found is None:
        raise ViewerConsumerError(f'{role} topic "{topic}" does not exist on {settings.kafka.bootstrap_servers}')
    return found


def _chosen(partitions: Sequence[int], there_are: int) -> list[int]:
    wrong = [number for number in partitions if number >= there_are]
    if wrong:
        raise UsageError(f"--partition: the input has partitions 0 to {there_are - 1}, not {wrong[0]}")
    return sorted(set(partitions)) or list(range(there_are))
