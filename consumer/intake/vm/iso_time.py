"""Read a time as text: ISO 8601 as `datetime.fromisoformat` of the standard library reads it.

```
 2024-02-29  20240229  2024-W09-4  2024W094  2024-W09     a day
 any one character, as T or a space
 17  17:45  1745  17:45:30  174530  17:45:30.25           a time of day, with any number of digits behind . or ,
 Z  +02  -0330  +05:45                                    the offset from UTC, as a time of day, maybe behind a space
```
"""

import numpy as np
import numpy.typing as npt

from consumer.intake.rejects import Reject
from consumer.intake.vm.wire import is_utf8
from consumer.runtime.jit import called, compiled, inlined

Text = npt.NDArray[np.uint8]

_BAD_TIME = int(Reject.BAD_TIME)
_NO_OFFSET = int(Reject.TIME_WITHOUT_OFFSET)

_NONE = -1
"""In place of a number: the text is none."""
_NO_DAY = 1 << 40

_DOT, _COMMA, _COLON, _PLUS, _DASH, _SPACE, _W, _Z = (ord(each) for each in ".,:+- WZ")
_SHORTEST = 7
_MICROS_A_SECOND = 1_000_000
_MICROS_A_DAY = 86_400 * _MICROS_A_SECOND
_LAST_DAY = 2_932_896
"""9999-12-31, in days since 1970."""


@called
def read_time(text: Text, start: int, size: int, utc: int) -> tuple[int, int]:
    """The time in milliseconds since 1970, rounded down, and 0 or the reject reason.

    Args:
        text: holds it.
        start: its first byte.
        size: its bytes.
        utc: whether a time without an offset is one of UTC; else it is rejected.
    """
    end = start + size
    split = start + _date_bytes(text, start, size)
    day = _day(text, start, split)
    if split > end or day == _NO_DAY:
        return 0, _BAD_TIME
    clock = 0
    offset = 0
    has_offset = False
    if split < end:
        begin = _behind_character(text, split, end)
        zone = _zone(text, begin, end)
        spaced = zone < end and zone > begin and text[zone - 1] == _SPACE
        clock = _clock(text, begin, zone - 1 if spaced else zone)
        if zone < end:
            has_offset = True
            offset = _offset(text, zone, end)
        if clock < 0 or offset == _NO_DAY:
            return 0, _BAD_TIME
    if not has_offset and utc == 0:
        return 0, _NO_OFFSET
    return (day * _MICROS_A_DAY + clock - offset) // 1_000, 0


@compiled
def time_of(text: Text, utc: int) -> tuple[int, int]:
    """As `read_time`, of all of a text, for callers that are no kernels."""
    return read_time(text, 0, len(text), utc)


@inlined
def _number(text: Text, at: int, count: int, end: int) -> int:
    """The number of so many digits, or `_NONE`."""
    if at + count > end:
        return _NONE
    number = 0
    for i in range(at, at + count):
        digit = int(text[i]) - 48
        if digit < 0 or digit > 9:
            return _NONE
        number = 10 * number + digit
    return number


@inlined
def _date_bytes(text: Text, start: int, size: int) -> int:
    """How many bytes the date takes, by its form; more than there are if it has none."""
    if size <= _SHORTEST:
        return _SHORTEST
    if text[start + 4] == _DASH:
        if text[start + 5] != _W:
            return 10
        # The day of a week, or a dash before a time of day, which begins with two digits: more likely.
        has_day = size > 8 and text[start + 8] == _DASH and not (size > 10 and 48 <= text[start + 10] <= 57)
        return 10 if has_day else 8
    if text[start + 4] != _W:
        return 8
    digits = _SHORTEST
    while digits < size and 48 <= text[start + digits] <= 57:
        digits += 1
    # Hours, minutes and seconds have two digits each, with the character before them an odd number.
    return min(digits, 8) if digits < 9 or digits % 2 == 1 else 7


