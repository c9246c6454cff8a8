"""Create the clients of the client library, with their logs, their last error, and error messages for people."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, libversion
from confluent_kafka.admin import AdminClient

from consumer.errors import UsageError, ViewerConsumerError
from consumer.kafka.config import ClientConfig

LOGGER = logging.getLogger("librdkafka")
"""Where librdkafka's own lines go, so that they come out like all others."""

DeliveryReport = Callable[[KafkaError | None, object], None]
"""Hears what became of a message; the error is None where it was written."""

Client = TypeVar("Client", Consumer, Producer, AdminClient)

ACCESS_DENIED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError._AUTHENTICATION,  # noqa: SLF001  # the library's own codes all start so
    }
)
"""Waiting doesn't help with these."""

TOO_OLD = frozenset({KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE})  # noqa: SLF001  # as above


def library_version() -> str:
    """Of librdkafka."""
    return str(libversion()[0])


class LastClientError:
    """What a client last said about its brokers: the reason behind a bare "timed out" or "transport failure"."""

    def __init__(self) -> None:
        self._said: KafkaError | None = None

    def hear(self, error: KafkaError) -> None:
        """Keep it; called by the client while it is polled, so it never raises."""
        # "All brokers are down" comes last and says nothing of why.
        if self._said is None or error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  # as above
            self._said = error

    def error(self) -> KafkaError | None:
        """The newest that gives a reason."""
        return self._said


def make_consumer(config: ClientConfig, last_words: LastClientError) -> Consumer:
    """A consumer; `last_words` hears of its broker errors.

    Raises:
        UsageError: librdkafka doesn't take the configuration; names the key.
    """
    return _made(Consumer, config, last_words.hear)


def make_producer(config: ClientConfig, last_words: LastClientError, on_delivery: DeliveryReport) -> Producer:
    """A producer; `on_delivery` hears of every message that failed.

    Raises:
        UsageError: as `make_consumer`.
    """
    return _made(Producer, {**config, "on_delivery": on_delivery}, last_words.hear)


def make_admin(config: ClientConfig, last_words: LastClientError) -> AdminClient:
    """An admin client.

    Raises:
        UsageError: as `make_consumer`.
    """
    return _made(AdminClient, config, last_words.hear)


def _made(
    kind: Callable[[dict[str, Any]], Client], config: Mapping[str, Any], error_cb: Callable[[KafkaError], None]
) -> Client:
    try:
        return kind({**config, "error_cb": error_cb, "logger": LOGGER})
    except KafkaException as error:
        raise UsageError(f"kafka.client: {kafka_error(error).str()}") from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"kafka.client: {error}") from None


def kafka_error(error: KafkaException) -> KafkaError:
    """The client library's error in its exception."""
    inner = error.args[0]
    return inner if isinstance(inner, KafkaError) else KafkaError(KafkaError._FAIL, str(inner))  # noqa: SLF001  # as above


def explain(doing: str, servers: str, error: KafkaError, said: KafkaError | None = None) -> ViewerConsumerError:
    """One line for people: what failed, where, why, and what to do about it.

    Args:
        doing: what was tried, as in "can't read the topics".
        servers: the addresses it was tried on.
        error: what came back.
        said: what the client said about its brokers meanwhile; if they were not reached, that is the reason.
    """
    reason, denied = error, [each for each in (error, said) if each is not None and each.code() in ACCESS_DENIED]
    if denied:
        advice = "check the user, its password and its permissions (kafka.client: security.protocol, sasl.*)"
        reason = denied[0]
    elif error.code() in TOO_OLD:
        advice = "Kafka 2.5 or newer is needed"
    else:
        advice = "check kafka.bootstrap_servers and kafka.client"
        reason = said or error
    return ViewerConsumerError(f"{doing} on {servers}: {' '.join(reason.str().split())}; {advice}")
