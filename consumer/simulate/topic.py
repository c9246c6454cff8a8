"""Simulated events into the input topic."""

from collections.abc import Sequence

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.input_topic import ensure_input_topic
from consumer.kafka.config import plain_producer_config
from consumer.kafka.embedded import EventProducer
from consumer.settings.model import KafkaSettings
from consumer.simulate.batch import EventBatch
from consumer.simulate.encode import EventEncoder


class TopicSink:
    """Records keyed by stream, under the time at which they arrive.

    That time, not the event's own, is what a collector of players' beacons would stamp: a viewer's clock that runs
    ahead is then ahead of its record, which is what the guard against future events looks at. It is simulated time
    too, so that a fast run over an hour of events looks to the worker like that hour.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
        ViewerConsumerError: Kafka can't be reached, or the topic is missing and not to be created.
    """

    def __init__(self, kafka: KafkaSettings, encoder: EventEncoder, stream_ids: Sequence[str]) -> None:
        ensure_input_topic(kafka)
        self._producer = EventProducer(plain_producer_config(kafka), kafka.input_topic)
        self._topic = kafka.input_topic
        self._encoder = encoder
        self._keys = [one.encode() for one in stream_ids]

    def write(self, events: EventBatch) -> None:
        """Hand these to the client; waits where its queue is full.

        Raises:
            ViewerConsumerError: no broker takes them.
        """
        keys = map(self._keys.__getitem__, events.stream.tolist())
        self._producer.produce(zip(keys, self._encoder.avro(events), events.arrival_ms.tolist(), strict=True))
        if self._producer.failed:
            self._producer.flush(0.0)  # says which and why

    def close(self) -> None:
        """Wait until the brokers have them all.

        Raises:
            ViewerConsumerError: they don't.
        """
        waiting = self._producer.flush()
        if waiting:
            raise ViewerConsumerError(
                f'{waiting} events could not be written to topic "{self._topic}" in time; is Kafka reachable?'
            )
