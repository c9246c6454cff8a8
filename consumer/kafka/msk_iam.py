"""Log in to Amazon MSK by IAM: tokens signed here with AWS credentials, the same ones for all clients of the process.

```
 thread of ours ── signs, well before the last token expires ──► newest token
                                     ├─► set in clients of the C library, at once
                                     └─► fetched by those of the binding, when they refresh
```
While no token can be signed, clients keep the last one: the brokers end their connections when it has expired, and
accept them again with the next.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from queue import SimpleQueue
from typing import NamedTuple

from consumer.errors import UsageError, ViewerConsumerError
from consumer.kafka.log_in import MSK_IAM_REGION

_log = logging.getLogger(__name__)

NOT_INSTALLED = 'needs a package that is not installed: run pip install "viewer-consumer[msk-iam]"'

_FIRST_S = 10.0
"""How long a client waits for the first token: credentials may be asked for over the network."""

_RETRY_S = 10.0
"""Between attempts after one that failed."""

_RENEW_AT = 0.5
"""Of a token's life. The binding's clients fetch one at 0.8, and must find another by then."""

_LEAST_REST_S = 1.0
"""Between two tokens."""

PRINCIPAL = "msk-iam"
"""For the client library's own log; brokers take who it is from the token."""


class Token(NamedTuple):
    """A token, and when it expires."""

    value: str
    expires_ms: int


SetToken = Callable[[Token], None]
Sign = Callable[[str], Token]


class SharedTokens:
    """Keeps a token fresh for a region; used by all threads.

    Args:
        region: of AWS.
        sign: makes a token for the region; raises anything.
        wall_s: seconds since 1970.
    """

    def __init__(self, region: str, sign: Sign, wall_s: Callable[[], float] = time.time) -> None:
        self._region = region
        self._sign = sign
        self._wall_s = wall_s
        self._newest: Token | None = None
        self._failure = ""
        """As the newest token, it is set by one thread and read without a lock: a client that is being destroyed waits
        for its own thread, which may be asking for a token.
        """
        self._clients: dict[int, SetToken] = {}
        self._lock = threading.Lock()
        """Of the clients: a token is set only in those that are there."""
        self._tried = threading.Event()
        self._closed = threading.Event()
        self._released: SimpleQueue[tuple[int, Callable[[], object]] | None] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True, name="msk-iam-tokens").start()
        threading.Thread(target=self._destroy_released, daemon=True, name="msk-iam-clients").start()

    def newest(self) -> Token:
        """The newest token, which may have expired while no other could be signed.

        Raises:
            ViewerConsumerError: there has never been one; says why.
        """
        self._tried.wait(_FIRST_S)
        if self._newest is not None:
            return self._newest
        reason = self._failure or f"no credentials within {_FIRST_S:.0f} s"
        raise ViewerConsumerError(
            f"kafka.msk_iam_region: no token for IAM in {self._region} could be signed: {reason}; check the AWS "
            "credentials of this process"
        )

    def failure(self) -> str:
        """Why the last attempt to sign failed; empty if it did not."""
        return self._failure

    def for_binding(self, _config: str) -> tuple[str, float, str, dict[str, str]]:
        """As the binding's `oauth_cb`, which its clients call in a thread of the client library; never waits."""
        token, now_s = self.newest(), self._wall_s()
        # The library refuses a token that has expired, and a client is not made without one.
        return token.value, max(token.expires_ms / 1000, now_s + _RETRY_S), PRINCIPAL, {}

    def keep_fresh(self, client: int, set_token: SetToken) -> None:
        """Set the newest token in a client, and each that follows, until `forget`.

        Raises:
            ViewerConsumerError: as `newest`.
        """
        newest = self.newest()
        with self._lock:
            self._clients[client] = set_token
            set_token(self._newest or newest)

    def forget(self, client: int) -> None:
        """Leave a client alone, which is about to be destroyed."""
        with self._lock:
            self._clients.pop(client, None)

    def release(self, client: int, destroy: Callable[[], object]) -> None:
        """Forget a client and destroy it, in a thread: called where an object is finalized.

        The garbage collector may run in a thread that holds this object's lock, or is about to set a token in that
        client.
        """
        self._released.put((client, destroy))

    def close(self) -> None:
        """End the threads."""
        self._closed.set()
        self._released.put(None)

    def _destroy_released(self) -> None:
        while (released := self._released.get()) is not None:
            client, destroy = released
            self.forget(client)
            destroy()

    def _run(self) -> None:
        while not self._closed.is_set():
            rest_s = self._renew()
            self._tried.set()
            self._closed.wait(rest_s)

    def _renew(self) -> float:
        """Sign a token; return for how long to rest."""
        try:
            token = self._sign(self._region)
        except Exception as error:  # noqa: BLE001  # whatever AWS' libraries raise: credentials may come back
            self._note_failure(_reason(error))
            return _RETRY_S
        had_failed, self._failure, self._newest = self._failure, "", token
        with self._lock:
            for set_token in self._clients.values():
                set_token(token)
        if had_failed:
            _log.info("tokens for IAM are signed again")
        return max(_LEAST_REST_S, _RENEW_AT * (token.expires_ms / 1000 - self._wall_s()))

    def _note_failure(self, reason: str) -> None:
        is_new, self._failure = reason != self._failure, reason
        if is_new and self._newest is not None:
            left_s = self._newest.expires_ms / 1000 - self._wall_s()
            _log.warning("no token for IAM could be signed; the last expires in %.0f s: %s", max(0.0, left_s), reason)


def tokens_of(config: Mapping[str, object]) -> SharedTokens | None:
    """The tokens that a client of this configuration logs in with; None if it logs in by other means.

    Raises:
        UsageError: the package that signs them is not installed.
    """
    region = config.get(MSK_IAM_REGION)
    return None if region is None else _tokens_for(str(region))


def signer_error() -> str:
    """Why the package that signs tokens cannot be used; empty if it can."""
    return "" if find_spec("aws_msk_iam_sasl_signer") else NOT_INSTALLED


@cache
def _tokens_for(region: str) -> SharedTokens:
    """One for the process: each fetch of credentials is a request to AWS."""
    return SharedTokens(region, _load_signer())


def _load_signer() -> Sign:
    try:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415  # an extra, and slow to import
    except ImportError:
        raise UsageError(f"kafka.msk_iam_region: {NOT_INSTALLED}") from None
    return lambda region: Token(*MSKAuthTokenProvider.generate_auth_token(region))


def _reason(error: Exception) -> str:
    # The package looks for keys in credentials that are None.
    if isinstance(error, AttributeError):
        return "no AWS credentials were found"
    return " ".join(f"{type(error).__name__}: {error}".split())
