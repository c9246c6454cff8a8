"""The settings: types, defaults, limits and conflicts.

Flags win over the environment, that over the TOML file, that over the defaults here. `load_settings` reads all three
and reports every error at once; `consumer.settings.layers` holds the origin of values.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from consumer.errors import UsageError
from consumer.runtime.durations import read_span_ms
from consumer.settings.command_line import command_line, options_of
from consumer.settings.errors import CONFLICTS, Conflict, explain
from consumer.settings.field_sources import FieldSettings, field_conflicts
from consumer.settings.layers import read_layers

LONGEST_MS = 2**40
"""Limit of durations (34 years), so that sums of durations and timestamps fit in 64 bits."""

MAX_BUCKETS_KEPT = 10_000
"""Limit of buckets of a stream that are open or in its window."""

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


def _number_not_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number, not true or false")  # noqa: TRY004  # pydantic collects ValueError only
    return value


def _list_of_one(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


def _names(value: object) -> object:
    """A name, or a list of them; numbers and true or false are the texts of such event types."""
    return [_as_text(each) for each in value] if isinstance(value, list | tuple) else [_as_text(value)]


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def _topic(name: str) -> str:
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        raise ValueError("must be a topic name: 1 to 249 of A-Z a-z 0-9 . _ -")
    return name


def _addresses(servers: str) -> str:
    if not all(address.strip() for address in servers.split(",")):
        raise ValueError('must be one or more addresses as "host:port", with commas between')
    return servers


def _registry_url(url: str) -> str:
    if not url:
        return url
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be an http:// or https:// address")
    return url


def _user(name: str) -> str:
    if ":" in name:
        raise ValueError("must be without a colon, which ends a user name in HTTP")
    return name


def _token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text.isascii() or any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError("must be of visible ASCII characters")
    return token


def _client_value(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise ValueError("must be text, a number, or true or false")  # noqa: TRY004  # as above
    return value


def _span(value: object) -> object:
    span_ms = read_span_ms(value) if isinstance(value, str) else None
    return value if span_ms is None else span_ms


_Int = Annotated[int, BeforeValidator(_number_not_flag)]
_Span = Annotated[_Int, BeforeValidator(_span)]
"""Milliseconds, or a number with a unit."""
_Count = Annotated[_Int, Field(ge=1, le=2**31 - 1)]
_PositiveMs = Annotated[_Span, Field(ge=1, le=LONGEST_MS)]
_Ms = Annotated[_Span, Field(ge=0, le=LONGEST_MS)]
_Text = Annotated[str, Field(min_length=1)]
_Topic = Annotated[str, AfterValidator(_topic)]
_ClientValue = Annotated[str | int | float | bool, BeforeValidator(_client_value)]
_Names = Annotated[tuple[_Text, ...], BeforeValidator(_names)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """Cluster, group and topics; `client` is passed to librdkafka unchanged."""

    bootstrap_servers: Annotated[str, AfterValidator(_addresses)] = "localhost:9092"
    group_id: _Text = "viewer-consumer"
    input_topic: _Topic = "viewer-events"
    output_topic: _Topic = "viewer-bucket-summaries"
    state_topic: _Topic = "viewer-consumer-state"
    dead_letter_topic: _Topic = "viewer-events-dead-letter"
    create_topics: bool = True
    client: dict[str, _ClientValue] = {}


class EventNameSettings(_Section):
    """The producers' names of event types, by kind; an empty list means the built-in names.

    A type whose records carry several facts is in several lists.
    """

    join: _Names = ()
    leave: _Names = ()
    bitrate: _Names = ()
    buffer: _Names = ()
    heartbeat: _Names = ()
    ignore: _Names = ()


class InputSettings(_Section):
    """Framing, schemas and limits of the input topic's records."""

    format: Literal["confluent", "single-object", "raw"] = "confluent"
    schema_registry_url: Annotated[str, AfterValidator(_registry_url)] = ""
    schema_registry_user: Annotated[str, AfterValidator(_user)] = ""
    schema_registry_password: SecretStr = SecretStr("")
    schema_registry_token: Annotated[SecretStr, AfterValidator(_token)] = SecretStr("")
    schema_registry_ca_file: Path | None = None
    schemas: Annotated[tuple[Path, ...], BeforeValidator(_list_of_one)] = ()
    ids: dict[Annotated[int, Field(ge=0, le=2**31 - 1)], Path] = {}
    start: Literal["earliest", "latest"] = "earliest"
    time: Literal["event", "kafka"] = "event"
    max_future_ms: _Ms = 60_000
    max_payload_bytes: Annotated[_Int, Field(ge=1, le=2**27)] = 65_536
    unknown_schema_wait_ms: _Ms = 30_000
    key_format: Literal["text", "confluent"] = "text"
    breaker: bool = True
    fields: FieldSettings = FieldSettings()
    events: EventNameSettings = EventNameSettings()


