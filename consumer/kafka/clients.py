"""Create the clients of the client library, with their logs, their last error, and error messages for people."""

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, libversion
from confluent_kafka.admin import AdminClient

from consumer.errors import UsageError, ViewerConsumerError
from consumer.kafka.config import ClientConfig
from consumer.kafka.log_in import MSK_IAM_REGION, token_endpoint
from consumer.kafka.msk_iam import tokens_of

LOGGER = logging.getLogger("librdkafka")
"""Receives librdkafka's log lines, and lines of the same form for connections that are there."""

DeliveryReport = Callable[[KafkaError | None, object], None]
"""Called with the outcome of a message; the error is None if it was written."""

Answer = TypeVar("Answer")
Client = TypeVar("Client", Consumer, Producer, AdminClient)

FORBIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
    }
)
"""Errors that retrying does not resolve."""

NOT_LOGGED_IN = frozenset(
    {KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION}  # noqa: SLF001  # the library's own codes all start so
)
"""Log-ins that failed: one that worked before works again once its token can be renewed. The start tells wrong ones."""

ACCESS_DENIED = FORBIDDEN | NOT_LOGGED_IN
"""Both."""

TOO_OLD = frozenset({KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE})  # noqa: SLF001  # as above


def library_version() -> str:
    """Of librdkafka."""
    return str(libversion()[0])


_NO_TOKEN = "Failed to acquire SASL OAUTHBEARER token: "  # noqa: S105  # how the client library begins such an error


class LastClientError:
    """The last error a client reported: the reason behind a bare "timed out" or "transport failure"."""

    def __init__(self) -> None:
        self._said: KafkaError | None = None
        self._endpoint = ""
        self._no_token = ""
        self._why_no_token: Callable[[], str] = lambda: self._no_token

    def logs_in_with(self, config: ClientConfig) -> None:
        """Called when its client is made: its errors then say where tokens come from, and why there is none.

        Raises:
            UsageError: the package that signs tokens is not installed.
        """
        self._endpoint = token_endpoint(config)
        if tokens := tokens_of(config):
            self._why_no_token = tokens.failure

    def record_error(self, error: KafkaError) -> None:
        """Store an error; called by the client library inside poll, so it never raises."""
        if self._endpoint and error.str().startswith(_NO_TOKEN):
            self._no_token = f"no token from {self._endpoint}: {error.str().removeprefix(_NO_TOKEN)}"
            error = KafkaError(error.code(), self._no_token)
        # "All brokers are down" comes last and gives no reason.
        if self._said is None or error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001  # as above
            self._said = error

    def error(self) -> KafkaError | None:
        """The newest error that gives a reason."""
        why = self._why_no_token()
        if self._said is None or self._said.code() not in NOT_LOGGED_IN or not why or why in self._said.str():
            return self._said
        return KafkaError(self._said.code(), f"{self._said.str()} (before: {why})")

    def reason_of_silence(self) -> KafkaError | None:
        """As `error`; where there is none, what a client may wait for that has never been answered."""
        if self._said is not None or not self._endpoint:
            return self.error()
        # It connects only once it has a token, and says nothing while it waits for one.
        text = f"no answer, maybe for want of a token: see whether {self._endpoint} answers"
        return KafkaError(KafkaError._TIMED_OUT, text)  # noqa: SLF001  # as above


def make_consumer(
    config: ClientConfig, last_error: LastClientError, on_statistics: Callable[[str], None] | None = None
) -> Consumer:
    """Create a consumer; its broker errors go to `last_error`, and its statistics to `on_statistics`, inside polls.

    Statistics wait in memory for the next poll, so only a consumer that is polled all the time may have them.

    Raises:
        UsageError: librdkafka doesn't take the configuration; names the key.
    """
    callbacks = {} if on_statistics is None else {"stats_cb": on_statistics}
    return _made(Consumer, config, last_error, callbacks)


def log_connections(found: Mapping[str, Any]) -> None:
    """Log each broker that a client is connected to, by its newest statistics; called inside poll."""
    if not LOGGER.isEnabledFor(logging.INFO):
        return
    for broker in found["brokers"].values():
        if broker["state"] == "UP":
            LOGGER.info("%s [%s] %s", "CONNECTED", found["name"], f"{broker['nodename']}/{broker['nodeid']}")


