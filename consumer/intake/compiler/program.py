"""Compile a writer schema to a program that extracts the mapped fields and skips the rest."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from consumer.intake.compiler.assembler import Assembler
from consumer.intake.compiler.conversion import Conversion, NotANumber, conversion_of, is_time_as_text
from consumer.intake.compiler.mapping import (
    BITRATE_BPS,
    DURATION_MS,
    FIELDS,
    STREAM_ID,
    TIMESTAMP_MS,
    TYPE,
    UNKNOWN_KIND,
    VIEWER_ID,
    FieldPart,
    FieldSource,
    Mapping,
    Path,
)
from consumer.intake.compiler.notes import Notes, Place, conversion_text
from consumer.intake.compiler.schema_json import ParsedSchema, Schema, SchemaRefused
from consumer.intake.compiler.schema_walk import (
    described,
    leaves,
    logical_type,
    members,
    takes_bytes,
    type_of,
    with_article,
)
from consumer.intake.vm.instructions import (
    BLOCK,
    CLEAR_FIELD,
    CLEAR_SLOTS,
    DECIMAL,
    DOUBLE,
    END,
    FIXED,
    FLOAT,
    GO,
    HOLD,
    IF_KEY,
    INDEX,
    INTEGER,
    KEY,
    KIND,
    KIND_OF_BOOLEAN,
    KIND_OF_INDEX,
    KIND_OF_NUMBER,
    KIND_OF_TEXT,
    LITERAL,
    MAKE_ID,
    MAX_LOOP_DEPTH,
    NEXT_ITEM,
    PART,
    PICK,
    PLAIN_TEXT,
    RAW,
    SKIP_NUMBER,
    SKIP_SIZED,
    STORE_ID,
    STORE_NUMBER,
    STORE_PART,
    STORE_TIME,
    TEXT,
    UNION,
    UUID,
    A,
    B,
    Program,
)
from consumer.windows.events import BITRATE, BUFFER

MAX_DEPTH = 64
MAX_TYPES = 20_000
MAX_FIXED_BYTES = 2**31 - 1
NAMES_SHOWN = 10

_READ_NUMBER = {"int": INTEGER, "long": INTEGER, "float": FLOAT, "double": DOUBLE}
_FIXED_SIZES = {"float": 4, "double": 8}
_WHOLE = frozenset({"int", "long"})
_LATER_TYPES = _WHOLE | {"boolean"}
"""Types of the event type that earlier releases did not read: another field is preferred, as for names."""
_BOOLEANS = ("false", "true")
"""Event types that are a boolean, by its value."""
_IDS = (STREAM_ID, VIEWER_ID)
_NUMBERS = (TIMESTAMP_MS, BITRATE_BPS, DURATION_MS)
_AN_ID = "a string, bytes, a uuid, a fixed, an enum, an int or a long"
_EXPECTED = {
    STREAM_ID: _AN_ID,
    VIEWER_ID: _AN_ID,
    TIMESTAMP_MS: "a timestamp, a number or a text of ISO 8601",
    BITRATE_BPS: "a number",
    DURATION_MS: "a number",
    TYPE: "an enum, a string, a union of records, an int or a boolean",
}
_NO_TEXT = frozenset({"decimal", "duration"})
"""Logical types of bytes and fixed that are no ids."""

_NO_SLOT = -1
_NO_DEFAULT = -1
_NEEDED_FOR = {BITRATE: BITRATE_BPS, BUFFER: DURATION_MS}


class _Wanted(NamedTuple):
    """A field to extract, or one of the sources of a part of it, and its path relative to the current type."""

    field: int
    path: Path
    scale: int | float
    part: int = 0
    slot: int = _NO_SLOT
    """Where it is kept until a record is read; `_NO_SLOT` if it goes straight to its field."""
    whole: Path = ()
    """Its path from the top, for messages."""

    @property
    def place(self) -> Place:
        """What it is in the notes."""
        return self.field, self.whole


class _Choice(NamedTuple):
    """The slots of the sources of a part; the first that holds something counts."""

    first_slot: int
    sources: int
    default: str | None = None


def compile_program(parsed: ParsedSchema, mapping: Mapping, notes: Notes | None = None) -> Program:
    """Compile a writer schema; `notes` are filled with what is found.

    Raises:
        SchemaRefused: a field is missing or unsupported, or a limit is exceeded; names the field and the reason.
    """
    try:
        return _Compiler(parsed, mapping, notes or Notes()).run()
    except SchemaRefused as refusal:
        raise SchemaRefused(f'schema "{parsed.name}": {refusal}') from None


class _Compiler:
    """One compilation; call `run` once."""

    def __init__(self, parsed: ParsedSchema, mapping: Mapping, notes: Notes) -> None:
        self._notes = notes
        self._parsed = parsed
        self._mapping = mapping
        self._out = Assembler(mapping.kinds)
        self._open: list[str] = []
        self._loops = 0
        self._types = 0
        self._found: set[tuple[int, int]] = set()
        """Fields and parts of which the schema has a source."""
        self._unfit: dict[tuple[int, int], tuple[Path, str]] = {}
        self._type_names: dict[str, int] = {}
        self._record_types: dict[str, dict[str, None]] = {}
        """Full names of records that are event types by their short names."""
        self._slots = 0
        self._key_slots: list[int] = []
        self._choices: dict[int, list[_Choice]] = {}
        """By field, one for each part: of fields that are chosen, joined or converted when all of a record is read."""

    def run(self) -> Program:
        fields = [f for f in range(len(FIELDS)) if not (f == TIMESTAMP_MS and self._mapping.kafka_time)]
        wants = [want for field in fields for want in self._wants_of(field)]
        self._notes.wanted.update(want.place for want in wants)
        self._value(self._parsed.schema, wants, depth=0)
        self._make_fields()
        self._out.add(END)
        self._check_types()
        self._check_found(fields)
        entry = self._begin()
        makes_ids = not self._choices.keys().isdisjoint(_IDS)
        return Program(self._parsed.name, self._out.program_code(), entry, makes_ids, bool(self._key_slots))

    def _wants_of(self, field: int) -> Iterator[_Wanted]:
        """What to look for in the schema; keeps slots for what is chosen or joined."""
        place = self._mapping.places[field]
        if place.is_simple:
            (source,) = place.parts[0].sources
            path = self._choose(field, source)
            yield _Wanted(field, path, source.scale, whole=path)
            return
        self._choices[field] = []
        for number, part in enumerate(place.parts):
            slot = self._new_slots(len(part.sources))
            self._choices[field].append(_Choice(slot, len(part.sources), part.default))
            if part.default is not None:
                self._found.add((field, number))
            for i, source in enumerate(part.sources):
                if source.is_key:
                    self._key_slots.append(slot + i)
                    self._found.add((field, number))
                else:
                    path = self._choose(field, source)
                    yield _Wanted(field, path, source.scale, number, slot + i, path)

    def _new_slots(self, count: int) -> int:
        first = self._slots
        self._slots += count
        return first

    def _in_slot(self, want: _Wanted) -> _Wanted:
        """An id that is not just a text of the record, or may be there more than once, in a slot."""
        if want.slot != _NO_SLOT or want.field not in _IDS:
            return want
        if want.field not in self._choices:
            self._choices[want.field] = [_Choice(self._new_slots(1), 1)]
        return want._replace(slot=self._choices[want.field][0].first_slot)

    def _make_fields(self) -> None:
        """Emit what turns slots into fields."""
        for field, choices in self._choices.items():
            if field not in _IDS:
                ((slot, count, _),) = choices
                self._out.add(PICK, field, slot, count)
                continue
            self._out.add(MAKE_ID, field, len(choices))
            for slot, count, default in choices:
                literal = _NO_DEFAULT if default is None else self._out.add_literals([default])
                self._out.add(PART, slot, count, literal)

    def _begin(self) -> int:
        """Emit what comes before the first byte; return the row where programs begin."""
        if not self._slots:
            return 0
        entry = self._out.here()
        self._out.add(CLEAR_SLOTS, 0, self._slots)
        for slot in self._key_slots:
            self._out.add(KEY, slot)
        self._out.add(GO, 0)
        return entry

    def _choose(self, field: int, source: FieldSource) -> Path:
        """The first path that the schema has; for event types the first with known types; else any."""
        there = {path: found for path in source.paths if (found := leaves(self._parsed, path))}
        for of_old in (True, False):
            for path, found in there.items():
                if field != TYPE or self._tells_type(found, of_old=of_old):
                    return path
        return next((path for path in there if path), source.paths[0])

    def _tells_type(self, found: list[Schema], *, of_old: bool) -> bool:
        """Whether known event types can occur there."""
        if of_old:
            found = [schema for schema in found if type_of(schema) not in _LATER_TYPES]
        names = [name for schema in found for name in _names_in(schema)]
        kinds = {type_of(schema) for schema in found}
        is_any = "string" in kinds or (not kinds.isdisjoint(_WHOLE) and bool(self._mapping.numbers()))
        known = [name for name in names if self._mapping.kind_of(name) != UNKNOWN_KIND]
        return is_any or any(not (of_old and self._mapping.is_later(name)) for name in known)

    # One method per group of types. Each emits code that ends behind the value.

    def _value(self, schema: Schema, wants: list[_Wanted], depth: int) -> None:
        self._types += 1
        if self._types > MAX_TYPES:
            raise SchemaRefused(f"it has more than {MAX_TYPES} types with all that it names")
        if depth > MAX_DEPTH:
            raise SchemaRefused(f"its types are nested more than {MAX_DEPTH} levels deep")
        schema = self._parsed.resolve(schema)
        match type_of(schema):
            case "union":
                self._union(schema, wants, depth)
            case "record" | "error":
                self._record(schema, wants, depth)
            case "array" | "map":
                self._items(schema, wants, depth)
            case _:
                self._leaf(schema, wants)

    def _record(self, schema: Schema, wants: list[_Wanted], depth: int) -> None:
        name = str(schema["name"])
        if name in self._open:
            raise SchemaRefused(f'it is recursive: record "{name}" is inside itself; such schemas are not read')
        self._open.append(name)
        self._check_names(name, schema)
        for want in wants:
            if want.path:
                continue
            if want.field == TYPE:
                self._keep(want, KIND, self._kind_of(name, is_record=True))
                self._notes.add_read(want.place, schema, "by its name")
            else:
                self._note_unfit(want, f'the record "{name}"')
        for member, member_type in members(schema):
            inner = [want._replace(path=want.path[1:]) for want in wants if want.path[:1] == (member,)]
            self._value(member_type, inner, depth + 1)
        self._open.pop()

    @staticmethod
    def _check_names(record: str, schema: Schema) -> None:
        seen: set[str] = set()
        for name, _ in members(schema):
            if name in seen:
                raise SchemaRefused(f'record "{record}" has two fields "{name}"; it is ambiguous')
            seen.add(name)

    def _union(self, branches: Schema, wants: list[_Wanted], depth: int) -> None:
        out = self._out
        base = out.add_jumps(len(branches))
        out.add(UNION, len(branches), base)
        ways_out = []
        empty = []
        for i, branch in enumerate(branches):
            start = out.here()
            out.aim_branch(base + i, start)
            self._value(branch, wants, depth + 1)
            if out.here() == start:
                empty.append(base + i)
            elif i + 1 < len(branches):
                ways_out.append(out.add(GO))
        end = out.here()
        for row in ways_out:
            out.aim(row, A, end)
        for place in empty:
            out.aim_branch(place, end)

    def _items(self, schema: Schema, wants: list[_Wanted], depth: int) -> None:
        """Arrays and maps are read item by item, because the byte size of a negative count is not trustworthy."""
        is_map = type_of(schema) == "map"
        for want in wants:
            if not want.path:
                self._note_unfit(want, with_article(type_of(schema)))
            elif not is_map:
                self._note_unfit(want, f"something inside {with_article(type_of(schema))}")
        items = schema["values" if is_map else "items"]
        if not is_map and not takes_bytes(self._parsed, items):
            raise SchemaRefused("an array has items of zero bytes; five bytes could claim billions of them")
        if self._loops >= MAX_LOOP_DEPTH:
            raise SchemaRefused(f"arrays and maps are nested more than {MAX_LOOP_DEPTH} levels deep")
        out = self._out
        head = out.add(BLOCK, self._loops)
        out.add(SKIP_NUMBER)  # a negative count is followed by the block's bytes; a positive one skips this row
        start = out.here()
        self._loops += 1
        if is_map:
            self._entry(items, [want for want in wants if want.path], depth)
        else:
            self._value(items, [], depth + 1)
        self._loops -= 1
        out.add(NEXT_ITEM, self._loops, start)
        out.aim(head, B, out.here())

    def _entry(self, values: Schema, wants: list[_Wanted], depth: int) -> None:
        """A key of a map and its value, of which some are wanted; of a key that is there twice the last counts."""
        out = self._out
        out.add(TEXT if wants else SKIP_SIZED)
        ways_out = []
        for key in dict.fromkeys(want.path[0] for want in wants):
            unlike = out.add(IF_KEY, out.add_literals([key]))
            inner = [self._in_slot(want._replace(path=want.path[1:])) for want in wants if want.path[0] == key]
            for want in inner:
                out.add(*((CLEAR_FIELD, want.field) if want.slot == _NO_SLOT else (CLEAR_SLOTS, want.slot, 1)))
            self._value(values, inner, depth + 1)
            ways_out.append(out.add(GO))
            out.aim(unlike, B, out.here())
        self._value(values, [], depth + 1)
        end = out.here()
        for row in ways_out:
            out.aim(row, A, end)

    def _keep(self, want: _Wanted, op: int, *operands: int, scale: float = 0.0) -> None:
        """Emit what keeps a field, in its column or in its slot."""
        self._found.add((want.field, want.part))
        self._out.add(op, *operands, scale=scale)
        if want.slot != _NO_SLOT:
            self._out.add(HOLD, want.slot, want.field)

    def _keep_id(self, want: _Wanted, form: int, literals: int = 0) -> None:
        self._found.add((want.field, want.part))
        if form == PLAIN_TEXT and want.slot == _NO_SLOT:
            self._out.add(STORE_ID, want.field)
        else:
            self._out.add(STORE_PART, self._in_slot(want).slot, form, literals)

    def _leaf(self, schema: Schema, wants: list[_Wanted]) -> None:
        here = [want for want in wants if not want.path]
        match type_of(schema):
            case "null":
                self._notes.null.update(want.place for want in wants)
            case "int" | "long" | "float" | "double":
                self._number(schema, here)
            case "string" | "bytes":
                self._text(schema, here)
            case "enum":
                self._enum(schema, here)
            case "fixed":
                self._fixed(schema, here)
            case "boolean":
                self._boolean(schema, here)
            case other:
                raise SchemaRefused(f'"{other}" is no type that we know')

    def _number(self, schema: Schema, wants: list[_Wanted]) -> None:
        kept: list[tuple[_Wanted, Conversion | None]] = []
        is_whole = type_of(schema) in _WHOLE
        for want in wants:
            if is_whole and (want.field in _IDS or (want.field == TYPE and self._mapping.numbers())):
                kept.append((want, None))
            elif want.field not in _NUMBERS:
                self._note_unfit(want, described(schema) + self._why_no_type(want, is_whole))
            else:
                try:
                    kept.append((want, conversion_of(schema, want.field, want.scale)))
                except NotANumber as unfit:
                    self._note_unfit(want, str(unfit))
        if not kept:
            self._skip_number(type_of(schema))
            return
        self._out.add(_READ_NUMBER[type_of(schema)])
        for want, way in kept:
            if way is not None:
                operands = (want.field, way.way, way.low, way.high, way.times, way.divisor)
                self._keep(want, STORE_NUMBER, *operands, scale=way.scale)
                self._notes.add_read(want.place, schema, conversion_text(way))
            elif want.field == TYPE:
                numbers = self._mapping.numbers()
                self._keep(want, KIND_OF_NUMBER, self._out.add_numbers(numbers), len(numbers))
                self._notes.add_read(want.place, schema, "by its number")
            else:
                self._keep_id(want, DECIMAL)
                self._notes.add_read(want.place, schema, "as decimal text")

    @staticmethod
    def _why_no_type(want: _Wanted, is_whole: bool) -> str:
        return " (input.events names no number)" if want.field == TYPE and is_whole else ""

    def _boolean(self, schema: Schema, wants: list[_Wanted]) -> None:
        kept = [want for want in wants if want.field == TYPE]
        self._refuse_all([want for want in wants if want.field != TYPE], schema)
        if not kept:
            self._out.skip_bytes(1)
            return
        self._out.add(RAW, 1)
        for want in kept:
            self._keep(want, KIND_OF_BOOLEAN, self._out.add_kinds(_BOOLEANS, self._kind_of))
            self._notes.add_read(want.place, schema, "by its value")

    def _skip_number(self, name: str) -> None:
        if name in _FIXED_SIZES:
            self._out.skip_bytes(_FIXED_SIZES[name])
        else:
            self._out.add(SKIP_NUMBER)

    def _text(self, schema: Schema, wants: list[_Wanted]) -> None:
        is_text = type_of(schema) == "string"
        kept = []
        for want in wants:
            if want.field in _IDS:
                fits = logical_type(schema) not in _NO_TEXT
            elif want.field == TIMESTAMP_MS:
                fits = is_time_as_text(schema)
            else:
                fits = want.field == TYPE and is_text
            if fits:
                kept.append(want)
            else:
                self._note_unfit(want, described(schema))
        self._out.add(TEXT if kept else SKIP_SIZED)
        for want in kept:
            self._notes.add_read(want.place, schema, "as ISO 8601" if want.field == TIMESTAMP_MS else "as text")
            if want.field == TYPE:
                self._keep(want, KIND_OF_TEXT, 0, self._out.type_name_count)
            elif want.field == TIMESTAMP_MS:
                self._keep(want, STORE_TIME, int(self._mapping.places[TIMESTAMP_MS].utc))
            else:
                self._keep_id(want, PLAIN_TEXT)

    def _enum(self, schema: Schema, wants: list[_Wanted]) -> None:
        symbols = schema["symbols"]
        self._out.add(INDEX, len(symbols))
        for want in wants:
            if want.field == TYPE:
                self._keep(want, KIND_OF_INDEX, self._out.add_kinds(symbols, self._kind_of))
                self._notes.add_read(want.place, schema, "by its symbols")
            elif want.field in _IDS:
                self._keep_id(want, LITERAL, self._out.add_literals(symbols))
                self._notes.add_read(want.place, schema, "by its symbols")
            else:
                self._note_unfit(want, described(schema))

    def _fixed(self, schema: Schema, wants: list[_Wanted]) -> None:
        size = schema["size"]
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_FIXED_BYTES:
            raise SchemaRefused(f'the size of fixed "{schema["name"]}" is not a valid number of bytes: {size}')
        kept = [want for want in wants if want.field in _IDS and logical_type(schema) not in _NO_TEXT]
        self._refuse_all([want for want in wants if want not in kept], schema)
        if not kept:
            self._out.skip_bytes(size)
            return
        self._out.add(RAW, size)
        is_uuid = size == 16 and logical_type(schema) == "uuid"
        for want in kept:
            self._keep_id(want, UUID if is_uuid else FIXED)
            self._notes.add_read(want.place, schema, "as text of a uuid" if is_uuid else "as text")

    # Check which fields were found.

    def _kind_of(self, name: str, *, is_record: bool = False) -> int:
        kind = self._mapping.kind_of(name)
        self._type_names[name] = self._notes.type_names[name] = kind
        if is_record and kind != UNKNOWN_KIND and name not in self._mapping.kinds:
            self._record_types.setdefault(name.rsplit(".", 1)[-1], {})[name] = None
        return kind

    def _note_unfit(self, want: _Wanted, what: str) -> None:
        self._unfit.setdefault((want.field, want.part), (want.whole, what))
        self._notes.add_unfit(want.place, what)

    def _refuse_all(self, wants: list[_Wanted], schema: Schema) -> None:
        for want in wants:
            self._note_unfit(want, described(schema))

    def _check_types(self) -> None:
        for short, full in self._record_types.items():
            if len(full) > 1 and not self._mapping.takes_unclear:
                raise SchemaRefused(
                    f'the event type "{short}" is short for {" and ".join(_shown(full))}; name them in full in '
                    f'input.events, as join = ["{next(iter(full))}"]'
                )
        if self._type_names and set(self._type_names.values()) == {UNKNOWN_KIND}:
            first = next(iter(self._type_names))
            raise SchemaRefused(
                f"none of its event types ({', '.join(_shown(self._type_names))}) is known; list them in input.events, "
                f'as join = ["{first}"]'
            )

    def _check_found(self, fields: list[int]) -> None:
        needing = {kind for name, kind in self._type_names.items() if not self._mapping.is_later(name)}
        for field in fields:
            needed = field in {STREAM_ID, VIEWER_ID, TIMESTAMP_MS, TYPE} or any(
                field == of_fact and any(kind & fact for kind in needing) for fact, of_fact in _NEEDED_FOR.items()
            )
            for number, part in enumerate(self._mapping.places[field].parts):
                if (field, number) not in self._found and (needed or (field, number) in self._unfit):
                    raise SchemaRefused(self._missing(field, number, part))

    def _missing(self, field: int, number: int, part: FieldPart) -> str:
        name = FIELDS[field]
        if (field, number) in self._unfit:
            path, what = self._unfit[field, number]
            return (
                f'{name}: the field "{".".join(path)}" holds {what}, but must hold {_EXPECTED[field]}; set '
                f"input.fields.{name} to another field"
            )
        tried = " or ".join(f'"{".".join(path)}"' for source in part.sources for path in source.paths if path)
        return f"{name}: there is no field {tried}; set input.fields.{name} to the path of the field that holds it"


def _names_in(schema: Schema) -> Sequence[str]:
    match type_of(schema):
        case "record" | "error":
            return [str(schema["name"])]
        case "enum":
            return list(schema["symbols"])
        case "boolean":
            return _BOOLEANS
        case _:
            return ()


def _shown(names: Iterable[str]) -> list[str]:
    """Names for a message, not all if there are many."""
    listed = list(names)
    return listed[:NAMES_SHOWN] + ["…"] * (len(listed) > NAMES_SHOWN)
