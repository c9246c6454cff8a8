"""Random writer schemas with our fields at any place, the settings that map them, and random values of them."""

import random
from typing import Any, NamedTuple, cast

import fastavro

from consumer.settings.field_sources import KEY
from consumer.settings.model import InputSettings

Schema = Any
TIMES = [f"{prefix}timestamp-{unit}" for prefix in ("", "local-") for unit in ("millis", "micros", "nanos")]
TYPE_NAMES = (
    *("ViewerJoin", "ViewerLeave", "BitrateReport", "BufferEvent", "ViewerHeartbeat", "PlaybackReport"),
    *("Beat", "Ended", "Paused", "Seeked"),
)
SAMPLES_OF = {
    "BitrateReport": ["bitrate_bps"],
    "BufferEvent": ["duration_ms"],
    "PlaybackReport": ["bitrate_bps", "duration_ms"],
    "Beat": ["bitrate_bps", "duration_ms"],
    "Ended": ["duration_ms"],
}
EVENTS: dict[str, list[str]] = {
    "leave": ["ViewerLeave", "Ended"],
    "bitrate": ["BitrateReport", "PlaybackReport", "Beat"],
    "buffer": ["BufferEvent", "PlaybackReport", "Beat", "Ended"],
    "ignore": ["Paused"],
}
"""Some say several things at once; heartbeats and joins have their built-in names."""
TEXTS = ("", "a", "a|b", "\\|", "stream-17", "Zürich", "日本", "🎥" * 3, "x" * 300)
TIME_TEXTS = (
    *("2026-11-28T17:20:17Z", "2026-11-28 17:20:17.123456+02:00", "1969-12-31T23:59:59,999-0330", "20261128T172017Z"),
    *("2026-11-28T17:20:17", "2026-11-28", "2026-W48-6T17Z", "2026-11-28T17:20:17.9999Z", "", "yesterday", "日本"),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59Z", "1971-07-01T00:00:00Z", "1971-06-02T00:00:00.5Z"),
)
CONNECT_NAMES = (
    *("org.apache.kafka.connect.data.Timestamp", "io.debezium.time.Timestamp"),
    *("io.debezium.time.MicroTimestamp", "io.debezium.time.NanoTimestamp"),
)
NUMBER_EVENTS: dict[str, Any] = {"join": [1, 2], "leave": 0, "bitrate": [-7, 30], "buffer": [30, 31], "ignore": ["9"]}
BOOLEAN_EVENTS: dict[str, Any] = {"join": True, "bitrate": "true", "leave": False}
TYPE_NUMBERS = (0, 1, 2, -7, 30, 31, 9, 4)
PARTS = ("|", "\\", "a|b", "a\\|b", "", "de")
RANGES = {"timestamp_ms": (-(2**52), 2**52), "bitrate_bps": (0, 2**41), "duration_ms": (0, 2**32 - 1)}


class Writer(NamedTuple):
    """A writer schema, and the settings under which its records are events."""

    schema: Schema
    source: InputSettings


