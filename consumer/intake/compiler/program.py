"""Compile a writer schema to a program that extracts the mapped fields and skips the rest."""

from typing import NamedTuple

from consumer.intake.compiler.assembler import Assembler
from consumer.intake.compiler.conversion import Conversion, NotANumber, conversion_of
from consumer.intake.compiler.mapping import (
    BITRATE_BPS,
    DURATION_MS,
    FIELDS,
    STREAM_ID,
    TIMESTAMP_MS,
    TYPE,
    UNKNOWN_KIND,
    VIEWER_ID,
    FieldSource,
    Mapping,
    Path,
)
from consumer.intake.compiler.notes import Notes, conversion_text
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
    DOUBLE,
    END,
    FLOAT,
    GO,
    INDEX,
    INTEGER,
    KIND,
    KIND_OF_INDEX,
    KIND_OF_TEXT,
    MAX_LOOP_DEPTH,
    NEXT_ITEM,
    RAW,
    SKIP_NUMBER,
    SKIP_SIZED,
    STORE_ID,
    STORE_NUMBER,
    TEXT,
    UNION,
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
_FIXED_SIZES = {"boolean": 1, "float": 4, "double": 8}
_IDS = (STREAM_ID, VIEWER_ID)
_NUMBERS = (TIMESTAMP_MS, BITRATE_BPS, DURATION_MS)
_EXPECTED = {
    STREAM_ID: "a string, bytes or a uuid",
    VIEWER_ID: "a string, bytes or a uuid",
    TIMESTAMP_MS: "a timestamp or a number",
    BITRATE_BPS: "a number",
    DURATION_MS: "a number",
    TYPE: "an enum, a string or a union of records",
}
_NEEDED_FOR = {BITRATE: BITRATE_BPS, BUFFER: DURATION_MS}


