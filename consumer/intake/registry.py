"""A schema registry's answers, over HTTP: one fixed address, bounded in time and size, no redirects."""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from consumer.errors import ViewerConsumerError
from consumer.intake.schema_json import SchemaRefused

MAX_ANSWER_BYTES = 2**22
MAX_REFERENCES = 64
"""Schemas that one schema names, directly or by others."""

MAX_ID = 2**31 - 1
"""Registries count up to here."""

_TRIES = 2
_UNKNOWN_CODES = range(40401, 40500)
"""Error codes of a registry that says that it has no such schema, subject or version."""

_CHUNK_BYTES = 65_536
_SHORTEST_S = 0.05


class RegistryUnavailable(ViewerConsumerError):  # noqa: N818  # a state of the world that passes
    """The registry gave no answer that can be used; it is to be asked again."""


class RegisteredSchema(NamedTuple):
    """A schema's text, and the texts of those it names, each behind those that it names itself."""

    text: str
    references: tuple[str, ...]


class Registry:
    """A client for the schema registry at `url`, in which user and password may stand."""

    def __init__(self, url: str, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        parts = urlsplit(url)
        user, colon, password = parts.netloc.rpartition("@")[0].partition(":")
        host = parts.netloc.rpartition("@")[2]
        self._base = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        self._headers = {"Accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if user or colon:
            self._headers |= urllib3.make_headers(basic_auth=f"{unquote(user)}:{unquote(password)}")
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False)
        self._monotonic_s = monotonic_s

    def schema_by_id(self, schema_id: int, budget_s: float) -> RegisteredSchema | None:
        """The schema with this id; None where the registry has none.

        Raises:
            RegistryUnavailable: it doesn't answer within `budget_s`, or not as a registry does.
            SchemaRefused: what it has is no Avro.
        """
        return self._schema(f"/schemas/ids/{schema_id}", self._monotonic_s() + budget_s)

    def schema_by_guid(self, guid: str, budget_s: float) -> RegisteredSchema | None:
        """The schema with this GUID, as `schema_by_id`."""
        return self._schema(f"/schemas/guids/{guid}", self._monotonic_s() + budget_s)

    def register(self, subject: str, text: str, budget_s: float) -> int:
        """The id of a schema under a subject, registered if it is new there.

        Raises:
            RegistryUnavailable: as `schema_by_id`; also where it refuses the schema.
        """
        path = f"/subjects/{quote(subject, safe='')}/versions"
        status, answer = self._answer(path, self._monotonic_s() + budget_s, json.dumps({"schema": text}))
        schema_id = (answer or {}).get("id")
        if status == 200 and isinstance(schema_id, int) and 0 <= schema_id <= MAX_ID:
            return schema_id
        reason = " ".join(str((answer or {}).get("message", "")).split())[:500]
        raise self._unavailable(
            f"doesn't register the schema of {subject}: status {status}{', ' if reason else ''}{reason}"
        )

    def _schema(self, path: str, deadline_s: float) -> RegisteredSchema | None:
        answer = self._get(path, deadline_s)
        if answer is None:
            return None
        texts: dict[tuple[str, int], str] = {}
        self._collect(answer, texts, deadline_s)
        return RegisteredSchema(_avro_text(answer), tuple(texts.values()))

    def _collect(self, answer: dict[str, Any], texts: dict[tuple[str, int], str], deadline_s: float) -> None:
        """Add the schemas that an answer refers to, those first that they refer to themselves."""
        for reference in answer.get("references") or ():
            try:
                key = (str(reference["subject"]), int(reference["version"]))
            except (TypeError, KeyError, ValueError):
                raise SchemaRefused(f"it has a reference that isn't understood: {str(reference)[:200]}") from None
            if key in texts:
                continue
            if len(texts) >= MAX_REFERENCES:
                raise SchemaRefused(f"it refers to more than {MAX_REFERENCES} other schemas")
            texts[key] = ""  # so that a circle ends
            subject, version = key
            named = self._get(f"/subjects/{quote(subject, safe='')}/versions/{version}", deadline_s)
            if named is None:
                raise SchemaRefused(f"it refers to version {version} of {subject}, which the registry doesn't have")
            self._collect(named, texts, deadline_s)
            del texts[key]
            texts[key] = _avro_text(named)

    def _get(self, path: str, deadline_s: float) -> dict[str, Any] | None:
        """The JSON object at a path; None where the registry says that it has none."""
        status, answer = self._answer(path, deadline_s)
        if status == 200 and answer is not None:
            return answer
        code = (answer or {}).get("error_code")
        if status == 404 and isinstance(code, int) and (code in _UNKNOWN_CODES or code == 404):
            return None
        raise self._unavailable(f"answers with status {status}, not as a registry does")

    def _answer(self, path: str, deadline_s: float, body: str | None = None) -> tuple[int, dict[str, Any] | None]:
        """Status and JSON object of an answer; None where it is none."""
        try:
            status, answer = self._fetch(path, deadline_s, body)
        except (HTTPError, OSError) as error:
            raise self._unavailable(f"gives no answer ({type(error).__name__})") from None
        if 300 <= status < 400:
            raise self._unavailable(
                f"answers with a redirect ({status}), which is not followed; set the address itself"
            )
        if status in {401, 403}:
            raise self._unavailable(f"refuses us ({status}); set user and password in input.schema_registry_url")
        return status, _json_object(answer)

    def _fetch(self, path: str, deadline_s: float, body: str | None = None) -> tuple[int, bytes]:
        """Status and body of the answer to a GET, or of a POST where there is a body to send."""
        retries = urllib3.Retry(
            total=_TRIES - 1,
            allowed_methods=None,  # a schema that is registered twice has one id
            backoff_factor=0.05,
            backoff_jitter=0.05,
            status_forcelist=(500, 502, 503, 504),
            redirect=False,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        each_s = max((deadline_s - self._monotonic_s()) / _TRIES, _SHORTEST_S)
        response = self._pool.request(
            "GET" if body is None else "POST",
            self._base + path,
            body=body,
            headers=self._headers if body is None else {**self._headers, "Content-Type": "application/json"},
            redirect=False,
            retries=retries,
            timeout=urllib3.Timeout(total=each_s),
            preload_content=False,
        )
        try:
            return response.status, self._body(response, deadline_s)
        finally:
            response.close()

    def _body(self, response: urllib3.BaseHTTPResponse, deadline_s: float) -> bytes:
        body = bytearray()
        while chunk := response.read1(_CHUNK_BYTES):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise self._unavailable(f"answers with more than {MAX_ANSWER_BYTES} bytes")
            if self._monotonic_s() > deadline_s:
                raise self._unavailable("is too slow")
        return bytes(body)

    def _unavailable(self, what: str) -> RegistryUnavailable:
        return RegistryUnavailable(f"the schema registry at {self._base} {what}")


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
