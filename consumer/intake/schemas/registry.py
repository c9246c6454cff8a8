"""A client of a schema registry over HTTP: one fixed address, bounded in time and size, no redirects."""

import contextlib
import json
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

from consumer.errors import ViewerConsumerError
from consumer.intake.compiler.schema_json import SchemaRefused
from consumer.intake.schemas.access import HOW_TO_LOG_IN, RegistryAccess
from consumer.intake.schemas.http_client import HttpClient, HttpResponse, NoResponseError
from consumer.runtime.text import escaped

MAX_ANSWER_BYTES = 2**22
MAX_REFERENCES = 64
"""Limit of schemas that one schema references, directly or indirectly."""

MAX_ID = 2**31 - 1
"""The largest registry id."""

_TRIES = 2
_UNKNOWN_CODES = range(40401, 40500)
"""Error codes for an unknown schema, subject or version."""

_PASSING = frozenset({500, 502, 503, 504})
"""Status codes worth a retry."""

_PAUSE_S = 0.1
_SHORTEST_S = 0.05
_ACCEPTED = "application/vnd.schemaregistry.v1+json, application/json"


class RegistryUnavailable(ViewerConsumerError):  # noqa: N818  # a state of the world that passes
    """The registry gave no usable answer; ask again later."""


class RegistryForbids(RegistryUnavailable):
    """The registry answers, but these credentials may not read what was asked for; others may be readable."""


class RegisteredSchema(NamedTuple):
    """A schema's text and the texts of its references, dependencies first."""

    text: str
    references: tuple[str, ...]


