"""The settings: types, defaults, limits and conflicts.

Flags win over the environment, that over the TOML file, that over the defaults here. `load_settings` reads all three
and reports every error at once; `consumer.settings.layers` holds the origin of values.
"""

import contextlib
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
from consumer.settings.addresses import broker_addresses, listen_host, registry_url
from consumer.settings.command_line import command_line, options_of
from consumer.settings.errors import Check, Conflict, explain_conflicts, explain_values
from consumer.settings.field_sources import FieldSettings, field_conflicts
from consumer.settings.layers import Layers, Location, read_layers

LONGEST_MS = 2**40
"""Limit of durations (34 years), so that sums of durations and timestamps fit in 64 bits."""

MAX_BUCKETS_KEPT = 10_000
"""Limit of buckets of a stream that are open or in its window."""

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+-[0-9]+")
_INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata"})

_NAME_NO_ID = frozenset({"single-object", "raw"})
"""Formats whose records name no id of a registry."""


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
    if name in _INTERNAL_TOPICS:
        raise ValueError("must not be a topic that Kafka itself uses")
    return name


def _region(name: str) -> str:
    if name and not _REGION.fullmatch(name):
        raise ValueError('must be an AWS region, as "eu-central-1"')
    return name


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
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KafkaSettings(_Section):
    """Cluster, group and topics; `client` is passed to librdkafka unchanged."""

    bootstrap_servers: Annotated[str, AfterValidator(broker_addresses)] = "localhost:9092"
    """One or more host:port, separated by commas."""
    group_id: _Text = "viewer-consumer"
    """The consumer group; also the beginning of the transactional id."""
    input_topic: _Topic = "viewer-events"
    """The topic that is read; it is never created."""
    output_topic: _Topic = "viewer-bucket-summaries"
    """The topic of summaries."""
    state_topic: _Topic = "viewer-consumer-state"
    """The topic of stored state; one topic per group."""
    dead_letter_topic: _Topic = "viewer-events-dead-letter"
    """The topic of rejected records."""
    create_topics: bool = True
    """Create the output, dead-letter and state topics if they are missing."""
    msk_iam_region: Annotated[str, AfterValidator(_region)] = ""
    """Log in to Amazon MSK by IAM, with tokens signed for this AWS region; empty for another log-in. Needs the extra
    msk-iam.
    """
    client: dict[str, _ClientValue] = {}
    """Settings of librdkafka, as TLS and SASL. Each key goes to the clients that know it; keys that would break
    exactly-once are refused.
    """


class EventNameSettings(_Section):
    """The producers' names of event types, by kind; an empty list means the built-in names.

    A type whose records carry several facts is in several lists.
    """

    join: _Names = ()
    """Names of types by which a viewer joins."""
    leave: _Names = ()
    """Names of types by which a viewer leaves."""
    bitrate: _Names = ()
    """Names of types that carry a bitrate."""
    buffer: _Names = ()
    """Names of types that carry the duration of a stall."""
    heartbeat: _Names = ()
    """Names of types that only say that the viewer is there."""
    ignore: _Names = ()
    """Names of types that are skipped, and not rejected."""


class InputSettings(_Section):
    """Framing, schemas and limits of the input topic's records."""

    format: Literal["confluent", "apicurio", "single-object", "raw"] = "confluent"
    """What comes before the payload of a record."""
    schema_registry_url: Annotated[str, AfterValidator(registry_url)] = ""
    """http(s)://[user:password@]host of the schema registry; empty for none."""
    schema_registry_user: Annotated[str, AfterValidator(_user)] = ""
    """User of basic authentication, if it is not part of the address."""
    schema_registry_password: SecretStr = SecretStr("")
    """Its password."""
    schema_registry_token: Annotated[SecretStr, AfterValidator(_token)] = SecretStr("")
    """Token of bearer authentication, instead of user and password."""
    schema_registry_ca_file: Path | None = None
    """PEM file of the trusted authorities, instead of the system's."""
    schema_registry_certificate_file: Path | None = None
    """PEM file of our own certificate, for a registry that asks for one (mutual TLS)."""
    schema_registry_key_file: Path | None = None
    """PEM file of its private key; empty if it is in the file of the certificate."""
    schema_registry_key_password: SecretStr = SecretStr("")
    """Password of the private key, if it is encrypted."""
    schemas: Annotated[tuple[Path, ...], BeforeValidator(_list_of_one)] = ()
    """Schema files; a list, or one. A file may name types of files before it."""
    ids: dict[Annotated[int, Field(ge=0, le=2**31 - 1)], Path] = {}
    """Registry ids pinned to schema files."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where partitions without a committed offset begin."""
    time: Literal["event", "kafka"] = "event"
    """Where an event's time comes from: its own field, or its record's Kafka timestamp."""
    max_future_ms: _Ms = 60_000
    """An event further ahead of its record's Kafka timestamp is rejected; a record further ahead of this machine's
    clock waits, then is rejected.
    """
    max_payload_bytes: Annotated[_Int, Field(ge=1, le=2**27)] = 65_536
    """Larger records are rejected."""
    unknown_schema_wait_ms: _Ms = 30_000
    """How long the worker keeps asking for an id that the registry does not know."""
    key_format: Literal["text", "confluent"] = "text"
    """How the key of a record begins, where an id is "@key": UTF-8 text, or an Avro string behind a registry id."""
    breaker: bool = True
    """Stop a partition when nearly all of its records are rejected; false sends all of them to the dead-letter topic.
    """
    fields: FieldSettings = FieldSettings()
    events: EventNameSettings = EventNameSettings()


