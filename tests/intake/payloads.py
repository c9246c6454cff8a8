"""Payloads of our own schema, written by hand, byte by byte."""

import struct
from collections.abc import Sequence

from consumer.intake.framing import SCHEMA_HEADER
from consumer.kafka.batch import first_header
from consumer.runtime.joined import Joined, joined

NO_CLOCK_MS = 2**60
"""A wall clock so far ahead that no event is in the future."""


def number(value: int) -> bytes:
    """Return an int or long: zigzag, seven bits per byte."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def text(value: str | bytes) -> bytes:
    """Return a string or bytes."""
    data = value.encode() if isinstance(value, str) else value
    return number(len(data)) + data


def double(value: float) -> bytes:
    return struct.pack("<d", value)


def join(stream_id: str | bytes = "s", viewer_id: str | bytes = "v", timestamp_ms: int = 1_000) -> bytes:
    return text(stream_id) + text(viewer_id) + number(timestamp_ms) + number(0)


def leave(stream_id: str = "s", viewer_id: str = "v", timestamp_ms: int = 1_000) -> bytes:
    return text(stream_id) + text(viewer_id) + number(timestamp_ms) + number(1)


def bitrate(bitrate_bps: int, timestamp_ms: int = 1_000, viewer_id: str = "v") -> bytes:
    return text("s") + text(viewer_id) + number(timestamp_ms) + number(2) + number(bitrate_bps)


def buffer(duration_ms: int, timestamp_ms: int = 1_000) -> bytes:
    return text("s") + text("v") + number(timestamp_ms) + number(3) + number(duration_ms)


def heartbeat(stream_id: str = "s", viewer_id: str = "v", timestamp_ms: int = 1_000) -> bytes:
    return text(stream_id) + text(viewer_id) + number(timestamp_ms) + number(4)


def confluent(payload: bytes, schema_id: int = 1) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + payload


def framed_key(key: str | bytes, schema_id: int = 1) -> bytes:
    """Return a key as the registry's serializers write strings."""
    return confluent(text(key), schema_id)


def schema_headers(headers: Sequence[Sequence[tuple[str, bytes | None]] | None] | None) -> Joined | None:
    """Return what records with such headers hand to an intake."""
    return None if headers is None else joined([first_header(each or (), SCHEMA_HEADER) for each in headers])
