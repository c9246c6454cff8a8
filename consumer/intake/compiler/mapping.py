"""The mapping of producers' schemas: paths of fields and names of event types, from the settings."""

import re
from typing import NamedTuple

from consumer.settings.field_sources import KEY, FieldPath
from consumer.settings.field_sources import FieldPart as ChosenPart
from consumer.settings.model import InputSettings
from consumer.windows.events import KINDS

IGNORE_KIND = 64
"""Instead of facts: of event types that the settings ignore."""

UNKNOWN_KIND = 128
"""Instead of facts: of event types that the settings don't name."""

STREAM_ID, VIEWER_ID, TIMESTAMP_MS, BITRATE_BPS, DURATION_MS, TYPE = range(6)
FIELDS = ("stream_id", "viewer_id", "timestamp_ms", "bitrate_bps", "duration_ms", "type")
"""Names of fields, by number."""

KAFKA_TIMESTAMP = len(FIELDS)
FIELDS_AT_FAULT = (*FIELDS, "the Kafka timestamp")
"""Of what a reject can be."""

Path = tuple[str, ...]

_DEFAULT_PLACES: tuple[tuple[Path, ...], ...] = (
    (("stream_id",),),
    (("viewer_id",),),
    (("timestamp_ms",),),
    (("event", "bitrate_bps"), ("bitrate_bps",)),
    (("event", "duration_ms"), ("duration_ms",)),
    (("event",), ("type",), ()),  # the last: the record's own name
)
_DEFAULT_NAMES = {
    "join": ("ViewerJoin", "join"),
    "leave": ("ViewerLeave", "leave"),
    "bitrate": ("BitrateReport", "bitrate", "PlaybackReport"),
    "buffer": ("BufferEvent", "buffer", "PlaybackReport"),
    "heartbeat": ("ViewerHeartbeat", "heartbeat"),
}
_LATER_NAMES = frozenset({"PlaybackReport", "ViewerHeartbeat", "heartbeat"})
"""Built-in names that earlier releases did not know. Where they are not listed, a field with other names is preferred,
and they need no field: so a schema means what it did when the records of a replay were counted."""


class FieldSource(NamedTuple):
    """One source of a field: the first of `paths` that a schema has."""

    paths: tuple[Path, ...]
    scale: int | float = 1

    @property
    def is_key(self) -> bool:
        """Whether it is the record's key."""
        return self.paths == ((KEY,),)


class FieldPart(NamedTuple):
    """A field, or a part of an id: the first of its sources that is there in a record, else a default."""

    sources: tuple[FieldSource, ...]
    default: str | None = None


class FieldPlace(NamedTuple):
    """Where a field comes from."""

    parts: tuple[FieldPart, ...]
    """Several are joined."""
    utc: bool = False
    """Whether times as text without an offset are UTC."""

    @property
    def is_simple(self) -> bool:
        """Whether there is nothing to choose or to join in a record."""
        first = self.parts[0]
        return len(self.parts) == len(first.sources) == 1 and first.default is None and not first.sources[0].is_key


class Mapping(NamedTuple):
    """How writer schemas are mapped to events."""

    places: tuple[FieldPlace, ...]
    """By field."""
    kinds: dict[str, int]
    """What an event says by the name of its type, as bits of `EventColumns.facts`; `IGNORE_KIND` for ignored ones."""
    later_names: frozenset[str]
    """Of the built-in names in effect."""
    kafka_time: bool
    """The Kafka timestamp is the event's, so schemas need no `timestamp_ms`."""
    takes_unclear: bool
    """Whether a name without a namespace may fit two records: both are of that type, as under rules version 2."""

    def kind_of(self, name: str) -> int:
        """The facts of an event type, by its full name, else by its name without the namespace."""
        found = self.kinds.get(name)
        return self.kinds.get(name.rsplit(".", 1)[-1], UNKNOWN_KIND) if found is None else found

    def numbers(self) -> dict[int, int]:
        """The facts of event types that are whole numbers, by number; their names are its decimal text."""
        return {int(name): kind for name, kind in self.kinds.items() if _is_whole(name)}

    def is_later(self, name: str) -> bool:
        """Whether an event type is known only by a later built-in name."""
        return (name if name in self.kinds else name.rsplit(".", 1)[-1]) in self.later_names


def mapping_from(source: InputSettings, *, takes_unclear: bool = False) -> Mapping:
    """The mapping by the settings, with built-in defaults."""
    listed = _listed(source)
    return Mapping(
        places=tuple(_place(source, field) for field in range(len(FIELDS))),
        kinds=_kinds(source, listed),
        later_names=_LATER_NAMES - listed,
        kafka_time=source.time == "kafka",
        takes_unclear=takes_unclear,
    )


def _is_whole(name: str) -> bool:
    """Whether a name is the text of a long."""
    return re.fullmatch("0|-?[1-9][0-9]{0,18}", name) is not None and -(2**63) <= int(name) < 2**63


def _place(source: InputSettings, field: int) -> FieldPlace:
    chosen: FieldPath | None = getattr(source.fields, FIELDS[field])
    if chosen is None:
        return FieldPlace((FieldPart((FieldSource(_DEFAULT_PLACES[field]),)),))
    return FieldPlace(tuple(map(_part, chosen.joined)), chosen.text_without_offset == "utc")


def _part(chosen: ChosenPart) -> FieldPart:
    sources = [FieldSource((tuple(each.path.split(".")),), chosen.scale_of(each)) for each in chosen.alternatives]
    return FieldPart(tuple(sources), chosen.default)


def _listed(source: InputSettings) -> frozenset[str]:
    """Names of event types that the settings list."""
    return frozenset(name for kind in (*KINDS, "ignore") for name in getattr(source.events, kind))


def _kinds(source: InputSettings, listed: frozenset[str]) -> dict[str, int]:
    """A name in several lists has the facts of all; one that is listed loses its built-in meaning."""
    kinds = dict.fromkeys(source.events.ignore, IGNORE_KIND)
    for kind, fact in KINDS.items():
        for name in getattr(source.events, kind) or [each for each in _DEFAULT_NAMES[kind] if each not in listed]:
            kinds[name] = kinds.get(name, 0) | fact
    return kinds
