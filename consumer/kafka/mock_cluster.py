"""librdkafka's mock cluster through its C functions, which the Python binding does not offer.

They allow topics with any number of partitions, and groups that do not wait three seconds for more members.
"""

import ctypes

from consumer.kafka.c_functions import PRODUCER, REASON_BYTES, mock_functions


class MockCluster:
    """A cluster in this process, until it is closed.

    Args:
        brokers: how many.

    Raises:
        OSError: the library's C functions cannot be had, or it has no mock cluster.
    """

    def __init__(self, brokers: int = 1) -> None:
        self.functions = mock_functions()
        reason = ctypes.create_string_buffer(REASON_BYTES)
        config = self.functions.rd_kafka_conf_new()
        # The owning client needs no broker, but would log a warning without an address.
        self.functions.rd_kafka_conf_set(config, b"log_level", b"2", reason, REASON_BYTES)
        self._client = self.functions.rd_kafka_new(PRODUCER, config, reason, REASON_BYTES)
        self.handle = self.functions.rd_kafka_mock_cluster_new(self._client, brokers) if self._client else None
        if not self.handle:
            raise OSError(reason.value.decode() or "librdkafka made no mock cluster")
        self.functions.rd_kafka_mock_group_initial_rebalance_delay_ms(self.handle, 0)

    @property
    def bootstrap_servers(self) -> str:
        """The bootstrap address."""
        return str(self.functions.rd_kafka_mock_cluster_bootstraps(self.handle).decode())

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic.

        Raises:
            OSError: librdkafka's number of the error.
        """
        if error := self.functions.rd_kafka_mock_topic_create(self.handle, name.encode(), partitions, 1):
            raise OSError(f"librdkafka made no topic {name}: error {error}")

    def close(self) -> None:
        """Stop the cluster; its data is gone."""
        if self.handle:
            self.functions.rd_kafka_mock_cluster_destroy(self.handle)
            self.functions.rd_kafka_destroy(self._client)
            self.handle = None