class WriterMaker:
    """Makes writers from one source of randomness."""

    def __init__(self, rng: random.Random, *, with_keys: bool = False) -> None:
        self._rng = rng
        self._names = 0
        self._with_keys = with_keys
        """Whether ids may be keys of records."""

    def name(self) -> str:
        self._names += 1
        return f"n{self._names}"

    def writer(self) -> Writer:
        """Return a record with our fields at random paths, among unrelated fields."""
        rng = self._rng
        tree: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        for field in ("stream_id", "viewer_id", "timestamp_ms"):
            self._plant_field(tree, fields, field)
        events: dict[str, Any] = rng.choice([EVENTS, {"ignore": ["Paused"]}])
        if rng.random() < 0.5:
            self._plant_union(tree, fields)
        else:
            events = self._plant_flat(tree, fields) or events
        key_format = rng.choice(["text", "confluent"])
        source = InputSettings.model_validate(
            {"fields": fields, "events": events, "max_payload_bytes": 2**20, "key_format": key_format}
        )
        schema = dict(cast("dict[str, Any]", fastavro.parse_schema(self._grown(tree))))  # full names
        return Writer({key: part for key, part in schema.items() if not key.startswith("__")}, source)

    def _plant_field(self, tree: dict[str, Any], fields: dict[str, Any], field: str) -> None:
        """Plant one of our fields: mostly at one path; else at the first of several, or in parts that are joined."""
        rng = self._rng
        choice = rng.random()
        if self._with_keys and field.endswith("_id") and rng.random() < 0.15:
            fields[field] = KEY
        elif choice < 0.6:
            leaf, scale = self._leaf(field)
            self._plant(tree, fields, field, leaf, scale)
        elif choice < 0.8 or not field.endswith("_id"):
            fields[field] = self._first_of(tree, field, 0)
        else:
            parts = [self._part(tree, field, 8 * number) for number in range(rng.randrange(1, 4))]
            fields[field] = parts
        if field == "timestamp_ms" and rng.random() < 0.3:
            place = fields.get(field, field)
            fields[field] = {**(place if isinstance(place, dict) else {"path": place}), "text_without_offset": "utc"}

    def _part(self, tree: dict[str, Any], field: str, number: int) -> Any:
        rng = self._rng
        part = (
            self._first_of(tree, field, number) if rng.random() < 0.3 else {"path": self._source(tree, field, number)}
        )
        if rng.random() < 0.3:
            part["default"] = rng.choice(PARTS)
        return part if len(part) > 1 or rng.random() < 0.5 else part.get("path", part)

    def _first_of(self, tree: dict[str, Any], field: str, number: int) -> dict[str, Any]:
        rng = self._rng
        sources: list[Any] = []
        for i in range(rng.randrange(1, 4)):
            if field.endswith("_id") or field == "type":
                sources.append(self._source(tree, field, number + i))
                continue
            leaf, scale = self._leaf(field)
            path = self._plant_leaf(tree, f"{field}_{number + i}", leaf)
            sources.append({"path": path, "scale": scale} if scale != 1 else path)
        return {"first": sources}

    def _source(self, tree: dict[str, Any], field: str, number: int) -> str:
        if self._with_keys and field.endswith("_id") and self._rng.random() < 0.2:  # settings refuse it elsewhere
            return KEY
        leaf, _ = self._leaf(field)
        return self._plant_leaf(tree, f"{field}_{number}", leaf)

    def _plant(self, tree: dict[str, Any], fields: dict[str, Any], field: str, leaf: Schema, scale: float = 1) -> None:
        path = self._plant_leaf(tree, field, leaf)
        if path != field or scale != 1 or field == "type":
            fields[field] = {"path": path, "scale": scale} if scale != 1 else path

    def _plant_leaf(self, tree: dict[str, Any], name: str, leaf: Schema) -> str:
        """Plant a leaf in records at a random path, or in a map; return the path."""
        rng = self._rng
        path = [rng.choice("ab") for _ in range(rng.randrange(3))] + [name]
        if rng.random() < 0.15:
            path.insert(-1, f"map_of_{name}")
            leaf = {"type": "map", "values": leaf}
        node = tree
        for step in path[:-1]:
            if step.startswith("map_of_"):
                node[step] = [leaf]
                return ".".join(path)
            node = node.setdefault(step, {})
        node[name] = [leaf]
        return ".".join(path)

    def _plant_union(self, tree: dict[str, Any], fields: dict[str, Any]) -> None:
        bitrate, bitrate_scale = self._leaf("bitrate_bps")
        duration, duration_scale = self._leaf("duration_ms")
        ours: dict[str, Schema] = {"bitrate_bps": bitrate, "duration_ms": duration}
        branches: list[Schema] = []
        for name in TYPE_NAMES:
            # One branch of each field is enough for a schema; the others may lack theirs.
            is_needed = name in {"BitrateReport", "BufferEvent"}
            fields_here = [f for f in SAMPLES_OF.get(name, []) if is_needed or self._rng.random() < 0.7]
            record = self._grown({field: [ours[field]] for field in fields_here})
            branches.append({**record, "name": name, "namespace": self._rng.choice(["", "com.example"])})
        if self._rng.random() < 0.3:
            branches.append("null")
        self._rng.shuffle(branches)
        tree["event"] = [branches]
        for field, scale in (("bitrate_bps", bitrate_scale), ("duration_ms", duration_scale)):
            if scale != 1:
                fields[field] = {"path": f"event.{field}", "scale": scale}

    def _plant_flat(self, tree: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any] | None:
        """Plant the type and the samples beside the ids; return the names of events if they are no words."""
        rng = self._rng
        for field in ("bitrate_bps", "duration_ms"):
            self._plant_field(tree, fields, field)
        choice = rng.random()
        if choice < 0.15:
            self._plant(tree, fields, "type", self._wrapped("boolean"))
            return BOOLEAN_EVENTS
        if choice < 0.3:
            self._plant(tree, fields, "type", self._wrapped(rng.choice(["int", "long"])))
            return NUMBER_EVENTS
        self._plant_field(tree, fields, "type")
        fields.setdefault("type", "type")
        return None

    def _leaf(self, field: str) -> tuple[Schema, float]:
        """Return a type that can hold one of our fields, and its scale."""
        rng = self._rng
        scale: float = 1
        if field.endswith("_id"):
            leaf = self._id_type()
        elif field == "type":
            symbols = list(TYPE_NAMES)
            rng.shuffle(symbols)
            leaf = rng.choice([{"type": "enum", "name": self.name(), "symbols": symbols}, "string"])
        elif field == "timestamp_ms" and rng.random() < 0.7:
            name = {"connect.name": rng.choice(CONNECT_NAMES)}
            text: Schema = rng.choice(["string", {"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"}])
            times: list[Schema] = [{"type": "long", "logicalType": rng.choice(TIMES)}, {"type": "long", **name}, text]
            leaf = rng.choice(times)
        else:
            leaf = rng.choice(["int", "long", "float", "double"])
            scale = rng.choice([1, 1, 1000, 0.001, 2.5])
        return self._wrapped(leaf), scale

    def _id_type(self) -> Schema:
        fixed = {"type": "fixed", "name": self.name(), "size": self._rng.choice([0, 1, 3, 16, 36])}
        uuid = {"type": "fixed", "name": self.name(), "size": 16, "logicalType": "uuid"}
        symbols = ["de", "fr", "A_" + "z" * self._rng.choice([1, 600])]
        enum = {"type": "enum", "name": self.name(), "symbols": symbols}
        texts: list[Schema] = ["string", "string", "bytes", {"type": "string", "logicalType": "uuid"}]
        return self._rng.choice([*texts, uuid, fixed, enum, "int", "long"])

    def _wrapped(self, leaf: Schema) -> Schema:
        """Sometimes make the type nullable, with null first or last."""
        return self._rng.choice([leaf, leaf, ["null", leaf], [leaf, "null"]])

    def _grown(self, tree: dict[str, Any]) -> Schema:
        """Return a record of the fields in the tree, with unrelated fields among them."""
        fields = []
        for name, node in tree.items():
            if isinstance(node, list):
                fields.append({"name": name, "type": node[0]})
                continue
            record = self._grown(node)
            other = {"type": "record", "name": self.name(), "fields": [{"name": "x", "type": self.any_type(1)}]}
            kinds = [record, ["null", record], [record, other, "null"], ["string", other, record]]
            fields.append({"name": name, "type": self._rng.choice(kinds)})
        fields += [{"name": self.name(), "type": self.any_type(0)} for _ in range(self._rng.randrange(4))]
        self._rng.shuffle(fields)
        return {"type": "record", "name": self.name(), "fields": fields}

    def any_type(self, depth: int) -> Schema:
        """Return any type that Avro has."""
        rng = self._rng
        simple: list[Schema] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
        named: list[Schema] = [
            {"type": "enum", "name": self.name(), "symbols": ["A", "B", "C"]},
            {"type": "fixed", "name": self.name(), "size": rng.randrange(20)},
            {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        ]
        if depth >= 3 or rng.random() < 0.5:
            return rng.choice(simple + named)
        inner = self.any_type(depth + 1)
        items = ["null", "string"] if inner == "null" else inner
        items = "int" if isinstance(items, dict) and items["type"] in {"fixed", "record"} else items
        union = [inner, *(["long"] if isinstance(inner, dict) else [])]
        return rng.choice(
            [
                {"type": "array", "items": items},
                {"type": "map", "values": inner},
                union if not isinstance(inner, list) else inner,
                {"type": "record", "name": self.name(), "fields": [{"name": "f", "type": inner}]},
            ]
        )

    # Values

    def value(self, schema: Schema, field: str = "") -> Any:  # noqa: PLR0911  # one return per type
        """Return a random value of a type, as fastavro writes it; values of our fields are mostly in range."""
        rng = self._rng
        if isinstance(schema, list):
            # Our fields are in records: most values are not null, so that most events are complete.
            there = [one for one in schema if isinstance(one, dict)] or [one for one in schema if one != "null"]
            branch = rng.choice(there if there and rng.random() < 0.8 else schema)
            value = self.value(branch, field)
            is_record = isinstance(branch, dict) and branch["type"] == "record"
            return (branch["name"], value) if is_record else value
        kind = schema["type"] if isinstance(schema, dict) else schema
        match kind:
            case "record":
                return {one["name"]: self.value(one["type"], _of(one["name"])) for one in schema["fields"]}
            case "array":
                return [self.value(schema["items"]) for _ in range(rng.randrange(4))]
            case "map":
                return {key: self.value(schema["values"], _of(key)) for key in self._map_keys(field)}
            case "enum":
                return rng.choice(schema["symbols"])
            case "fixed":
                text = rng.choice(["0123456789abcdef" * 3, "日本" * 9]).encode()[: schema["size"]]
                return text if rng.random() < 0.5 else rng.randbytes(schema["size"])
            case _:
                return self._primitive(kind, schema, field)

    def _map_keys(self, field: str) -> list[str]:
        """Return keys for a map; `field` is the map's name, which says what is wanted of it."""
        keys = [f"k{i}" for i in range(self._rng.randrange(4))]
        if field.startswith("map_of_") and self._rng.random() < 0.9:
            keys.insert(self._rng.randrange(len(keys) + 1), field.removeprefix("map_of_"))
        return keys

    def _primitive(self, kind: str, schema: Schema, field: str) -> Any:
        rng = self._rng
        match kind:
            case "null":
                return None
            case "boolean":
                return rng.random() < 0.5
            case "string":
                return rng.choice({"type": TYPE_NAMES, "timestamp_ms": TIME_TEXTS}.get(field, TEXTS))
            case "bytes":
                raw = rng.choice([text.encode() for text in TEXTS])
                return raw if rng.random() < 0.9 else rng.randbytes(rng.randrange(6))
            case "float" | "double":
                small = rng.uniform(-10, 1e5) if rng.random() < 0.8 else rng.choice([0.5, 1.5, 2.5, -0.5])
                usual = 0.7 if field == "timestamp_ms" else 0.9
                return small if rng.random() < usual else rng.choice([float("nan"), float("inf"), 1e30, -1e30])
            case _:
                return self._whole_number(kind, schema, field)

    def _whole_number(self, kind: str, schema: Schema, field: str) -> int:
        rng = self._rng
        if field == "type":
            return rng.choice(TYPE_NUMBERS)
        bits: int = 31 if kind == "int" else 63
        unit = schema.get("logicalType", "").rsplit("-", 1)[-1] if isinstance(schema, dict) else ""
        name = str(schema.get("connect.name", "")) if isinstance(schema, dict) else ""
        unit = unit or name.rsplit(".", 1)[-1].removesuffix("Timestamp").lower().replace("micro", "micros")
        ticks = {"micros": 1_000, "nanos": 1_000_000, "nano": 1_000_000}.get(unit, 1)
        low, high = RANGES.get(field, (-(2**40), 2**40))
        edges: list[int] = [low * ticks, high * ticks, high * ticks + ticks - 1, high * ticks + ticks, low * ticks - 1]
        edges += [-(2**bits), 2**bits - 1, 0, -1, 1]
        number: int = rng.choice(edges) if rng.random() < 0.15 else rng.randrange(0, 2 ** rng.randrange(1, 36))
        if field == "timestamp_ms" and rng.random() < 0.3:
            number = -number
        return max(-(1 << bits), min(number, (1 << bits) - 1))


def _of(name: str) -> str:
    """Return the field of ours that a name stands for: names of several sources of one field are numbered."""
    return (
        name.rstrip("0123456789").removesuffix("_") if name[:3] in {"str", "vie", "tim", "bit", "dur", "typ"} else name
    )
