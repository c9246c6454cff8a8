"""Translate settings into the configuration of each librdkafka client, and fix what exactly-once needs.

`kafka.client` is passed to librdkafka unchanged, each key only to the clients that know it. Keys that would break
exactly-once are refused before anything starts. This module does not load the client library.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from consumer.errors import UsageError
from consumer.kafka.log_in import log_in_keys
from consumer.runtime.secret import HIDDEN, is_secret
from consumer.settings.errors import Conflict
from consumer.settings.model import KafkaSettings, Settings

Value: TypeAlias = str | int | float | bool
ClientConfig: TypeAlias = dict[str, Value]


TRANSACTION_TIMEOUT_MS = 20_000
"""Default of transaction.timeout.ms: how long a dead worker can block read_committed consumers."""

SESSION_TIMEOUT_MS = 45_000
"""Default of session.timeout.ms, and of the brokers' group.consumer.session.timeout.ms."""

MESSAGE_BYTES = 1_000_000
"""Default of message.max.bytes, in librdkafka too."""

LEAST_MESSAGE_BYTES = 131_072
"""The least accepted limit of a record: rows and dead letters are cut below the limit, but a journal is not."""

FETCH_BYTES = 2_000_000
"""Of an answer to a fetch, compressed. With the library's 32 MB and many partitions the queue takes hundreds of MiB."""

STATISTICS_MS = 2_000
"""How often the client library says how its brokers are; readiness and lag are as old as that."""

COMMIT_MARGIN_MS = 5_000
"""Time for a commit, added to the commit interval."""

_FIXED: Mapping[str, tuple[frozenset[str], str]] = {
    key: (frozenset(allowed), why)
    for keys, allowed, why in (
        (("isolation.level",), ("read_committed",), "records of aborted transactions must not be counted"),
        (
            ("enable.auto.commit", "auto.commit.enable", "enable.auto.offset.store"),
            ("false",),
            "offsets are committed in the transaction of their results",
        ),
        (
            ("auto.offset.reset",),
            ("error",),
            "a lost offset must stop the worker; input.start says where a new one starts",
        ),
        (("enable.idempotence",), ("true",), "transactions need it"),
        (("acks", "request.required.acks"), ("all", "-1"), "a summary is published once all replicas have it"),
        (
            ("partition.assignment.strategy",),
            ("cooperative-sticky",),
            "partitions that stay are not interrupted when others move",
        ),
        (("group.protocol",), ("classic", "consumer"), "these are the protocols of consumer groups"),
        (("allow.auto.create.topics",), ("false",), "a misspelt topic would come into being"),
        (
            ("enable.partition.eof",),
            ("true",),
            "without it a quiet partition cannot be distinguished from one that is behind",
        ),
    )
    for key in keys
}
"""Keys of which only some values are allowed, and the reason."""

_CLASSIC_ONLY: Mapping[str, str] = {
    "session.timeout.ms": "the brokers' group.consumer.session.timeout.ms applies",
    "heartbeat.interval.ms": "the brokers' group.consumer.heartbeat.interval.ms applies",
    "partition.assignment.strategy": "the brokers assign, by group.remote.assignor if it is set",
    "group.protocol.type": "it has none",
}
"""Keys that `group.protocol=consumer` (KIP-848) does not have, and what takes their place."""

_ELSEWHERE: Mapping[str, str] = {
    "bootstrap.servers": "set kafka.bootstrap_servers instead",
    "metadata.broker.list": "set kafka.bootstrap_servers instead",
    "group.id": "set kafka.group_id instead",
    "statistics.interval.ms": f"readiness and lag need the statistics every {STATISTICS_MS} ms; leave it out",
    "transactional.id": "it follows from kafka.group_id and group.instance.id, so that two workers never share one",
}

_EXACTLY_ONCE: Mapping[str, Value] = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    # EOF events report the position behind trailing transaction markers.
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
}

_MEMBER_ONLY = frozenset(
    """
    group.instance.id group.protocol group.protocol.type group.remote.assignor heartbeat.interval.ms
    max.poll.interval.ms partition.assignment.strategy session.timeout.ms
    """.split()  # noqa: SIM905  # a table to read
)
"""Keys that only concern membership of a group."""

