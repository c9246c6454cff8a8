"""Make clients of the C library, as the Python binding makes them: configuration, tokens, log lines."""

import ctypes
import logging
from functools import partial

from confluent_kafka import KafkaError, KafkaException

from consumer.errors import UsageError
from consumer.kafka.c_functions import REASON_BYTES
from consumer.kafka.clients import LOGGER, free_in_thread, of_library
from consumer.kafka.config import ClientConfig
from consumer.kafka.msk_iam import PRINCIPAL, SharedTokens, Token

_LEVELS = (*[logging.CRITICAL] * 3, logging.ERROR, *[logging.WARNING] * 2, logging.INFO, logging.DEBUG)
"""By syslog's numbers."""


def new_configuration(library: ctypes.CDLL, config: ClientConfig) -> int:
    """A configuration of the C library; its log lines come when the client is polled.

    Raises:
        UsageError: librdkafka doesn't take a key or a value; names the key.
    """
    made, reason = library.rd_kafka_conf_new(), ctypes.create_string_buffer(REASON_BYTES)
    for key, value in {**of_library(config), "log.queue": True}.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if library.rd_kafka_conf_set(made, key.encode(), text.encode(), reason, REASON_BYTES):
            library.rd_kafka_conf_destroy(made)
            raise UsageError(f"kafka.client: {reason.value.decode()}")
    library.rd_kafka_conf_enable_sasl_queue(made, 1)
    return int(made)


def new_client(library: ctypes.CDLL, kind: int, configuration: int, tokens: SharedTokens | None) -> int:
    """A client, which takes the configuration over; it logs in with these tokens, if any, until `destroy_client`.

    Raises:
        UsageError: librdkafka doesn't take the configuration.
        ViewerConsumerError: there is no token to log in with.
    """
    reason = ctypes.create_string_buffer(REASON_BYTES)
    client = library.rd_kafka_new(kind, configuration, reason, REASON_BYTES)
    if not client:
        library.rd_kafka_conf_destroy(configuration)
        raise UsageError(f"kafka.client: {reason.value.decode()}")
    # Tokens are refreshed by a thread of the library: polling does not do it.
    error = library.rd_kafka_sasl_background_callbacks_enable(client)
    if error:  # no mechanism that needs it is configured
        library.rd_kafka_error_destroy(error)
    try:
        if tokens:
            tokens.keep_fresh(client, partial(_set_token, library, client))
    except BaseException:
        library.rd_kafka_destroy(client)
        raise
    return int(client)


def destroy_client(library: ctypes.CDLL, client: int, tokens: SharedTokens | None) -> None:
    """Destroy a client; waits for its threads."""
    if tokens:
        tokens.forget(client)
    library.rd_kafka_destroy(client)


def release_client(library: ctypes.CDLL, client: int, tokens: SharedTokens | None, callbacks: object) -> None:
    """As `destroy_client`, where an object is finalized: that may interrupt anybody, also whoever sets a token.

    It waits for no thread of the library: see `free_in_thread`.

    Args:
        library: of the client.
        client: to be destroyed, here or in another thread.
        tokens: with which it logs in.
        callbacks: of the client, which are kept until it is gone.
    """
    destroy = partial(_destroy, library, client, callbacks)
    if tokens:
        tokens.release(client, destroy)
    else:
        free_in_thread(destroy)


def _destroy(library: ctypes.CDLL, client: int, _callbacks: object) -> None:
    library.rd_kafka_destroy(client)


def _set_token(library: ctypes.CDLL, client: int, token: Token) -> None:
    """Log in with this token from now on; one that has expired meanwhile is refused, and the client keeps its last."""
    reason = ctypes.create_string_buffer(REASON_BYTES)
    text, principal = token.value.encode(), PRINCIPAL.encode()
    set_token = library.rd_kafka_oauthbearer_set_token
    if set_token(client, text, token.expires_ms, principal, None, 0, reason, REASON_BYTES):
        LOGGER.warning("%s [%s] %s", "TOKEN", library.rd_kafka_name(client).decode(), reason.value.decode())


def raise_error(library: ctypes.CDLL, error: int | None) -> None:
    """Raise the error of a call, if there is one, with the library's marks; the library's object is freed.

    Raises:
        KafkaException: as the binding raises it.
    """
    if not error:
        return
    made = KafkaError(
        library.rd_kafka_error_code(error),
        library.rd_kafka_error_string(error).decode(errors="replace"),
        fatal=bool(library.rd_kafka_error_is_fatal(error)),
        retriable=bool(library.rd_kafka_error_is_retriable(error)),
        txn_requires_abort=bool(library.rd_kafka_error_txn_requires_abort(error)),
    )
    library.rd_kafka_error_destroy(error)
    raise KafkaException(made)


def log_line(client: str, level: int, facility: bytes | None, line: bytes | None) -> None:
    """Log a line of a client, as the binding does."""
    words = ((each or b"").decode(errors="replace") for each in (facility, line))
    kind, text = words
    LOGGER.log(_LEVELS[level & 7], "%s [%s] %s", kind, client, text)