class _Wanted(NamedTuple):
    """A field to extract, and its path relative to the current type."""

    field: int
    path: Path
    scale: int | float


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
        self._found: set[int] = set()
        self._unfit: dict[int, str] = {}
        self._type_names: dict[str, int] = {}
        self._needs_scratch = False

    def run(self) -> Program:
        places = self._mapping.places
        wants = [
            _Wanted(field, self._choose(field, place), place.scale)
            for field, place in enumerate(places)
            if not (field == TIMESTAMP_MS and self._mapping.kafka_time)
        ]
        self._notes.paths.update({want.field: want.path for want in wants})
        self._value(self._parsed.schema, wants, depth=0)
        self._out.add(END)
        self._check_found(wants)
        return Program(self._parsed.name, self._out.program_code(), self._needs_scratch)

    def _choose(self, field: int, place: FieldSource) -> Path:
        """The first path that the schema has; for event types the first with known types; else any."""
        there = {path: found for path in place.paths if (found := leaves(self._parsed, path))}
        for of_old in (True, False):
            for path, found in there.items():
                if field != TYPE or self._tells_type(found, of_old=of_old):
                    return path
        return next((path for path in there if path), place.paths[0])

    def _tells_type(self, found: list[Schema], *, of_old: bool) -> bool:
        """Whether known event types can occur there."""
        names = [name for schema in found for name in _names_in(schema)]
        is_text = any(type_of(schema) == "string" for schema in found)
        known = [name for name in names if self._mapping.kind_of(name) != UNKNOWN_KIND]
        return is_text or any(not (of_old and self._mapping.is_later(name)) for name in known)

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
                self._out.add(KIND, self._kind_of(name))
                self._notes.add_read(TYPE, schema, "by its name")
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
        """Arrays and maps are skipped item by item, because the byte size of a negative count is not trustworthy."""
        for want in wants:
            self._note_unfit(
                want,
                f"something inside {with_article(type_of(schema))}" if want.path else with_article(type_of(schema)),
            )
        is_map = type_of(schema) == "map"
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
            out.add(SKIP_SIZED)
        self._value(items, [], depth + 1)
        self._loops -= 1
        out.add(NEXT_ITEM, self._loops, start)
        out.aim(head, B, out.here())

    def _leaf(self, schema: Schema, wants: list[_Wanted]) -> None:
        here = [want for want in wants if not want.path]
        match type_of(schema):
            case "null":
                self._notes.null.update(want.field for want in wants)
            case "int" | "long" | "float" | "double":
                self._number(schema, here)
            case "string" | "bytes":
                self._text(schema, here)
            case "enum":
                self._enum(schema, here)
            case "fixed":
                self._fixed(schema, here)
            case "boolean":
                self._refuse_all(here, schema)
                self._out.skip_bytes(1)
            case other:
                raise SchemaRefused(f'"{other}" is no type that we know')

    def _number(self, schema: Schema, wants: list[_Wanted]) -> None:
        kept: list[tuple[_Wanted, Conversion]] = []
        for want in wants:
            if want.field not in _NUMBERS:
                self._note_unfit(want, described(schema))
                continue
            try:
                kept.append((want, conversion_of(schema, want.field, want.scale)))
            except NotANumber as unfit:
                self._note_unfit(want, str(unfit))
        if not kept:
            self._skip_number(type_of(schema))
            return
        self._out.add(_READ_NUMBER[type_of(schema)])
        for want, way in kept:
            operands = (want.field, way.way, way.low, way.high, way.times, way.divisor)
            self._out.add(STORE_NUMBER, *operands, scale=way.scale)
            self._notes.add_read(want.field, schema, conversion_text(way))
            self._found.add(want.field)

    def _skip_number(self, name: str) -> None:
        if name in _FIXED_SIZES:
            self._out.skip_bytes(_FIXED_SIZES[name])
        else:
            self._out.add(SKIP_NUMBER)

    def _text(self, schema: Schema, wants: list[_Wanted]) -> None:
        is_text = type_of(schema) == "string"
        kept = []
        for want in wants:
            fits_id = want.field in _IDS and logical_type(schema) != "decimal"
            fits_type = want.field == TYPE and is_text
            if fits_id or fits_type:
                kept.append(want)
            else:
                self._note_unfit(want, described(schema))
        self._out.add(TEXT if kept else SKIP_SIZED)
        for want in kept:
            self._found.add(want.field)
            self._notes.add_read(want.field, schema, "as text")
            if want.field == TYPE:
                self._out.add(KIND_OF_TEXT, 0, self._out.type_name_count)
            else:
                self._out.add(STORE_ID, want.field)

    def _enum(self, schema: Schema, wants: list[_Wanted]) -> None:
        symbols = schema["symbols"]
        self._out.add(INDEX, len(symbols))
        for want in wants:
            if want.field != TYPE:
                self._note_unfit(want, described(schema))
                continue
            self._out.add(KIND_OF_INDEX, self._out.add_kinds(symbols, self._kind_of))
            self._notes.add_read(TYPE, schema, "by its symbols")

    def _fixed(self, schema: Schema, wants: list[_Wanted]) -> None:
        size = schema["size"]
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_FIXED_BYTES:
            raise SchemaRefused(f'the size of fixed "{schema["name"]}" is not a valid number of bytes: {size}')
        is_uuid = size == 16 and logical_type(schema) == "uuid"
        kept = [want for want in wants if is_uuid and want.field in _IDS]
        self._refuse_all([want for want in wants if want not in kept], schema)
        if not kept:
            self._out.skip_bytes(size)
            return
        self._needs_scratch = True
        self._out.add(RAW, size)
        for want in kept:
            self._found.add(want.field)
            self._out.add(STORE_ID, want.field, 1)
            self._notes.add_read(want.field, schema, "as text")

    # Check which fields were found.

    def _kind_of(self, name: str) -> int:
        kind = self._mapping.kind_of(name)
        self._found.add(TYPE)
        self._type_names[name] = self._notes.type_names[name] = kind
        return kind

    def _note_unfit(self, want: _Wanted, what: str) -> None:
        self._unfit.setdefault(want.field, what)
        self._notes.add_unfit(want.field, what)

    def _refuse_all(self, wants: list[_Wanted], schema: Schema) -> None:
        for want in wants:
            self._note_unfit(want, described(schema))

    def _check_found(self, wants: list[_Wanted]) -> None:
        kinds = set(self._type_names.values())
        if self._type_names and kinds == {UNKNOWN_KIND}:
            names = list(self._type_names)
            shown = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
            raise SchemaRefused(
                f'none of its event types ({shown}) is known; list them in input.events, as join = ["{names[0]}"]'
            )
        needing = {kind for name, kind in self._type_names.items() if not self._mapping.is_later(name)}
        for want in wants:
            needed = want.field in {STREAM_ID, VIEWER_ID, TIMESTAMP_MS, TYPE} or any(
                want.field == field and any(kind & fact for kind in needing) for fact, field in _NEEDED_FOR.items()
            )
            if want.field not in self._found and (needed or want.field in self._unfit):
                raise SchemaRefused(self._missing(want))

    def _missing(self, want: _Wanted) -> str:
        field = FIELDS[want.field]
        place = self._mapping.places[want.field]
        if want.field in self._unfit:
            return (
                f'{field}: the field "{".".join(want.path)}" holds {self._unfit[want.field]}, but must hold '
                f"{_EXPECTED[want.field]}; set input.fields.{field} to another field"
            )
        tried = " or ".join(f'"{".".join(path)}"' for path in place.paths if path)
        return f"{field}: there is no field {tried}; set input.fields.{field} to the path of the field that holds it"


def _names_in(schema: Schema) -> list[str]:
    if type_of(schema) in {"record", "error"}:
        return [str(schema["name"])]
    return list(schema["symbols"]) if type_of(schema) == "enum" else []
