"""Ids of streams as labels of metrics, which are also their names in the API."""

import hashlib
import re

MAX_LABEL_CHARS = 200

_SHORTENED = re.compile(r"#[0-9a-f]{16}\Z")


def label_of(stream_id: str) -> str:
    """The id as a label value that every Prometheus accepts.

    Most ids are unchanged. A lone surrogate would break the whole scrape, and an overlong id bloats every query: such
    ids are cleaned and shortened, with a digest that keeps them distinct. An id that looks shortened gets a digest too,
    so that nobody can send an id equal to another's label.
    """
    clean = stream_id.encode("utf-8", "replace").decode()
    if clean == stream_id and len(stream_id) <= MAX_LABEL_CHARS and not _SHORTENED.search(stream_id):
        return stream_id
    raw = stream_id.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(raw, digest_size=8).hexdigest()
    return f"{clean[: MAX_LABEL_CHARS - len(digest) - 1]}#{digest}"
