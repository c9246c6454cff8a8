"""One HTTP answer, without sockets."""

import gzip
from http import HTTPStatus
from typing import NamedTuple

from prometheus_client.exposition import gzip_accepted

GZIP_LEVEL = 1
"""Ten thousand series shrink twentyfold at any level; the lowest takes the least CPU time."""

PACKED_FROM_BYTES = 1_000
"""Less is not worth packing."""


class Answer(NamedTuple):
    """One HTTP answer."""

    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/plain; charset=utf-8"),)

    def packed(self, accept_encoding: str) -> "Answer":
        """The same answer, packed if the client accepts it and the body is large enough."""
        if len(self.body) < PACKED_FROM_BYTES or not gzip_accepted(accept_encoding):
            return self
        headers = (*self.headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
        return self._replace(body=gzip.compress(self.body, GZIP_LEVEL), headers=headers)


def text_answer(status: HTTPStatus, text: str) -> Answer:
    """A line or lines of plain text."""
    return Answer(status, f"{text}\n".encode("utf-8", "replace"))
