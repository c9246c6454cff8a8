"""Write simulated events to the input topic."""

from collections.abc import Sequence

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.input_topic import ensure_input_topic
from consumer.kafka.config import plain_producer_config
from consumer.kafka.embedded import EventProducer
from consumer.settings.model import KafkaSettings
from consumer.simulate.batch import EventBatch
from consumer.simulate.encode import EventEncoder


class TopicSink:
    """Writes records keyed by stream, with their arrival time as timestamp.

    A collector of players' beacons would also set the arrival time: so an event of a clock that runs ahead is ahead of
    its record, which the check for future events sees. Arrival times are simulated too, so that an hour of events that
    is sent fast looks to the worker like an hour.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
        ViewerConsumerError: Kafka can't be reached, or the topic is missing and must not be created.
    """

    def __init__(self, kafka: KafkaSettings, encoder: EventEncoder, stream_ids: Sequence[str]) -> None:
        ensure_input_topic(kafka)
        self._producer = EventProducer(plain_producer_config(kafka), kafka.input_topic)
        self._topic = kafka.input_topic
        self._encoder = encoder
        self._keys = [one.encode() for one in stream_ids]

    def write(self, events: EventBatch) -> None:
        """Pass these events to the client; wait while its queue is full.

        Raises:
            ViewerConsumerError: no broker accepts them.
        """
        keys = map(self._keys.__getitem__, events.stream.tolist())
        self._producer.produce(zip(keys, self._encoder.avro(events), events.arrival_ms.tolist(), strict=True))
        if self._producer.failed:
            self._producer.flush(0.0)  # raises the error with its reason

    def close(self) -> None:
        """Wait until the brokers have acknowledged all events.

        Raises:
            ViewerConsumerError: they do not acknowledge them in time.
        """
        waiting = self._producer.flush()
        if waiting:
            raise ViewerConsumerError(
                f'{waiting} events could not be written to topic "{self._topic}" in time; is Kafka reachable?'
            )
