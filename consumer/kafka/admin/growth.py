"""Grow the worker's topics with the input, while the worker runs."""

import logging
import threading
import time

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.topics import grow_topics
from consumer.kafka.deadline import Clock
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import KafkaSettings

ASK_EVERY_S = 30.0
"""Brokers that refuse to add partitions are not asked more often."""

_log = logging.getLogger(__name__)


class TopicGrowth:
    """Gives output, dead-letter and state topic the partitions they lack, where `kafka.create_topics` is set."""

    def __init__(self, kafka: KafkaSettings, clock: Clock = time.monotonic, timeouts: Timeouts = TIMEOUTS) -> None:
        self._kafka = kafka
        self._timeouts = timeouts
        self._clock = clock
        self._lock = threading.Lock()
        self._next_s = clock()
        self._told = ""

    def grow(self) -> None:
        """Called from threads of look-ups when the state topic lacks a partition; asks the brokers now and then."""
        if not self._kafka.create_topics:
            return
        with self._lock:  # two look-ups may find the same partition missing
            if self._clock() < self._next_s:
                return
            try:
                grow_topics(self._kafka, self._timeouts)
            except ViewerConsumerError as error:
                self._tell(str(error))
            self._next_s = self._clock() + ASK_EVERY_S

    def _tell(self, reason: str) -> None:
        if reason != self._told:
            _log.warning("topics not grown: %s", reason)
        self._told = reason