@inlined
def _day(text: Text, start: int, end: int) -> int:
    """The day since 1970 of a date, or `_NO_DAY`."""
    if end > len(text):
        return _NO_DAY
    year = _number(text, start, 4, end)
    if year < 1:
        return _NO_DAY
    dash = 1 if text[start + 4] == _DASH else 0
    at = start + 4 + dash
    if text[at] == _W:
        return _day_of_week(text, at + 1, end, year, dash)
    month = _number(text, at, 2, end)
    at += 2
    if month < 1 or month > 12 or at + dash + 2 != end or (dash and text[at] != _DASH):
        return _NO_DAY
    day = _number(text, at + dash, 2, end)
    if day < 1 or day > _days_of_month(year, month):
        return _NO_DAY
    return _days_since_1970(year, month, day)


@inlined
def _day_of_week(text: Text, at: int, end: int, year: int, dash: int) -> int:
    """The day of a date by week, of which the number of the week begins at `at`, or `_NO_DAY`."""
    week = _number(text, at, 2, end)
    at += 2
    day = 1
    if at < end:
        if at + dash + 1 != end or (dash and text[at] != _DASH):
            return _NO_DAY
        day = _number(text, at + dash, 1, end)
    if week < 1 or week > 53 or day < 1 or day > 7:
        return _NO_DAY
    found = _first_monday(year) + 7 * (week - 1) + day - 1
    if week == 53 and found - day + 1 >= _first_monday(year + 1):
        return _NO_DAY  # the year has 52 weeks
    return found if found <= _LAST_DAY else _NO_DAY


@inlined
def _first_monday(year: int) -> int:
    """The first day of the year's first week, which has January 4."""
    fourth = _days_since_1970(year, 1, 4)
    return fourth - (fourth + 3) % 7


@inlined
def _days_of_month(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@inlined
def _days_since_1970(year: int, month: int, day: int) -> int:
    """By years that begin in March, so that a leap day is the last one."""
    if month < 3:
        year -= 1
        month += 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719_469


@inlined
def _behind_character(text: Text, at: int, end: int) -> int:
    """The position behind one character; `end` if it is no UTF-8."""
    lead = text[at]
    size = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if at + size > end or not is_utf8(text, at, at + size):
        return end
    return at + size


@inlined
def _zone(text: Text, at: int, end: int) -> int:
    """Where the offset from UTC begins; `end` if there is none."""
    while at < end and text[at] != _PLUS and text[at] != _DASH and text[at] != _Z:
        at += 1
    return at


@inlined
def _offset(text: Text, at: int, end: int) -> int:
    """The offset from UTC in microseconds, or `_NO_DAY`."""
    if text[at] == _Z:
        return 0 if at + 1 == end else _NO_DAY
    offset = _clock(text, at + 1, end)
    if offset < 0:
        return _NO_DAY
    if offset < _MICROS_A_SECOND:
        return 0  # the standard library takes such a fraction for nothing
    return -offset if text[at] == _DASH else offset


@inlined
def _clock(text: Text, at: int, end: int) -> int:
    """A time of day in microseconds, or `_NONE`."""
    hour = _number(text, at, 2, end)
    if hour < 0 or hour > 23:
        return _NONE
    at += 2
    colon = 1 if at < end and text[at] == _COLON else 0
    micros = hour * 3_600 * _MICROS_A_SECOND
    for unit in (60, 1):
        if at == end:
            return micros
        if colon and text[at] != _COLON:
            return _NONE
        part = _number(text, at + colon, 2, end)
        if part < 0 or part > 59:
            return _NONE
        at += colon + 2
        micros += part * unit * _MICROS_A_SECOND
    return micros if at == end else _with_fraction(text, at, end, micros)


@inlined
def _with_fraction(text: Text, at: int, end: int, micros: int) -> int:
    """The time with the fraction of its second, of which six digits count, or `_NONE`."""
    if (text[at] != _DOT and text[at] != _COMMA) or at + 1 == end:
        return _NONE
    unit = _MICROS_A_SECOND // 10
    for i in range(at + 1, end):
        digit = int(text[i]) - 48
        if digit < 0 or digit > 9:
            return _NONE
        micros += digit * unit
        unit //= 10
    return micros