def make_producer(config: ClientConfig, last_error: LastClientError, on_delivery: DeliveryReport) -> Producer:
    """Create a producer; `on_delivery` is called for every failed message.

    Raises:
        UsageError: as `make_consumer`.
    """
    return _made(Producer, config, last_error, {"on_delivery": on_delivery})


def make_admin(config: ClientConfig, last_error: LastClientError) -> AdminClient:
    """Create an admin client.

    Raises:
        UsageError: as `make_consumer`.
    """
    return _made(AdminClient, config, last_error, {})


def _made(
    kind: Callable[[dict[str, Any]], Client],
    config: ClientConfig,
    last_error: LastClientError,
    callbacks: Mapping[str, Callable[..., None]],
) -> Client:
    last_error.logs_in_with(config)
    given: dict[str, Any] = {**of_library(config), **callbacks, "error_cb": last_error.record_error, "logger": LOGGER}
    if tokens := tokens_of(config):
        tokens.newest()  # raises with the reason; the binding would wait for ten seconds and name none
        given["oauth_cb"] = tokens.for_binding
    try:
        return kind(given)
    except KafkaException as error:
        raise UsageError(f"kafka.client: {kafka_error(error).str()}") from None
    except (TypeError, ValueError) as error:
        raise UsageError(f"kafka.client: {error}") from None


def free_in_thread(free: Callable[[], object]) -> None:
    """Free a client in a thread of its own; called where its last reference goes, maybe in a garbage collection.

    Freeing waits for the client's threads, which may wait for brokers, or be in a call that was left behind, for
    minutes. When the interpreter ends, no thread can be started any more, and the client ends with the process.
    """
    if not sys.is_finalizing():
        threading.Thread(target=free, daemon=True, name="client-release").start()


def answer_of(asked: Future[Answer], within_s: float) -> Answer:
    """The answer to a request of an admin client.

    An error that a future raises holds the frames it came through, and they hold the future: a cycle, often with the
    client in it. A garbage collection in the worker's loop would free it, and wait for the client's threads. The errors
    raised here are in no cycle.

    Raises:
        KafkaException: the brokers refuse, or the client library has no answer in time.
        TimeoutError: nothing in time.
    """
    failure = asked.exception(within_s)
    if isinstance(failure, KafkaException):
        raise KafkaException(kafka_error(failure))
    return asked.result()


def of_library(config: ClientConfig) -> ClientConfig:
    """The configuration without the key that is not of librdkafka."""
    return {key: value for key, value in config.items() if key != MSK_IAM_REGION}


def kafka_error(error: KafkaException | TimeoutError) -> KafkaError:
    """The error inside the client library's exception; its futures may also time out."""
    if isinstance(error, TimeoutError):
        return KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001  # the library's name
    inner = error.args[0]
    return inner if isinstance(inner, KafkaError) else KafkaError(KafkaError._FAIL, str(inner))  # noqa: SLF001  # as above


def explain(doing: str, servers: str, error: KafkaError, last_error: KafkaError | None = None) -> ViewerConsumerError:
    """One line for people: what failed, where, why, and what to do about it.

    Args:
        doing: what failed, for example "can't read the topics".
        servers: the addresses it was tried on.
        error: the error of the call.
        last_error: the client's last broker error; the reason if brokers were not reached.
    """
    reason, denied = error, [each for each in (error, last_error) if each is not None and each.code() in ACCESS_DENIED]
    if denied:
        reason = denied[0]
        advice = "check the user, its password and its permissions (kafka.client: security.protocol, sasl.*)"
        if "no token from" in reason.str():
            advice = "check the token server, and kafka.client: sasl.oauthbearer.*, https.ca.location"
    elif error.code() in TOO_OLD:
        advice = "Kafka 2.5 or newer is needed"
    else:
        reason = last_error or error
        advice = _advice_on_connecting(reason.str())
    return ViewerConsumerError(f"{doing} on {servers}: {' '.join(reason.str().split())}; {advice}")


def _advice_on_connecting(reason: str) -> str:
    if "certificate verify failed" in reason:
        return "check kafka.client.ssl.ca.location: it holds who signed the brokers' certificates"
    if "alert" in reason and "certificate" in reason:
        return (
            "the broker takes no connection without a certificate that it trusts: check kafka.client: "
            "ssl.certificate.location, ssl.key.location"
        )
    return "check kafka.bootstrap_servers and kafka.client"
