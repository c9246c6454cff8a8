"""Random writer schemas with our fields at any place, the settings that map them, and random values of them."""

import random
from typing import Any, NamedTuple, cast

import fastavro

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
TEXTS = ("", "a", "stream-17", "Zürich", "日本", "🎥" * 3, "x" * 300)
RANGES = {"timestamp_ms": (-(2**52), 2**52), "bitrate_bps": (0, 2**41), "duration_ms": (0, 2**32 - 1)}


class Writer(NamedTuple):
    """A writer schema, and the settings under which its records are events."""

    schema: Schema
    source: InputSettings


class WriterMaker:
    """Makes writers from one source of randomness."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._names = 0

    def name(self) -> str:
        self._names += 1
        return f"n{self._names}"

    def writer(self) -> Writer:
        """Return a record with our fields at random paths, among unrelated fields."""
        rng = self._rng
        tree: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        for field in ("stream_id", "viewer_id", "timestamp_ms"):
            leaf, scale = self._leaf(field)
            self._plant(tree, fields, field, leaf, scale)
        if rng.random() < 0.5:
            self._plant_union(tree, fields)
        else:
            self._plant_flat(tree, fields)
        source = InputSettings.model_validate(
            {"fields": fields, "events": rng.choice([EVENTS, {"ignore": ["Paused"]}]), "max_payload_bytes": 2**20}
        )
        schema = dict(cast("dict[str, Any]", fastavro.parse_schema(self._grown(tree))))  # full names
        return Writer({key: part for key, part in schema.items() if not key.startswith("__")}, source)

    def _plant(self, tree: dict[str, Any], fields: dict[str, Any], field: str, leaf: Schema, scale: float = 1) -> None:
        path = [self._rng.choice("ab") for _ in range(self._rng.randrange(3))] + [field]
        node = tree
        for step in path[:-1]:
            node = node.setdefault(step, {})
        node[field] = [leaf]
        if len(path) > 1 or scale != 1 or field == "type":
            fields[field] = {"path": ".".join(path), "scale": scale} if scale != 1 else ".".join(path)

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

    def _plant_flat(self, tree: dict[str, Any], fields: dict[str, Any]) -> None:
        rng = self._rng
        symbols = list(TYPE_NAMES)
        rng.shuffle(symbols)
        leaf: Schema = {"type": "enum", "name": self.name(), "symbols": symbols}
        self._plant(tree, fields, "type", self._wrapped(rng.choice([leaf, "string"])))
        for field in ("bitrate_bps", "duration_ms"):
            one, scale = self._leaf(field)
            self._plant(tree, fields, field, one, scale)

    def _leaf(self, field: str) -> tuple[Schema, float]:
        """Return a type that can hold one of our fields, and its scale."""
        rng = self._rng
        scale: float = 1
        if field.endswith("_id"):
            uuid = {"type": "fixed", "name": self.name(), "size": 16, "logicalType": "uuid"}
            leaf: Schema = rng.choice(["string", "bytes", {"type": "string", "logicalType": "uuid"}, uuid])
        elif field == "timestamp_ms" and rng.random() < 0.6:
            leaf = {"type": "long", "logicalType": rng.choice(TIMES)}
        else:
            leaf = rng.choice(["int", "long", "float", "double"])
            scale = rng.choice([1, 1, 1000, 0.001, 2.5])
        return self._wrapped(leaf), scale

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
            branch = rng.choice(schema)
            value = self.value(branch, field)
            is_record = isinstance(branch, dict) and branch["type"] == "record"
            return (branch["name"], value) if is_record else value
        kind = schema["type"] if isinstance(schema, dict) else schema
        match kind:
            case "record":
                return {one["name"]: self.value(one["type"], one["name"]) for one in schema["fields"]}
            case "array":
                return [self.value(schema["items"]) for _ in range(rng.randrange(4))]
            case "map":
                return {f"k{i}": self.value(schema["values"]) for i in range(rng.randrange(4))}
            case "enum":
                return rng.choice(schema["symbols"])
            case "fixed":
                return rng.randbytes(schema["size"])
            case _:
                return self._primitive(kind, schema, field)

    def _primitive(self, kind: str, schema: Schema, field: str) -> Any:
        rng = self._rng
        match kind:
            case "null":
                return None
            case "boolean":
                return rng.random() < 0.5
            case "string":
                return rng.choice(TYPE_NAMES) if field == "type" else rng.choice(TEXTS)
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
        bits: int = 31 if kind == "int" else 63
        unit = schema.get("logicalType", "").rsplit("-", 1)[-1] if isinstance(schema, dict) else ""
        ticks = {"micros": 1_000, "nanos": 1_000_000}.get(unit, 1)
        low, high = RANGES.get(field, (-(2**40), 2**40))
        edges: list[int] = [low * ticks, high * ticks, high * ticks + ticks - 1, high * ticks + ticks, low * ticks - 1]
        edges += [-(2**bits), 2**bits - 1, 0, -1, 1]
        number: int = rng.choice(edges) if rng.random() < 0.15 else rng.randrange(0, 2 ** rng.randrange(1, 36))
        if field == "timestamp_ms" and rng.random() < 0.3:
            number = -number
        return max(-(1 << bits), min(number, (1 << bits) - 1))
