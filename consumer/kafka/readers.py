"""Choose a reader, and put the worker's input together."""

import logging
import time
from functools import cache, partial

from confluent_kafka import Consumer

from consumer.kafka.brokers import BrokerWatch, ClientWatch
from consumer.kafka.clients import LastClientError, make_consumer
from consumer.kafka.column_reader import ColumnReader
from consumer.kafka.config import ClientConfig, live_config, member_config, uses_consumer_protocol
from consumer.kafka.deadline import Clock
from consumer.kafka.group_member import GroupMember
from consumer.kafka.group_view import WorkerGroup
from consumer.kafka.live_input import LiveInput, ReadingHandler
from consumer.kafka.message_reader import MessageReader
from consumer.kafka.owner_check import OwnerCheck
from consumer.kafka.protocols import AssignmentHandler
from consumer.kafka.reading import RecordReader
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import Settings

_log = logging.getLogger(__name__)


def make_reader(config: ClientConfig, watch: LastClientError) -> RecordReader:
    """A reader for a configuration from `live_config` or `restore_config`.

    Args:
        config: of its client.
        watch: is told of errors, and of statistics if it takes them.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
    """
    try:
        return ColumnReader(config, watch)
    except OSError as error:
        _warn(str(error))
        return MessageReader(partial(_make_consumer, config, watch))


def _make_consumer(config: ClientConfig, watch: LastClientError) -> Consumer:
    if not isinstance(watch, ClientWatch):
        return make_consumer(config, watch)
    watch.client_created()
    return make_consumer(config, watch, watch.record_statistics)


@cache
def _warn(reason: str) -> None:
    """Say once that reading is slow."""
    _log.warning(
        "records are read as Python objects, which takes about twice the CPU time: librdkafka's C functions cannot be "
        "had (%s)",
        reason,
    )


def live_input(
    settings: Settings, handler: AssignmentHandler, timeouts: Timeouts = TIMEOUTS, clock: Clock = time.monotonic
) -> LiveInput:
    """The worker's input of real clients.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
    """
    topic, servers = settings.kafka.input_topic, settings.kafka.bootstrap_servers
    brokers = BrokerWatch(servers, topic, clock)
    reader = make_reader(live_config(settings), brokers.reader)
    told = ReadingHandler(handler, reader, topic)
    try:
        member = GroupMember(member_config(settings), topic, told, brokers, timeouts, clock)
    except BaseException:
        reader.close()
        raise
    owner_check = None
    if not uses_consumer_protocol(settings.kafka):
        owner_check = OwnerCheck(WorkerGroup(settings, timeouts, clock), brokers.member, clock)
    return LiveInput(member, reader, brokers, topic, servers, owner_check)
