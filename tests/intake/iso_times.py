"""The judge of times as text: the forms of ISO 8601, each read by the standard library."""

import re
from datetime import UTC, datetime, timedelta

from consumer.intake.rejects import Reject

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DATE = r"(\d{4}-\d\d-\d\d|\d{8}|\d{4}-W\d\d(-\d)?|\d{4}W\d\d\d?)"
_HOUR = r"([01]\d|2[0-3])"
_CLOCK = rf"({_HOUR}(:[0-5]\d(:[0-5]\d([.,]\d+)?)?)?|{_HOUR}([0-5]\d([0-5]\d([.,]\d+)?)?)?)"
_FORM = re.compile(rf"{_DATE}([^\ud800-\udfff]{_CLOCK}( ?(Z|[+-]{_CLOCK}))?)?", re.ASCII | re.DOTALL)
"""What is documented. The standard library reads a few more texts by accident, as fractions of an hour or a byte 0 at
the end, and later releases an hour 24."""

_SPACED_OFFSET = re.compile(r"(?<=[\d]) (?=Z$|[+-][\d:.,]+$)")
"""The space that some write before the offset; the standard library reads it in most places."""


def time_of_text(text: str, *, utc: bool) -> int | Reject:
    """Return milliseconds since 1970, or why the text is not a time."""
    try:
        text.encode()
        time = datetime.fromisoformat(_SPACED_OFFSET.sub("", text))
    except ValueError:
        return Reject.BAD_TIME
    if not _FORM.fullmatch(text):
        return Reject.BAD_TIME
    if time.tzinfo is None and not utc:
        return Reject.TIME_WITHOUT_OFFSET
    return (time.replace(tzinfo=time.tzinfo or UTC) - EPOCH) // timedelta(milliseconds=1)
