"""The closed list of reasons for rejecting a record."""

from enum import IntEnum


class Reject(IntEnum):
    """A reason; its code stands in `EventColumns.reject`, and is never 0."""

    NULL_VALUE = 1
    OVERSIZED = 2
    BAD_FRAMING = 3
    UNKNOWN_SCHEMA = 4
    SCHEMA_REFUSED = 5
    TRUNCATED = 6
    TRAILING_BYTES = 7
    BAD_NUMBER = 8
    BAD_LENGTH = 9
    UNKNOWN_BRANCH = 10
    BAD_TEXT = 11
    EMPTY_ID = 12
    ID_TOO_LONG = 13
    MISSING_VALUE = 14
    UNKNOWN_EVENT_TYPE = 15
    OUT_OF_RANGE = 16
    NOT_FINITE = 17
    TIMESTAMP_OUT_OF_RANGE = 18
    FUTURE = 19
    STREAM_LIMIT = 20
    MALFORMED = 21
    BAD_KEY = 22
    BAD_TIME = 23
    TIME_WITHOUT_OFFSET = 24

    @property
    def label(self) -> str:
        """The name in metrics and dead letters."""
        return self.name.lower()

    @property
    def sentence(self) -> str:
        """A sentence that says what is wrong."""
        return _SENTENCES[self]

    def sentence_about(self, field: str) -> str:
        """The same, naming the field at fault; `field` is empty if there is none."""
        return _ABOUT[self].format(field) if field and self in _ABOUT else self.sentence


WAITING = 254
"""In `EventColumns.reject`: the schema is not available yet; the record must be decoded again later."""

IGNORED = 255
"""In `EventColumns.reject`: the record's type is ignored by the settings; neither an event nor a reject."""

_SENTENCES = {
    Reject.NULL_VALUE: "the record has no value (a tombstone)",
    Reject.OVERSIZED: "the record has more bytes than input.max_payload_bytes (a line, than its limit)",
    Reject.BAD_FRAMING: "the record doesn't begin as input.format says",
    Reject.UNKNOWN_SCHEMA: "the schema that the record names is unknown",
    Reject.SCHEMA_REFUSED: "the record's schema cannot be mapped to viewer events",
    Reject.TRUNCATED: "the payload ends inside a value",
    Reject.TRAILING_BYTES: "bytes are left behind the last value",
    Reject.BAD_NUMBER: "a number takes more than 10 bytes or 64 bits",
    Reject.BAD_LENGTH: "a length or an item count is negative beyond sense or more than the payload has",
    Reject.UNKNOWN_BRANCH: "a union branch or an enum symbol is not in the schema",
    Reject.BAD_TEXT: "stream_id or viewer_id is not UTF-8",
    Reject.EMPTY_ID: "stream_id or viewer_id is empty",
    Reject.ID_TOO_LONG: "stream_id or viewer_id has more than 1024 bytes",
    Reject.MISSING_VALUE: "stream_id, viewer_id, timestamp_ms or type is null or missing",
    Reject.UNKNOWN_EVENT_TYPE: "the event type is not in input.events",
    Reject.OUT_OF_RANGE: "bitrate_bps is above 2^41, or duration_ms above 2^32-1",
    Reject.NOT_FINITE: "the timestamp is NaN or infinite",
    Reject.TIMESTAMP_OUT_OF_RANGE: "the timestamp is outside -2^52 to 2^52 ms",
    Reject.FUTURE: "the event is more than input.max_future_ms ahead of its record, or the record of the clock",
    Reject.STREAM_LIMIT: "the partition holds windows.max_streams streams, and this is one more",
    Reject.MALFORMED: "the line is not a JSON object of an event",
    Reject.BAD_KEY: "stream_id or viewer_id is the record's key, which is not as input.key_format says",
    Reject.BAD_TIME: "timestamp_ms is not a time of ISO 8601",
    Reject.TIME_WITHOUT_OFFSET: "timestamp_ms is a time without an offset from UTC; if all of them are UTC, set "
    'text_without_offset = "utc" in input.fields.timestamp_ms',
}

_ABOUT = {
    Reject.BAD_TEXT: "{} is not UTF-8",
    Reject.EMPTY_ID: "{} is empty",
    Reject.ID_TOO_LONG: "{} has more than 1024 bytes",
    Reject.MISSING_VALUE: "{} is null or missing",
    Reject.BAD_KEY: "{} is the record's key, which is not as input.key_format says",
    Reject.OUT_OF_RANGE: "{} is above its limit: 2^41 for bitrate_bps, 2^32-1 for duration_ms",
}