_CONSUMER_ONLY = frozenset(
    """
    auto.commit.enable auto.commit.interval.ms auto.offset.reset check.crcs consume.callback.max.messages
    coordinator.query.interval.ms enable.auto.commit enable.auto.offset.store enable.partition.eof
    fetch.error.backoff.ms fetch.max.bytes fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms
    fetch.wait.max.ms group.instance.id group.protocol group.protocol.type group.remote.assignor heartbeat.interval.ms
    isolation.level max.partition.fetch.bytes max.poll.interval.ms max.poll.records offset.store.method
    offset.store.path offset.store.sync.interval.ms partition.assignment.strategy queued.max.messages.kbytes
    queued.min.messages session.timeout.ms
    """.split()  # noqa: SIM905  # a table to read, not a column of fifty lines
)
_PRODUCER_ONLY = frozenset(
    """
    acks batch.num.messages batch.size compression.codec compression.level compression.type
    delivery.report.only.error delivery.timeout.ms enable.gapless.guarantee enable.idempotence linger.ms
    message.send.max.retries message.timeout.ms msg_order_cmp partitioner produce.offset.report
    queue.buffering.backpressure.threshold queue.buffering.max.kbytes queue.buffering.max.messages
    queue.buffering.max.ms queuing.strategy request.required.acks request.timeout.ms retries
    sticky.partitioning.linger.ms transaction.timeout.ms
    """.split()  # noqa: SIM905  # a table to read, not a column of fifty lines
)
"""From librdkafka's table of properties; each key goes only to the clients it applies to, else they log warnings."""


def member_config(settings: Settings) -> ClientConfig:
    """Configuration of the worker's member of the group, which fetches nothing.

    Raises:
        UsageError: a key of `kafka.client` would break exactly-once, or timeouts don't fit together.
    """
    check_client(settings)
    usual: ClientConfig = {}
    fixed: ClientConfig = {"group.protocol": "consumer"}
    if not uses_consumer_protocol(settings.kafka):
        # Heartbeats announce rebalances, and moving a partition takes two rounds.
        usual = {"session.timeout.ms": SESSION_TIMEOUT_MS, "heartbeat.interval.ms": 500}
        fixed = {"group.protocol": "classic", "partition.assignment.strategy": "cooperative-sticky"}
    return {
        **usual,
        # They say which brokers answer, and how the group is.
        "statistics.interval.ms": STATISTICS_MS,
        **_common(settings.kafka, without=_PRODUCER_ONLY),
        **fixed,
        **_EXACTLY_ONCE,
        "group.id": settings.kafka.group_id,
    }


def live_config(settings: Settings) -> ClientConfig:
    """Configuration of the reader of owned partitions, which never joins the group.

    Raises:
        UsageError: as `member_config`.
    """
    config = _reading(settings)
    return {
        # They say which leaders answer, and what is held back.
        "statistics.interval.ms": STATISTICS_MS,
        # A partition that begins waits for the fetch under way at its broker.
        "fetch.wait.max.ms": 100,
        **config,
        "client.id": f"{config['client.id']}-reader",
    }


def restore_config(settings: Settings) -> ClientConfig:
    """Configuration of the reader for restores, which never joins the group.

    Raises:
        UsageError: as `member_config`.
    """
    config = _reading(settings)
    # A fetch that waits at the end of one partition delays the broker's other partitions.
    return {**config, "client.id": f"{config['client.id']}-restore", "fetch.wait.max.ms": 10}


def _reading(settings: Settings) -> ClientConfig:
    check_client(settings)
    return {
        # The default of one second limits a consumer to a third of its rate.
        "fetch.queue.backoff.ms": 10,
        # Limits of fetched data in memory: messages per partition, bytes in all.
        "queued.min.messages": 50_000,
        "queued.max.messages.kbytes": 32_768,
        # An answer is queued whole, past those limits. The library refuses less than the largest message.
        "fetch.max.bytes": max(FETCH_BYTES, message_max_bytes(settings.kafka)),
        **_common(settings.kafka, without=_PRODUCER_ONLY | _MEMBER_ONLY),
        **_EXACTLY_ONCE,
        # A client without a group cannot be assigned partitions.
        "group.id": settings.kafka.group_id,
    }


