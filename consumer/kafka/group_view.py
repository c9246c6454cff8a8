"""Ask who owns which partition of the input, and make the group rebalance."""

import threading
import time

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin._group import ConsumerGroupDescription

from consumer.kafka.clients import LastClientError, answer_of, make_admin
from consumer.kafka.config import admin_config
from consumer.kafka.deadline import Clock, Deadline
from consumer.kafka.owner_check import GroupView
from consumer.kafka.temporary_member import temporary_member
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import Settings

_POLL_S = 0.1


class WorkerGroup:
    """Implements `Group`, with clients that last for one call.

    Args:
        settings: of the worker.
        timeouts: how long to wait.
        clock: monotonic seconds.
    """

    def __init__(self, settings: Settings, timeouts: Timeouts = TIMEOUTS, clock: Clock = time.monotonic) -> None:
        self._settings = settings
        self._timeouts = timeouts
        self._clock = clock

    def view(self) -> GroupView:
        """The group now.

        Raises:
            KafkaException: no answer in time, or the brokers refuse.
            TimeoutError: no answer in time.
            ViewerConsumerError: no client can be made now, for want of a token.
        """
        kafka, call_s = self._settings.kafka, self._timeouts.call_s
        admin = make_admin(admin_config(kafka), LastClientError())
        topic = admin.list_topics(kafka.input_topic, timeout=call_s).topics[kafka.input_topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        asked = admin.describe_consumer_groups([kafka.group_id], request_timeout=call_s)[kafka.group_id]
        return _view_of(answer_of(asked, call_s), kafka.input_topic, frozenset(topic.partitions))

    def make_rebalance(self, closed: threading.Event) -> None:
        """Join beside the workers and leave again.

        It subscribes to the state topic, which no worker subscribes to: so no partition of the input moves to it and
        back.

        Raises:
            ViewerConsumerError: the brokers refuse.
        """
        deadline = Deadline.after(self._timeouts.join_s, self._clock)
        member = temporary_member(self._settings, self._settings.kafka.state_topic, self._timeouts, self._clock)
        try:
            member.subscribe()
            while not (member.assignment or deadline.passed or closed.is_set()):
                member.poll(_POLL_S)
        finally:
            member.close()


def _view_of(group: ConsumerGroupDescription, topic: str, partitions: frozenset[int]) -> GroupView:
    owned = {
        place.partition
        for member in group.members
        for place in member.assignment.topic_partitions
        if place.topic == topic
    }
    members = sorted(member.member_id for member in group.members)
    return GroupView(group.state == ConsumerGroupState.STABLE, members, partitions - owned)
