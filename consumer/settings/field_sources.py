"""Where the fields of an event are in a producer's records: the settings below `input.fields`."""

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from consumer.settings.errors import Conflict
from consumer.settings.field_paths import field_path

_T = TypeVar("_T")

KEY = "@key"
"""Instead of a path: the key of the Kafka record."""

MAX_PARTS = 8
"""Limit of the paths that are joined, and of those of which the first is taken."""

_IDS = ("stream_id", "viewer_id")
_TIME = "timestamp_ms"
_NOT_NUMBERS = (*_IDS, "type")


def _field_path(path: str) -> str:
    if path.startswith("@") and path != KEY:
        raise ValueError(f'must be a field name, or "{KEY}" for the key of the record')
    return field_path(path)


def _factor(value: object) -> object:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not 0 < number <= 1e12:
        raise ValueError("must be a number above 0 and up to 1e12")
    return int(number) if number.is_integer() else number


def _path_or_table(value: object) -> object:
    if isinstance(value, str):
        return {"path": value}
    if not isinstance(value, dict | BaseModel):
        raise ValueError('must be a path or a table, as { path = "content.id" }')  # noqa: TRY004  # pydantic collects ValueError only
    return value


def _path_table_or_list(value: object) -> object:
    if isinstance(value, list | tuple):
        return {"parts": value}
    return _path_or_table(value)


def _some_but_few(paths: tuple[_T, ...]) -> tuple[_T, ...]:
    if not paths:
        raise ValueError("must not be empty")
    if len(paths) > MAX_PARTS:
        raise ValueError(f"must be a list of at most {MAX_PARTS}, not {len(paths)}")
    return paths


class PathAlone(BaseModel):
    """A path in the writer schema, or `KEY`, and a factor that converts its number to the unit of the field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    _always: ClassVar[frozenset[str]] = frozenset()
    """Keys that checkpoints hold even if they are not set."""

    path: Annotated[str, AfterValidator(_field_path)] = ""
    scale: Annotated[int | float, BeforeValidator(_factor)] = 1

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        given = [key for key in ("path", "first", "parts") if key in self.model_fields_set]
        if not given:
            raise ValueError("path is missing")
        if len(given) > 1:
            raise ValueError(f"only one of {' and '.join(given)} may be given")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Checkpoints hold these settings: those that earlier releases knew look as they did."""
        dumped: dict[str, Any] = serialize(self)
        kept = self.model_fields_set | (self._always if self.path else frozenset())
        return {key: value for key, value in dumped.items() if key in kept}


_Alternatives = Annotated[
    tuple[Annotated[PathAlone, BeforeValidator(_path_or_table)], ...], AfterValidator(_some_but_few)
]


class FieldPart(PathAlone):
    """A part of an id: at a path, or at the first of several that is there."""

    first: _Alternatives = ()
    default: str | None = None
    """The text of what is null or missing."""

    @property
    def alternatives(self) -> tuple[PathAlone, ...]:
        """The paths of which the first that is there is taken; one for a single path."""
        return self.first or (self,)

    def scale_of(self, alternative: PathAlone) -> int | float:
        """The scale of one of `alternatives`: its own, else that of the whole."""
        return alternative.scale if "scale" in alternative.model_fields_set else self.scale


_Parts = Annotated[tuple[Annotated[FieldPart, BeforeValidator(_path_or_table)], ...], AfterValidator(_some_but_few)]


class FieldPath(FieldPart):
    """Where a field is: as a part, or in several parts that are joined. In settings `parts` is written as a list."""

    _always: ClassVar[frozenset[str]] = frozenset({"scale"})

    parts: _Parts = ()
    text_without_offset: Literal["utc"] | None = None
    """What a time as text without an offset from UTC is taken as; rejected if nothing is given."""

    @property
    def joined(self) -> tuple[FieldPart, ...]:
        """The parts that are joined; one if there is nothing to join."""
        return self.parts or (self,)

    def paths(self) -> Iterator[str]:
        """All paths."""
        for part in self.joined:
            for each in part.alternatives:
                yield each.path


_FieldPath = Annotated[FieldPath, BeforeValidator(_path_or_table)]
_IdPath = Annotated[FieldPath, BeforeValidator(_path_table_or_list)]


class FieldSettings(BaseModel):
    """Where the fields are in the producers' schemas; one that is left out has the path in our own schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    stream_id: _IdPath | None = None
    """The stream: a path, or a list of paths whose texts are joined; "@key" is the key of the record."""
    viewer_id: _IdPath | None = None
    """The viewer, unique in its stream; as stream_id."""
    timestamp_ms: _FieldPath | None = None
    """When it happened. Logical types and ISO 8601 are converted; a plain number may need a scale."""
    bitrate_bps: _FieldPath | None = None
    """The bitrate, in bits per second: a number, with a scale if its unit is another."""
    duration_ms: _FieldPath | None = None
    """The duration of a stall, in milliseconds: a number, with a scale if its unit is another."""
    type: _FieldPath | None = None
    """The event type: an enum, a string, a union of records, a whole number or a boolean."""

    def need_keys(self) -> bool:
        """Whether an id is, or may be, the key of the record."""
        return any(KEY in place.paths() for place in (self.stream_id, self.viewer_id) if place is not None)


def field_conflicts(fields: FieldSettings) -> Iterator[Conflict]:
    """Parts of a field's settings that do not fit this field."""
    for name in FieldSettings.model_fields:
        place: FieldPath | None = getattr(fields, name)
        if place is not None:
            yield from _conflicts(name, f"input.fields.{name}", place)


def _conflicts(name: str, key: str, place: FieldPath) -> Iterator[Conflict]:
    alternatives = [each for part in place.joined for each in part.alternatives]
    if name in _NOT_NUMBERS and any(each.scale != 1 for each in (place, *place.joined, *alternatives)):
        yield Conflict((f"{key}.scale",), "is for numbers only; leave it out")
    if name not in _IDS and place.default is not None:
        yield Conflict((f"{key}.default",), "is for ids only; leave it out")
    if name not in _IDS and any(each.path == KEY for each in alternatives):
        yield Conflict((key,), f'"{KEY}" is for ids only')
    if name != _TIME and place.text_without_offset is not None:
        yield Conflict((f"{key}.text_without_offset",), f"is for input.fields.{_TIME} only; leave it out")