def producer_config(settings: Settings, process_id: str, message_bytes: int | None = None) -> ClientConfig:
    """Configuration of the worker's transactional producer.

    Args:
        settings: those in force.
        process_id: unique name of this process, used if there is no group.instance.id.
        message_bytes: what all topics accept, from `message_bytes_of`; None takes the setting.

    Raises:
        UsageError: as `consumer_config`.
    """
    check_client(settings)
    return {
        # Partitioned as by Java producers, so that topics can be joined.
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        # Commits flush at once; this is for records produced long before a commit.
        "linger.ms": 5,
        # The coordinator is asked again soon while it still ends the transaction before; errors back off from here on.
        "retry.backoff.ms": 10,
        "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        "queue.buffering.max.messages": 500_000,
        "queue.buffering.max.kbytes": 262_144,
        # A transaction is all or nothing, so only failures need a Python callback.
        "delivery.report.only.error": True,
        **_common(settings.kafka, without=_CONSUMER_ONLY),
        "message.max.bytes": message_bytes or message_max_bytes(settings.kafka),
        "transactional.id": transactional_id(settings.kafka, process_id),
        "enable.idempotence": True,
        "acks": "all",
    }


def plain_producer_config(kafka: KafkaSettings) -> ClientConfig:
    """Configuration of the simulator's producer, without transactions.

    Raises:
        UsageError: a key of `kafka.client` is not to be set there.
    """
    _refuse(_key_conflicts(kafka))
    return {
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 20,
        "queue.buffering.max.messages": 500_000,
        "delivery.report.only.error": True,
        **_common(kafka, without=_CONSUMER_ONLY | {"transaction.timeout.ms"}),
        "enable.idempotence": True,
    }


def admin_config(kafka: KafkaSettings) -> ClientConfig:
    """Configuration of the admin client.

    Raises:
        UsageError: a key of `kafka.client` is not to be set there.
    """
    _refuse(_key_conflicts(kafka))
    return {
        # No log line per attempt: the raised error contains the reason once.
        "log_level": 2,
        **_common(kafka, without=_CONSUMER_ONLY | _PRODUCER_ONLY),
        "allow.auto.create.topics": False,
    }


def reader_config(kafka: KafkaSettings) -> ClientConfig:
    """Configuration of a consumer with manual assignment, without a group.

    Raises:
        UsageError: a key of `kafka.client` is not to be set there.
    """
    _refuse(_key_conflicts(kafka))
    return {
        "fetch.queue.backoff.ms": 10,
        **_common(kafka, without=_PRODUCER_ONLY | _MEMBER_ONLY),
        "group.id": kafka.group_id,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "allow.auto.create.topics": False,
    }


def transactional_id(kafka: KafkaSettings, process_id: str) -> str:
    """Stable over restarts if there is a group.instance.id, so that a transaction left open is aborted at once.

    The length at its end says where the group ends: two groups never share one, whatever hyphens their names have. It
    begins with the group and a hyphen, for which operators grant rights.
    """
    worker = str(kafka.client.get("group.instance.id") or process_id)
    return f"{kafka.group_id}-{worker}-{len(worker)}"


