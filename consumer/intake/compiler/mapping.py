"""The mapping of producers' schemas: paths of fields and names of event types, from the settings."""

from typing import NamedTuple

from consumer.settings.model import InputSettings
from consumer.windows.events import BITRATE, BUFFER, JOIN, KINDS, LEAVE

IGNORE_KIND = 4
"""The kind of event types that the settings ignore."""

UNKNOWN_KIND = 5
"""The kind of event types that the settings don't name."""

STREAM_ID, VIEWER_ID, TIMESTAMP_MS, BITRATE_BPS, DURATION_MS, TYPE = range(6)
FIELDS = ("stream_id", "viewer_id", "timestamp_ms", "bitrate_bps", "duration_ms", "type")
"""Names of fields, by number."""

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
    "ViewerJoin": JOIN,
    "join": JOIN,
    "ViewerLeave": LEAVE,
    "leave": LEAVE,
    "BitrateReport": BITRATE,
    "bitrate": BITRATE,
    "BufferEvent": BUFFER,
    "buffer": BUFFER,
}


class FieldSource(NamedTuple):
    """The source of a field: the first of `paths` that a schema has."""

    paths: tuple[Path, ...]
    scale: int | float = 1


class Mapping(NamedTuple):
    """How writer schemas are mapped to events."""

    places: tuple[FieldSource, ...]
    """By field."""
    kinds: dict[str, int]
    """Kind by name of an event type; `IGNORE_KIND` for ignored ones."""
    kafka_time: bool
    """The Kafka timestamp is the event's, so schemas need no `timestamp_ms`."""

    def kind_of(self, name: str) -> int:
        """The kind of an event type, by its full name, else by its name without the namespace."""
        found = self.kinds.get(name)
        return self.kinds.get(name.rsplit(".", 1)[-1], UNKNOWN_KIND) if found is None else found


def mapping_from(source: InputSettings) -> Mapping:
    """The mapping by the settings, with built-in defaults."""
    return Mapping(
        places=tuple(_place(source, field) for field in range(len(FIELDS))),
        kinds=_kinds(source),
        kafka_time=source.time == "kafka",
    )


def _place(source: InputSettings, field: int) -> FieldSource:
    chosen = getattr(source.fields, FIELDS[field])
    if chosen is None:
        return FieldSource(_DEFAULT_PLACES[field])
    return FieldSource((tuple(chosen.path.split(".")),), chosen.scale)


def _kinds(source: InputSettings) -> dict[str, int]:
    chosen = {kind: getattr(source.events, name) for kind, name in enumerate(KINDS)}
    kinds = {name: kind for name, kind in _DEFAULT_NAMES.items() if not chosen[kind]}
    for kind, names in chosen.items():
        kinds |= dict.fromkeys(names, kind)
    return kinds | dict.fromkeys(source.events.ignore, IGNORE_KIND)