class OutputSettings(_Section):
    """Encoding of summaries."""

    format: Literal["json", "confluent"] = "json"


class WindowSettings(_Section):
    """Buckets, lateness, idleness and the limits of what a partition holds."""

    window_duration_ms: _PositiveMs = 60_000
    bucket_ms: _PositiveMs = 10_000
    grace_ms: _Ms = 10_000
    counting: Literal["events", "sessions"] = "sessions"
    viewer_timeout_ms: _PositiveMs = 90_000
    stream_idle_ms: _Ms = 60_000
    partition_idle_ms: _PositiveMs = 30_000
    max_streams: _Count = 1_000_000
    max_viewers: _Count = 5_000_000
    max_events_per_viewer_bucket: Annotated[_Int, Field(ge=1, le=255)] = 64  # ranks are stored in a byte


class CommitSettings(_Section):
    """Intervals of commits and checkpoints."""

    interval_ms: Annotated[_Span, Field(ge=10, le=60_000)] = 100
    checkpoint_interval_ms: Annotated[_Span, Field(ge=10, le=86_400_000)] = 30_000


class HttpSettings(_Section):
    """The address of metrics, health and page."""

    host: _Text = "0.0.0.0"  # noqa: S104  # metrics are scraped from other hosts; set another where that is not wanted
    port: Annotated[_Int, Field(ge=0, le=65_535)] = 9464
    max_stream_series: Annotated[_Int, Field(ge=0, le=1_000_000)] = 2_000
    page: bool = True


class Settings(_Section):
    """All settings, validated together."""

    kafka: KafkaSettings = KafkaSettings()
    input: InputSettings = InputSettings()
    output: OutputSettings = OutputSettings()
    windows: WindowSettings = WindowSettings()
    commit: CommitSettings = CommitSettings()
    http: HttpSettings = HttpSettings()
    _options: tuple[str, ...] = PrivateAttr(())

    def given_by(self, options: tuple[str, ...]) -> "Settings":
        """The same settings, with the options of the command line that gave them."""
        given = self.model_copy()
        given._options = options  # noqa: SLF001  # of a copy of this object
        return given

    def command(self, command: str) -> str:
        """A command of ours for a message, with the options that these settings came from."""
        return command_line(command, self._options)

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        conflicts = [*_window_conflicts(self.windows), *_input_conflicts(self), *_kafka_conflicts(self)]
        if conflicts:
            text = "; ".join(f"{conflict.keys[0]}: {conflict.message}" for conflict in conflicts)
            raise PydanticCustomError(CONFLICTS, "{text}", {"text": text, "conflicts": conflicts})
        return self


def _window_conflicts(windows: WindowSettings) -> Iterator[Conflict]:
    by_viewer = windows.counting == "sessions"
    if windows.window_duration_ms < windows.bucket_ms:
        yield Conflict(
            ("windows.window_duration_ms", "windows.bucket_ms"),
            f"must be at least windows.bucket_ms ({windows.bucket_ms}), not {windows.window_duration_ms}",
        )
    if by_viewer and windows.viewer_timeout_ms < windows.bucket_ms:
        yield Conflict(
            ("windows.viewer_timeout_ms", "windows.bucket_ms"),
            f"must be at least windows.bucket_ms ({windows.bucket_ms}), not {windows.viewer_timeout_ms}",
        )
    longest_ms = max(windows.window_duration_ms + windows.grace_ms, windows.viewer_timeout_ms if by_viewer else 0)
    kept = longest_ms // windows.bucket_ms
    if kept > MAX_BUCKETS_KEPT:
        yield Conflict(
            ("windows.bucket_ms", "windows.window_duration_ms", "windows.grace_ms", "windows.viewer_timeout_ms"),
            f"window and grace, or a silent viewer, hold {kept} buckets of {windows.bucket_ms} ms, "
            f"at most {MAX_BUCKETS_KEPT} are allowed",
        )