class OutputSettings(_Section):
    """Encoding of summaries."""

    format: Literal["json", "confluent"] = "json"
    """JSON, or Avro by schemas/bucket_summary.avsc, registered at start as <output topic>-value."""


class WindowSettings(_Section):
    """Buckets, lateness, idleness and the limits of what a partition holds."""

    window_duration_ms: _PositiveMs = 60_000
    """Length of the window that the gauges show."""
    bucket_ms: _PositiveMs = 10_000
    """Length of a bucket."""
    grace_ms: _Ms = 10_000
    """How long a bucket stays open after its end."""
    counting: Literal["events", "sessions"] = "sessions"
    """Count each viewer (sessions), or add joins and subtract leaves (events)."""
    viewer_timeout_ms: _PositiveMs = 90_000
    """A viewer without events for this long is no longer present; at least bucket_ms. Three heartbeat intervals are
    usual.
    """
    stream_idle_ms: _Ms = 60_000
    """How far a quiet stream's time may lag behind its partition's."""
    partition_idle_ms: _PositiveMs = 30_000
    """After this long without records, the clock advances the partition's time, so that its last buckets close."""
    max_streams: _Count = 1_000_000
    """Streams per partition; events of further streams are rejected."""
    max_viewers: _Count = 5_000_000
    """Viewers per partition; events of further viewers count only in bitrates and stalls."""
    max_events_per_viewer_bucket: Annotated[_Int, Field(ge=1, le=255)] = 64  # ranks are stored in a byte
    """Distinct events of one viewer kept per open bucket; later ones count only in bitrates and stalls."""


class CommitSettings(_Section):
    """Intervals of commits and checkpoints."""

    interval_ms: Annotated[_Span, Field(ge=10, le=60_000)] = 100
    """How often a transaction commits while there is something to publish; offsets alone are committed every second."""
    checkpoint_interval_ms: Annotated[_Span, Field(ge=10, le=86_400_000)] = 30_000
    """How often changed state is stored; after a crash, records since then are replayed."""


class HttpSettings(_Section):
    """The address of metrics, health and page."""

    host: Annotated[_Text, AfterValidator(listen_host)] = "0.0.0.0"  # noqa: S104  # metrics are scraped from other hosts; set another where that is not wanted
    """Address of page, metrics and health; there is no authentication."""
    port: Annotated[_Int, Field(ge=0, le=65_535)] = 9464
    """Its port; 0 takes any free port and logs it."""
    max_stream_series: Annotated[_Int, Field(ge=0, le=1_000_000)] = 2_000
    """Number of streams with gauges of their own: those with the most viewers."""
    page: bool = True
    """Serve the page of the worker's streams and its API; without it no closed buckets are kept in memory."""


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
        text = "; ".join(f"{conflict.keys[0]}: {conflict.message}" for conflict in _conflicts(self))
        if text:
            raise PydanticCustomError(CONFLICTS, "{text}", {"text": text})
        return self


CONFLICTS = "conflicts"
"""The type of the validation error of conflicting settings."""


def _conflicts(settings: Settings) -> Iterator[Conflict]:
    yield from _window_conflicts(settings.windows)
    yield from _input_conflicts(settings)
    yield from _schema_source_conflicts(settings)
    yield from _kafka_conflicts(settings)


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


def _schema_source_conflicts(settings: Settings) -> Iterator[Conflict]:
    """Where schemas and keys are said to come from, if nothing would be looked for there."""
    source = settings.input
    if source.format in _NAME_NO_ID:
        why = f'has no effect where input.format = "{source.format}": its records name no id'
        if source.ids:
            yield Conflict(("input.ids", "input.format"), why)
        if source.schema_registry_url and settings.output.format != "confluent":
            yield Conflict(("input.schema_registry_url", "input.format"), why)
    elif source.schemas and source.schema_registry_url and not source.ids:
        yield Conflict(
            ("input.schemas", "input.schema_registry_url"),
            "has no effect: the schemas are those of input.schema_registry_url; leave out one of them",
        )
    if source.key_format != "text" and not source.fields.need_keys():
        yield Conflict(("input.key_format", "input.fields"), 'has no effect: no id of input.fields is "@key"')
    for key in ("schema_registry_ca_file", "schema_registry_certificate_file"):
        if getattr(source, key) and source.schema_registry_url.lower().startswith("http:"):
            yield Conflict(
                (f"input.{key}", "input.schema_registry_url"),
                "has no effect: input.schema_registry_url begins with http://",
            )


