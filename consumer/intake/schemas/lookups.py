"""Look up writer schemas in the registry in a background thread; the loop only asks what is known by now.

```
 request ──► pending ──► found or refused                      kept up to a limit
               │  ├────► not known yet ──► unknown for good    asked again until `unknown_schema_wait_ms` have passed
               │  ├────► failed                                all asked again after a pause that doubles
               │  └────► forbidden                             it alone asked again after a pause that doubles
               └─ one thread, which ends when nothing is pending
```
One instance serves a whole worker: live reading, restores and replays.
"""

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple
from uuid import UUID

import structlog

from consumer.intake.compiler.schema_json import ParsedSchema, SchemaRefused, parse_schema_text
from consumer.intake.schemas.access import access_of
from consumer.intake.schemas.registry import Registry, RegistryForbids, RegistryUnavailable
from consumer.settings.model import InputSettings

MAX_SCHEMAS = 1_000
"""Limit of schemas and refusals kept; the oldest is evicted."""

MAX_SCHEMA_CHARS = 2**21
"""Limit of the characters of all schemas kept; the newest is kept in any case."""

MAX_UNKNOWN = 10_000
"""Limit of ids kept that the registry does not know."""

MAX_PENDING = 1_000
"""Limit of schemas waiting to be asked for, and of failures and forbidden ones kept; others are taken when they are
requested again."""

LOOK_UP_TIMEOUT_S = 5.0
"""Time-out of one look-up, references included."""

ASK_AGAIN_S = 1.0
"""Interval of look-ups for a schema that the registry does not know, and the first pause after a failure."""

LONGEST_PAUSE_S = 16.0
"""The longest pause after a failure."""

FAILED_LAST_S = 0.5
"""How long schemas whose look-up failed wait for others after a pause, so that one of them cannot block all."""

REMEMBER_UNKNOWN_S = 60.0
"""How long an unknown id is rejected without a look-up after its wait has ended."""

REPORT_AFTER_S = 1.0
"""A look-up that takes longer is a reason to report."""

Key = int | UUID
"""The registry's name of a schema: its id or its GUID."""

_log = structlog.get_logger(__name__)


class Refusal(NamedTuple):
    """Why a schema cannot be used."""

    message: str


class Unknown(NamedTuple):
    """The registry still did not know the schema when the wait for it had ended."""

    until_s: float
    """From then on it is asked again."""


class _Found(NamedTuple):
    answer: ParsedSchema | Refusal
    chars: int


class _Asked(NamedTuple):
    first_s: float
    last_s: float


class _Forbidden(NamedTuple):
    because: str
    until_s: float
    pause_s: float


def describe_key(key: Key) -> str:
    """A key as text: `id 7` or `guid …`."""
    return f"guid {key}" if isinstance(key, UUID) else f"id {key}"


def _start_thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True, name="schema-lookups").start()


