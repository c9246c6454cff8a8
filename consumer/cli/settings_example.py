"""Print an example file of settings: every key with its default, and what the models say about it."""

import json
import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import tomli_w
from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from consumer.settings.layers import ENV_PREFIX
from consumer.settings.model import Settings

EXAMPLES = {
    "kafka.client": ['"security.protocol" = "SSL"', '"ssl.ca.location" = "/etc/ssl/kafka.pem"'],
    "input.schema_registry_ca_file": ['schema_registry_ca_file = "/etc/ssl/registry.pem"'],
    "input.schema_registry_certificate_file": ['schema_registry_certificate_file = "/etc/ssl/worker.pem"'],
    "input.schema_registry_key_file": ['schema_registry_key_file = "/etc/ssl/worker.key"'],
    "input.ids": ['ids = { 7 = "event.avsc" }'],
    "input.fields.stream_id": ['stream_id = "content.id"'],
    "input.fields.viewer_id": ['viewer_id = ["user_id", { path = "device", default = "none" }]'],
    "input.fields.timestamp_ms": ['timestamp_ms = { path = "time_s", scale = 1000 }'],
    "input.fields.bitrate_bps": ['bitrate_bps = { path = "kbps", scale = 1000 }'],
    "input.fields.duration_ms": ['duration_ms = { path = "stalled_s", scale = 1000 }'],
    "input.fields.type": ['type = "kind"'],
    "input.events.join": ['join = ["PlaybackStarted", "PlaybackResumed"]'],
}
"""Lines that show how a key is set, where its default would not; they are comments in the file."""

_FREE_TABLE = "kafka.client"
_WIDTH = 100
_INTRODUCTION = f"""\
All settings with their defaults; keys that keep theirs can be left out. `viewer-consumer config --config FILE` \
checks a file. A variable as {ENV_PREFIX}WINDOWS__BUCKET_MS overrides a key of the file, and a flag as \
--set windows.bucket_ms=5000 overrides both. Secrets are better set by variables, or by variables that end in __FILE \
and name a file with the value."""


def example_toml() -> str:
    """The file; it loads, and gives the defaults."""
    lines = _comment(_INTRODUCTION)
    for name, field in Settings.model_fields.items():
        lines += _section(type(field.default), name)
    return "\n".join(lines) + "\n"


def _section(model: type[BaseModel], path: str) -> Iterator[str]:
    """The keys of a section, then its tables."""
    yield from ["", "", f"[{path}]", *_comment(_first_sentence(model.__doc__ or ""))]
    tables: list[Iterator[str]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            tables.append(_section(type(field.default), f"{path}.{name}"))
        elif f"{path}.{name}" == _FREE_TABLE:
            tables.append(_free_table(f"{path}.{name}", field))
        else:
            yield from _key(name, field, EXAMPLES.get(f"{path}.{name}", []))
    for table in tables:
        yield from table


def _key(name: str, field: FieldInfo, examples: list[str]) -> Iterator[str]:
    yield ""
    yield from _comment(" ".join([*(field.description or "").split(), *_allowed(field)]))
    if examples:
        yield from (f"# {example}" for example in examples)
    else:
        yield tomli_w.dumps({name: _plain(field.default)}).strip()


def _free_table(path: str, field: FieldInfo) -> Iterator[str]:
    yield from ["", "", f"[{path}]", *_comment(field.description or "")]
    yield from (f"# {example}" for example in EXAMPLES[path])


def _allowed(field: FieldInfo) -> list[str]:
    """What values are allowed, as a sentence; none if the description has to say it."""
    if get_origin(field.annotation) is Literal:
        names = [json.dumps(value) for value in get_args(field.annotation)]
        return [f"One of {', '.join(names)}."]
    least = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    most = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
    return [] if least is None or most is None else [f"From {least} to {most}."]


def _plain(value: object) -> Any:
    """A default as TOML has it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return list(value) if isinstance(value, tuple) else value


def _first_sentence(text: str) -> str:
    return text.partition("\n\n")[0]


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH - 2, break_on_hyphens=False)]