def _log_in_conflicts(source: InputSettings) -> Iterator[Conflict]:
    given = {
        "input.schema_registry_user": source.schema_registry_user,
        "input.schema_registry_password": source.schema_registry_password,
        "input.schema_registry_token": source.schema_registry_token,
        "input.schema_registry_ca_file": source.schema_registry_ca_file,
        "input.schema_registry_certificate_file": source.schema_registry_certificate_file,
    }
    for key in (key for key, value in given.items() if value and not source.schema_registry_url):
        yield Conflict((key, "input.schema_registry_url"), "has no effect without input.schema_registry_url")
    ways = ["input.schema_registry_url"] if "@" in urlsplit(source.schema_registry_url).netloc else []
    ways += [key for key in ("input.schema_registry_user", "input.schema_registry_token") if given[key]]
    if len(ways) > 1:
        yield Conflict((ways[1], ways[0]), f"{ways[0]} is set too; set only one of them")
    if source.schema_registry_password and not source.schema_registry_user:
        yield Conflict(("input.schema_registry_password", "input.schema_registry_user"), "needs a user")
    for key in ("schema_registry_key_file", "schema_registry_key_password"):
        if getattr(source, key) and not source.schema_registry_certificate_file:
            other = "input.schema_registry_certificate_file"
            yield Conflict((f"input.{key}", other), f"has no effect without {other}")


def _kafka_conflicts(settings: Settings) -> Iterator[Conflict]:
    kafka = settings.kafka
    names = ("input_topic", "output_topic", "state_topic", "dead_letter_topic")
    yield from _twice([(f"kafka.{name}", getattr(kafka, name)) for name in names], "each topic is a topic of its own")
    yield from _topics_of_one_metric({f"kafka.{name}": getattr(kafka, name) for name in names})
    if settings.commit.checkpoint_interval_ms < settings.commit.interval_ms:
        yield Conflict(
            ("commit.checkpoint_interval_ms", "commit.interval_ms"),
            f"must be at least commit.interval_ms ({settings.commit.interval_ms}), "
            f"not {settings.commit.checkpoint_interval_ms}",
        )


def _topics_of_one_metric(names: Mapping[str, str]) -> Iterator[Conflict]:
    """Brokers name metrics after topics, with _ for each dot, and create no topic whose metrics another has."""
    first: dict[str, str] = {}
    for key, name in names.items():
        other = first.setdefault(name.replace(".", "_"), key)
        if name != names[other]:
            yield Conflict(
                (key, other), f'"{name}" collides with {other} ("{names[other]}"): to brokers . and _ are the same'
            )


def _twice(named: Sequence[tuple[str, str]], rule: str) -> Iterator[Conflict]:
    first: dict[str, str] = {}
    for key, value in named:
        other = first.setdefault(value, key)
        if other != key:
            yield Conflict((key, other), f'is "{value}", as {other} is; {rule}')


def load_settings(
    config: Path | None,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    checks: Sequence[Check] = (),
) -> Settings:
    """Load the settings from flags (`section.key=value`), environment, TOML file and defaults, in that precedence.

    Args:
        config: the TOML file.
        overrides: the flags.
        environ: the environment.
        checks: what else to look at, as the files that settings name.

    Raises:
        UsageError: all errors, one per line: origin, key, what is allowed.
    """
    layers = read_layers(config, overrides, environ or {})
    lines = list(layers.errors)
    wrong: list[Location] = []
    try:
        settings = Settings.model_validate(layers.values)
    except ValidationError as error:
        unsound = [detail for detail in error.errors(include_url=False) if detail["type"] != CONFLICTS]
        lines += explain_values(unsound, layers, Settings)
        wrong = [detail["loc"] for detail in unsound]
        settings = _sound_part(layers, wrong)
    lines += explain_conflicts((_conflicts, *checks), settings, layers, wrong)
    if lines:
        raise UsageError("\n".join(lines))
    return settings.given_by(options_of(config, overrides))


def _sound_part(layers: Layers, wrong: Sequence[Location]) -> Settings:
    """The settings without invalid values, so that their conflicts are reported with them; some may conflict."""
    values = layers.without(wrong)
    sections: dict[str, _Section] = {}
    for name, field in Settings.model_fields.items():
        with contextlib.suppress(ValidationError):
            sections[name] = type(field.default).model_validate(values.get(name, {}))
    return Settings.model_construct(**sections)  # type: ignore[arg-type]  # each is of the type of its default
