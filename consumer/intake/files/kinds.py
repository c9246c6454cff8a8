"""Tell by its first bytes what a file is that holds neither an Avro container nor JSON lines."""

_MAGICS = (
    (b"PK\x03\x04", "is a zip archive; unpack it first"),
    (b"\x04\x22\x4d\x18", "is packed with lz4; unpack it first: lz4 -d"),
    (b"\xff\x06\x00\x00sNaPpY", "is packed with framed snappy; unpack it first"),
    (b"PAR1", "is a Parquet file; write Avro containers or JSON lines"),
    (b"ORC", "is an ORC file; write Avro containers or JSON lines"),
    (b"\xff\xfe", "is UTF-16 text; write it as UTF-8"),
    (b"\xfe\xff", "is UTF-16 text; write it as UTF-8"),
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SEPARATORS = (b",", b";", b"\t")
_EXAMPLE = '{"stream_id": "s", "viewer_id": "v", "timestamp_ms": 0, "type": "join"}'


def other_kind(head: bytes) -> str:
    """What a file is and what to do, by its first bytes; empty if it may hold JSON lines."""
    for magic, what in _MAGICS:
        if head.startswith(magic):
            return what
    lines = head.removeprefix(_BYTE_ORDER_MARK).lstrip().splitlines()
    if not lines:
        return ""
    if lines[0].startswith(b"["):
        return "is a JSON array, not JSON lines; write one object a line: jq -c '.[]' FILE > lines.jsonl"
    if lines[0].strip() == b"{":
        return "is JSON over several lines, not JSON lines; write one object a line: jq -c . FILE > lines.jsonl"
    if _is_csv(lines):
        return f"is CSV, which is not read; write each row as a JSON object on a line of its own: {_EXAMPLE}"
    return ""


def _is_csv(lines: list[bytes]) -> bool:
    """Whether the first two lines have the same number of separators, and none is an object."""
    first, *others = lines
    if first.startswith(b"{") or (others and others[0].lstrip().startswith(b"{")):
        return False
    return any(
        first.count(separator) >= 2 and (not others or others[0].count(separator) == first.count(separator))
        for separator in _SEPARATORS
    )