def transaction_timeout_ms(kafka: KafkaSettings) -> int:
    """The producer's transaction.timeout.ms.

    Raises:
        ValueError: the setting is not a number; the client library reports that.
    """
    return int(kafka.client.get("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS))


def uses_consumer_protocol(kafka: KafkaSettings) -> bool:
    """Whether the worker is a member by `group.protocol=consumer` (KIP-848), not by the classic protocol."""
    return is_consumer_protocol(kafka.client)


def is_consumer_protocol(config: Mapping[str, Value]) -> bool:
    """As `uses_consumer_protocol`, for the configuration of a client."""
    return str(config.get("group.protocol", "")).strip().lower() == "consumer"


def message_max_bytes(kafka: KafkaSettings) -> int:
    """The producer's message.max.bytes, which limits a batch of records too.

    Raises:
        ValueError: the setting is not a number; the client library reports that.
    """
    return int(kafka.client.get("message.max.bytes", MESSAGE_BYTES))


def redact(config: Mapping[str, Value]) -> ClientConfig:
    """The configuration with the values of secret keys hidden, for display."""
    return {key: HIDDEN if is_secret(key) else value for key, value in config.items()}


def check_client(settings: Settings) -> None:
    """Refuse keys that would break exactly-once.

    Raises:
        UsageError: one line for every key at fault, saying why.
    """
    _refuse(client_conflicts(settings))


def client_conflicts(settings: Settings) -> Iterator[Conflict]:
    """Keys that would break exactly-once or the rules of the time-outs, and keys that contradict each other."""
    yield from _key_conflicts(settings.kafka)
    yield from _timeout_conflicts(settings)
    yield from _size_conflicts(settings.kafka)


def is_refused(key: str) -> bool:
    """Whether this key of `kafka.client` is refused whatever its value."""
    return key in _ELSEWHERE or key.startswith("test.")


def _refuse(conflicts: Iterable[Conflict]) -> None:
    errors = [f"{conflict.keys[0]}: {conflict.message}" for conflict in conflicts]
    if errors:
        raise UsageError("\n".join(errors))


def _conflict(key: str, message: str, *others: str) -> Conflict:
    return Conflict((f"kafka.client.{key}", *others), message)


def _key_conflicts(kafka: KafkaSettings) -> Iterator[Conflict]:
    for key, value in kafka.client.items():
        if is_refused(key):
            yield _conflict(key, _ELSEWHERE.get(key, "is for tests of the client library, which lose data"))
        elif key in _FIXED and str(value).strip().lower() not in _FIXED[key][0]:
            allowed, why = _FIXED[key]
            yield _conflict(key, f"must be {' or '.join(sorted(allowed))}, or left out: {why}")
    if uses_consumer_protocol(kafka):
        for key in kafka.client.keys() & _CLASSIC_ONLY.keys():
            yield _conflict(key, f"must be left out with group.protocol=consumer: {_CLASSIC_ONLY[key]}")


def _size_conflicts(kafka: KafkaSettings) -> Iterator[Conflict]:
    try:
        given = message_max_bytes(kafka)
    except ValueError:
        yield _conflict("message.max.bytes", "must be a whole number")
        return
    if given < LEAST_MESSAGE_BYTES:
        yield _conflict(
            "message.max.bytes",
            f"must be at least {LEAST_MESSAGE_BYTES}, not {given}: a larger record would abort its transaction for "
            "ever",
        )


def _timeout_conflicts(settings: Settings) -> Iterator[Conflict]:
    try:
        transaction_ms = transaction_timeout_ms(settings.kafka)
        session_ms = int(settings.kafka.client.get("session.timeout.ms", SESSION_TIMEOUT_MS))
    except ValueError:
        return  # librdkafka reports it
    least = settings.commit.interval_ms + COMMIT_MARGIN_MS
    if transaction_ms < least:
        yield _conflict(
            "transaction.timeout.ms",
            f"must be at least {least} (commit.interval_ms + {COMMIT_MARGIN_MS}), not {transaction_ms}",
            "commit.interval_ms",
        )
    if not uses_consumer_protocol(settings.kafka):  # else the start compares with what the brokers say
        for message in _session_faults(settings.kafka, "session.timeout.ms", session_ms):
            yield _conflict("transaction.timeout.ms", message, "kafka.client.session.timeout.ms")


def session_errors(kafka: KafkaSettings, key: str, session_ms: int) -> Iterator[str]:
    """What is wrong with transaction.timeout.ms, given the time-out of a member's session.

    Args:
        kafka: the settings.
        key: which sets the session's time-out.
        session_ms: its value.
    """
    for message in _session_faults(kafka, key, session_ms):
        yield f"kafka.client.transaction.timeout.ms: {message}"


def _session_faults(kafka: KafkaSettings, key: str, session_ms: int) -> Iterator[str]:
    transaction_ms = transaction_timeout_ms(kafka)
    if transaction_ms >= session_ms:
        yield (
            f"must be below {key} ({session_ms}), not {transaction_ms}, so that a dead worker's transaction has ended "
            "when another takes over"
        )


def _common(kafka: KafkaSettings, without: frozenset[str]) -> ClientConfig:
    given = {key: value for key, value in kafka.client.items() if key not in without}
    # The client library's default is ten seconds, and so long a broker that is back may be left alone.
    usual: ClientConfig = {
        "client.id": "viewer-consumer",
        "reconnect.backoff.max.ms": 1_000,
        # A connection that is begun while a broker hangs is not taken up for many seconds after it is back.
        "socket.connection.setup.timeout.ms": 6_000,
    }
    return {**usual, **given, **log_in_keys(kafka), "bootstrap.servers": kafka.bootstrap_servers}
