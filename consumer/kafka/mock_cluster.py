"""librdkafka's mock cluster through its C functions, which the Python binding does not offer.

They allow topics with any number of partitions, and groups that do not wait three seconds for more members.
"""

import ctypes
from pathlib import Path

import confluent_kafka

_PRODUCER = 0  # RD_KAFKA_PRODUCER
_REASON_BYTES = 512


def find_library() -> Path | None:
    """The librdkafka bundled with the binding; None if it was built against the system's."""
    package = Path(confluent_kafka.__file__).parent
    for directory in (package.parent / "confluent_kafka.libs", package / ".dylibs"):
        for library in sorted(directory.glob("librdkafka*")):
            return library
    return None


class MockCluster:
    """A cluster in this process, until it is closed.

    Args:
        library: from `find_library`.
        brokers: how many.

    Raises:
        OSError: not a library, or one without a mock cluster.
    """

    def __init__(self, library: Path, brokers: int = 1) -> None:
        self.functions = _declared(ctypes.CDLL(str(library)))
        reason = ctypes.create_string_buffer(_REASON_BYTES)
        config = self.functions.rd_kafka_conf_new()
        # The owning client needs no broker, but would log a warning without an address.
        self.functions.rd_kafka_conf_set(config, b"log_level", b"2", reason, _REASON_BYTES)
        self._client = self.functions.rd_kafka_new(_PRODUCER, config, reason, _REASON_BYTES)
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


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Declare the functions' types; without them pointers would be cut to 32 bits."""
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    signatures = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (ctypes.c_int, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [ctypes.c_int, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, ctypes.c_int]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (ctypes.c_int, [pointer, text, ctypes.c_int, ctypes.c_int]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
    }
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise OSError(f"this librdkafka has no {name}") from None
        function.restype, function.argtypes = result, arguments
    return library