class Registry:
    """A client for one schema registry.

    Args:
        access: address and credentials.
        monotonic_s: the clock for budgets.

    Raises:
        ViewerConsumerError: a file of certificates cannot be used.
    """

    def __init__(self, access: RegistryAccess, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.address = access.address
        """Without user and password, for messages."""
        self._headers = {"Accept": _ACCEPTED, "Connection": "close"}
        if access.authorization:
            self._headers["Authorization"] = access.authorization
        access.tls()  # the start tells what is wrong
        self._site = HttpClient(access.address, access.tls)
        self._monotonic_s = monotonic_s

    def schema_by_id(self, schema_id: int, budget_s: float) -> RegisteredSchema | None:
        """The schema with this id; None if the registry has none.

        Raises:
            RegistryForbids: these credentials may not read it, or a schema that it refers to.
            RegistryUnavailable: it does not answer within `budget_s`, or not as a registry does.
            SchemaRefused: it is not an Avro schema.
        """
        deadline_s = self._monotonic_s() + budget_s
        return self._whole(self._get(f"/schemas/ids/{schema_id}", deadline_s), deadline_s)

    def schema_by_guid(self, guid: str, budget_s: float) -> RegisteredSchema | None:
        """The schema with this GUID, as `schema_by_id`."""
        deadline_s = self._monotonic_s() + budget_s
        status, answer = self._answer(f"/schemas/guids/{guid}", deadline_s)
        if status == 404 and answer is None:
            # Registries without GUIDs have no such path: a record that names one must not stop a partition.
            with contextlib.suppress(RegistryForbids):  # it answers as a registry does
                self._get("/schemas/ids/1", deadline_s)
            return None
        return self._whole(self._understood(status, answer), deadline_s)

    def register(self, subject: str, text: str, budget_s: float) -> int:
        """Register a schema under a subject; return its id.

        Raises:
            RegistryUnavailable: as `schema_by_id`; also where it refuses the schema.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions"
        status, answer = self._answer(path, self._monotonic_s() + budget_s, json.dumps({"schema": text}))
        schema_id = (answer or {}).get("id")
        if status == 200 and isinstance(schema_id, int) and 0 <= schema_id <= MAX_ID:
            return schema_id
        raise self._unavailable(f"doesn't register the schema of {subject}: status {status}{_reason(answer)}")

    def _whole(self, answer: dict[str, Any] | None, deadline_s: float) -> RegisteredSchema | None:
        """The schema in an answer, with its references."""
        if answer is None:
            return None
        texts: dict[str, str] = {}
        self._collect(answer, texts, deadline_s)
        return RegisteredSchema(_avro_text(answer), tuple(texts.values()))

    def _collect(self, answer: dict[str, Any], texts: dict[str, str], deadline_s: float) -> None:
        """Add the schemas that an answer references, dependencies first.

        As with Confluent's Java client, the first reference of a name is taken, whatever versions others have, and
        deleted versions are read too, because records that were written with them may still be in the topic.
        """
        for name, subject, version in _references(answer):
            if name in texts:
                continue
            if len(texts) >= MAX_REFERENCES:
                raise SchemaRefused(f"it refers to more than {MAX_REFERENCES} other schemas")
            if sum(map(len, texts.values())) > MAX_ANSWER_BYTES:
                raise SchemaRefused(f"it and those it refers to have more than {MAX_ANSWER_BYTES} characters")
            texts[name] = ""  # so that cycles end
            named = self._get(f"/subjects/{quote(subject, safe='')}/versions/{version}?deleted=true", deadline_s)
            if named is None:
                raise SchemaRefused(f"it refers to version {version} of {subject}, which the registry doesn't have")
            self._collect(named, texts, deadline_s)
            del texts[name]
            texts[name] = _avro_text(named)

    def _get(self, path: str, deadline_s: float) -> dict[str, Any] | None:
        """The JSON object at a path; None if the registry has none."""
        return self._understood(*self._answer(path, deadline_s))

    def _understood(self, status: int, answer: dict[str, Any] | None) -> dict[str, Any] | None:
        if status == 200 and answer is not None:
            return answer
        code = (answer or {}).get("error_code")
        if status == 404 and isinstance(code, int) and (code in _UNKNOWN_CODES or code == 404):
            return None
        raise self._unavailable(f"answers with status {status}, not as a registry does")

    def _answer(self, path: str, deadline_s: float, body: str | None = None) -> tuple[int, dict[str, Any] | None]:
        """Status and JSON object of an answer; None if it is not an object."""
        answer = self._fetch(path, deadline_s, None if body is None else body.encode())
        if 300 <= answer.status < 400:
            raise self._unavailable(
                f"answers with a redirect ({answer.status}), which is not followed; set the address itself"
            )
        if answer.status == 401:
            raise self._unavailable(f"refuses us (401); set {HOW_TO_LOG_IN}")
        if answer.status == 403:
            raise self._forbids(path, _json_object(answer.body))
        if len(answer.body) > MAX_ANSWER_BYTES:
            raise self._unavailable(f"answers with more than {MAX_ANSWER_BYTES} bytes")
        return answer.status, _json_object(answer.body)

    def _fetch(self, path: str, deadline_s: float, body: bytes | None) -> HttpResponse:
        """The response to GET, or to POST if there is a body; retried once for status codes that are worth it.

        Registering a schema is idempotent, so POST may be retried too.
        """
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        for tries_left in range(_TRIES, 0, -1):
            each_s = max((deadline_s - self._monotonic_s()) / tries_left, _SHORTEST_S)
            try:
                answer = self._site.ask(path, headers, each_s, MAX_ANSWER_BYTES, body)
            except NoResponseError as error:
                if tries_left == 1:
                    raise self._unavailable(f"gives no answer ({error})") from None
            else:
                if answer.status not in _PASSING or tries_left == 1:
                    return answer
            # Jitter, because many workers meet the same error at the same time.
            time.sleep(random.uniform(0.5, 1.0) * min(_PAUSE_S, each_s))  # noqa: S311  # no secret
        raise AssertionError("the last try returns or raises")

    def _forbids(self, path: str, answer: dict[str, Any] | None) -> RegistryForbids:
        how = "grant it to them" if "Authorization" in self._headers else f"set {HOW_TO_LOG_IN}"
        return RegistryForbids(
            f"the schema registry at {self.address} forbids {path.partition('?')[0]} to our credentials "
            f"(403{_reason(answer)}); {how}"
        )

    def _unavailable(self, what: str) -> RegistryUnavailable:
        return RegistryUnavailable(f"the schema registry at {self.address} {what}")


def _reason(answer: dict[str, Any] | None) -> str:
    """The message in an answer, with a comma before it; empty if there is none."""
    reason = escaped(" ".join(str((answer or {}).get("message", ""))[:2_000].split())[:500])
    return f", {reason}" if reason else ""


def _references(answer: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Name, subject and version of the schemas that an answer references."""
    references = answer.get("references") or []
    if not isinstance(references, list):
        raise SchemaRefused("its references are not a list")
    return [_reference(one) for one in references]


def _reference(one: Any) -> tuple[str, str, int]:
    subject, version = (one.get("subject"), one.get("version")) if isinstance(one, dict) else (None, None)
    if isinstance(subject, str) and _can_be_encoded(subject) and isinstance(version, int) and 0 < version <= MAX_ID:
        name = one.get("name")
        return name if isinstance(name, str) else f"version {version} of {subject}", subject, int(version)
    raise SchemaRefused(f"it has a reference that isn't understood: {str(one)[:200]}")


def _can_be_encoded(text: str) -> bool:
    """Replace lone surrogates, which JSON can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _avro_text(answer: dict[str, Any]) -> str:
    kind = answer.get("schemaType") or "AVRO"
    if kind != "AVRO":
        raise SchemaRefused(f"it is a schema of type {str(kind)[:50]}; only AVRO is read")
    text = answer.get("schema")
    if not isinstance(text, str):
        raise SchemaRefused("the registry's answer holds no schema")
    return text


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None