def _input_conflicts(settings: Settings) -> Iterator[Conflict]:
    source = settings.input
    if source.format == "raw" and len(source.schemas) > 1:
        yield Conflict(
            ("input.schemas", "input.format"), f'must be one file where input.format = "raw", not {len(source.schemas)}'
        )
    told_apart = source.schema_registry_url or source.ids
    if source.format == "confluent" and len(source.schemas) > 1 and not told_apart:
        yield Conflict(("input.schemas", "input.ids"), "with several files input.ids must name the file of each id")
    if settings.output.format == "confluent" and not source.schema_registry_url:
        yield Conflict(
            ("output.format", "input.schema_registry_url"),
            'needs input.schema_registry_url where it is "confluent"',
        )
    yield from _log_in_conflicts(source)
    yield from field_conflicts(source.fields)
    yield from _event_type_conflicts(source.events)


def _event_type_conflicts(events: EventNameSettings) -> Iterator[Conflict]:
    """A name may be in several lists, except where they contradict each other."""

    def named(*kinds: str) -> list[tuple[str, str]]:
        return [(f"input.events.{kind}", name) for kind in kinds for name in getattr(events, kind)]

    yield from _twice(named("join", "leave"), "no event is both a join and a leave")
    for kind in EventNameSettings.model_fields:
        if kind != "ignore":
            yield from _twice(named(kind, "ignore"), "an event type that is ignored is in no other list")


def _log_in_conflicts(source: InputSettings) -> Iterator[Conflict]:
    given = {
        "input.schema_registry_user": source.schema_registry_user,
        "input.schema_registry_password": source.schema_registry_password,
        "input.schema_registry_token": source.schema_registry_token,
        "input.schema_registry_ca_file": source.schema_registry_ca_file,
    }
    for key in (key for key, value in given.items() if value and not source.schema_registry_url):
        yield Conflict((key,), "has no effect without input.schema_registry_url")
    ways = ["input.schema_registry_url"] if "@" in urlsplit(source.schema_registry_url).netloc else []
    ways += [key for key in ("input.schema_registry_user", "input.schema_registry_token") if given[key]]
    if len(ways) > 1:
        yield Conflict((ways[1], ways[0]), f"{ways[0]} is set too; set only one of them")
    if source.schema_registry_password and not source.schema_registry_user:
        yield Conflict(("input.schema_registry_password", "input.schema_registry_user"), "needs a user")


def _kafka_conflicts(settings: Settings) -> Iterator[Conflict]:
    kafka = settings.kafka
    names = ("input_topic", "output_topic", "state_topic", "dead_letter_topic")
    yield from _twice([(f"kafka.{name}", getattr(kafka, name)) for name in names], "each topic is a topic of its own")
    if settings.commit.checkpoint_interval_ms < settings.commit.interval_ms:
        yield Conflict(
            ("commit.checkpoint_interval_ms", "commit.interval_ms"),
            f"must be at least commit.interval_ms ({settings.commit.interval_ms}), "
            f"not {settings.commit.checkpoint_interval_ms}",
        )


def _twice(named: Sequence[tuple[str, str]], rule: str) -> Iterator[Conflict]:
    first: dict[str, str] = {}
    for key, value in named:
        other = first.setdefault(value, key)
        if other != key:
            yield Conflict((key, other), f'is "{value}", as {other} is; {rule}')


def load_settings(
    config: Path | None, overrides: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Settings:
    """Load the settings from flags (`section.key=value`), environment, TOML file and defaults, in that precedence.

    Raises:
        UsageError: all errors, one per line: origin, key, what is allowed.
    """
    layers = read_layers(config, overrides, environ or {})
    try:
        settings = Settings.model_validate(layers.values)
    except ValidationError as error:
        raise UsageError("\n".join([*layers.errors, *explain(error, layers, Settings)])) from None
    if layers.errors:
        raise UsageError("\n".join(layers.errors))
    return settings.given_by(options_of(config, overrides))
