"""Parameters of a URL."""

from collections.abc import Collection
from urllib.parse import parse_qsl

MAX_PARAMETERS = 16


class QueryError(ValueError):
    """A parameter that cannot be used; the message says what is allowed."""


class Query:
    """The parameters of one request, taken one by one; `close` refuses what is left over.

    Raises:
        QueryError: there are too many.
    """

    def __init__(self, text: str) -> None:
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="replace")
        except ValueError:
            raise QueryError(f"at most {MAX_PARAMETERS} parameters") from None
        self._left = dict(pairs)

    def text(self, name: str, default: str = "") -> str:
        """A text, or the default."""
        return self._left.pop(name, default)

    def integer(self, name: str, default: int, most: int) -> int:
        """A whole number from 0 to `most`, or the default.

        Raises:
            QueryError: it is something else.
        """
        text = self._left.pop(name, str(default))
        # int() takes signs, underscores, and digits of other scripts too.
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) else most + 1
        if number > most:
            raise QueryError(f"{name} must be a whole number from 0 to {most}")
        return number

    def close(self, known: Collection[str]) -> None:
        """Call when all were taken.

        Raises:
            QueryError: one is not known.
        """
        for name in self._left:
            raise QueryError(f"unknown parameter {name[:100]!r}; known are: {', '.join(known)}")