class SchemaLookups:
    """Writer schemas by key; no call waits for the registry.

    Args:
        registry: asked in the background, for one schema at a time.
        wait_s: how long an unknown schema is asked for again.
        monotonic_s: the clock of waits and pauses.
        start: runs a function in the background; a thread by default.
    """

    def __init__(
        self,
        registry: Registry,
        wait_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], None] = _start_thread,
    ) -> None:
        self._registry = registry
        self._wait_s = wait_s
        self._monotonic_s = monotonic_s
        self._start = start
        self._lock = threading.Lock()
        self._running = False
        self._closed = False
        self._pending: OrderedDict[Key, float] = OrderedDict()
        """When each was requested; the first is the one being asked for."""
        self._found: OrderedDict[Key, _Found] = OrderedDict()
        """Ordered by age, oldest first."""
        self._chars = 0
        self._unknown: OrderedDict[Key, _Asked] = OrderedDict()
        self._failed: OrderedDict[Key, str] = OrderedDict()
        """The reasons of look-ups that failed."""
        self._forbidden: OrderedDict[Key, _Forbidden] = OrderedDict()
        """A right is missing, which may be granted: their records wait, and all other schemas are looked up."""
        self._down_until_s = float("-inf")
        self._down_because = ""
        """The last failure; empty once a look-up has succeeded."""
        self._pause_s = ASK_AGAIN_S / 2
        self.answered = 0
        """Number of look-ups that have ended, failed ones included."""

    # Called by caches, in the loop.

    def request(self, keys: Iterable[Key]) -> None:
        """Look these up in the background, where that is due."""
        with self._lock:
            if self._closed:
                return
            now_s = self._monotonic_s()
            for key in keys:
                if len(self._pending) < MAX_PENDING and self._is_due(key, now_s):
                    self._pending[key] = now_s
            starts = bool(self._pending) and not self._running
            self._running |= starts
        if starts:
            self._start(self._run)

    def answer(self, key: Key) -> ParsedSchema | Refusal | Unknown | None:
        """What is known of a schema; None while nothing final is."""
        with self._lock:
            return self._answer(key, self._monotonic_s())

    def reason(self, key: Key) -> str:
        """Why there is no answer yet; empty while the look-up is only beginning."""
        with self._lock:
            if (forbidden := self._forbidden.get(key)) is not None:
                return forbidden.because
            if because := self._failed.get(key) or self._down_because:
                return because
            if key in self._unknown:
                return f"the schema registry doesn't know {describe_key(key)} yet"
            requested_s = self._pending.get(key)
            if requested_s is None or self._monotonic_s() - requested_s < REPORT_AFTER_S:
                return ""
            return f"the schema registry at {self._registry.address} has not answered about {describe_key(key)} yet"

    def close(self) -> None:
        """Ask for nothing more. A look-up under way is not waited for; its thread ends with it."""
        with self._lock:
            self._closed = True
            self._pending.clear()

    def _answer(self, key: Key, now_s: float) -> ParsedSchema | Refusal | Unknown | None:
        found = self._found.get(key)
        if found is not None:
            return found.answer
        asked = self._unknown.get(key)
        if asked is not None and self._has_expired(key, asked) and now_s < asked.last_s + REMEMBER_UNKNOWN_S:
            return Unknown(asked.last_s + REMEMBER_UNKNOWN_S)
        return None

    def _is_due(self, key: Key, now_s: float) -> bool:
        if key in self._pending or self._answer(key, now_s) is not None:
            return False
        if now_s < self._down_until_s + (FAILED_LAST_S if key in self._failed else 0.0):
            return False
        if (forbidden := self._forbidden.get(key)) is not None and now_s < forbidden.until_s:
            return False
        asked = self._unknown.get(key)
        if asked is None or now_s - asked.last_s >= ASK_AGAIN_S:
            return True
        return not self._has_expired(key, asked) and now_s - asked.first_s >= self._wait_of(key)

    def _has_expired(self, key: Key, asked: _Asked) -> bool:
        """Whether the registry still did not know it when the wait ended."""
        return asked.last_s - asked.first_s >= self._wait_of(key)

    def _wait_of(self, key: Key) -> float:
        """How long an unknown schema is asked for again. Registries begin at id 1: 0 is a record of another format."""
        return 0.0 if key == 0 else self._wait_s

    # Called in the background.

    def _run(self) -> None:
        while (key := self._next()) is not None:
            outcome = self._look_up(key)
            with self._lock:
                self._note(key, outcome)

    def _next(self) -> Key | None:
        """The next key; None, and the thread ends, if nothing is pending."""
        with self._lock:
            key = next(iter(self._pending), None)
            self._running = key is not None
            return key

    def _look_up(self, key: Key) -> _Found | RegistryUnavailable | None:
        try:
            if isinstance(key, UUID):
                found = self._registry.schema_by_guid(str(key), LOOK_UP_TIMEOUT_S)
            else:
                found = self._registry.schema_by_id(key, LOOK_UP_TIMEOUT_S)
            if found is None:
                return None
            parsed = parse_schema_text(found.text, found.references)
            return _Found(parsed, len(found.text) + sum(map(len, found.references)))
        except RegistryUnavailable as error:
            return error
        except SchemaRefused as refusal:
            return _Found(Refusal(f"{describe_key(key)}: {refusal}"), 0)
        except Exception as error:  # noqa: BLE001  # records that wait need a reason, and another attempt
            _log.exception("look-up failed", schema=describe_key(key))
            return RegistryUnavailable(f"the look-up of {describe_key(key)} failed: {type(error).__name__}: {error}")

    def _note(self, key: Key, outcome: _Found | RegistryUnavailable | None) -> None:
        self.answered += 1
        self._pending.pop(key, None)
        self._failed.pop(key, None)
        forbidden = self._forbidden.pop(key, None)
        if isinstance(outcome, RegistryUnavailable) and not isinstance(outcome, RegistryForbids):
            self._note_failure(key, str(outcome))
            return
        self._down_because = ""
        self._pause_s = ASK_AGAIN_S / 2
        if isinstance(outcome, RegistryForbids):
            self._note_forbidden(key, str(outcome), forbidden)
        elif outcome is None:
            self._note_unknown(key)
        else:
            self._keep(key, outcome)

    def _note_failure(self, key: Key, because: str) -> None:
        """Pause; the others that are pending are requested again after it."""
        self._pending.clear()
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        # Jitter, so that not all workers ask at once when it is back.
        self._down_until_s = self._monotonic_s() + self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
        self._down_because = self._failed[key] = because
        if len(self._failed) > MAX_PENDING:
            self._failed.popitem(last=False)

    def _note_forbidden(self, key: Key, because: str, before: _Forbidden | None) -> None:
        pause_s = ASK_AGAIN_S if before is None else min(2 * before.pause_s, LONGEST_PAUSE_S)
        self._forbidden[key] = _Forbidden(because, self._monotonic_s() + pause_s, pause_s)
        if len(self._forbidden) > MAX_PENDING:
            self._forbidden.popitem(last=False)

    def _note_unknown(self, key: Key) -> None:
        now_s = self._monotonic_s()
        before = self._unknown.pop(key, None)
        self._unknown[key] = _Asked(now_s if before is None else before.first_s, now_s)
        if len(self._unknown) > MAX_UNKNOWN:
            self._unknown.popitem(last=False)

    def _keep(self, key: Key, found: _Found) -> None:
        self._unknown.pop(key, None)
        self._found[key] = found
        self._chars += found.chars
        while len(self._found) > MAX_SCHEMAS or (self._chars > MAX_SCHEMA_CHARS and len(self._found) > 1):
            _, evicted = self._found.popitem(last=False)
            self._chars -= evicted.chars


def lookups_from(source: InputSettings, monotonic_s: Callable[[], float] = time.monotonic) -> SchemaLookups | None:
    """Look-ups in the registry of the settings; None if they name none.

    Raises:
        ViewerConsumerError: the certificate file cannot be used.
    """
    if not source.schema_registry_url:
        return None
    return SchemaLookups(Registry(access_of(source), monotonic_s), source.unknown_schema_wait_ms / 1000, monotonic_s)
