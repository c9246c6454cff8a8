"""Read the text of a schema file or of a registry's answer as JSON, with what Java's parser lets pass."""

import json
import re
from typing import Any

_BYTE_ORDER_MARK = "\ufeff"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_STRING_OR_COMMENT = re.compile(r'"|//|/\*')
_OTHER_LANGUAGES = (
    (
        re.compile(r"\s*(@\w+|protocol\s+\w|namespace\s+\w|record\s+\w|schema\s+\w|import\s+\w)"),
        "it looks like Avro IDL (.avdl), which has to be turned into a schema: java -jar avro-tools.jar idl2schemata",
    ),
    (re.compile(r"\s*(syntax\s*=|message\s+\w)"), "it looks like Protobuf; only Avro is read"),
)


def parse_json(text: str) -> Any:
    """The JSON value of a text, which may begin with a byte order mark and hold comments as in Java.

    Raises:
        ValueError: it is not JSON; the message says where, and what it looks like.
        RecursionError: it is nested too deep.
    """
    text = text.removeprefix(_BYTE_ORDER_MARK)
    try:
        return json.loads(text)
    except ValueError as error:
        reason = str(error)
    try:
        return json.loads(_without_comments(text))
    except ValueError:
        pass
    looks_like = next((what for begins, what in _OTHER_LANGUAGES if begins.match(_without_comments(text))), "")
    raise ValueError("; ".join(filter(None, [reason, looks_like]))) from None


def _without_comments(text: str) -> str:
    """The text with `// …` and `/* … */` outside of strings left out; takes time in proportion to its length."""
    kept, at = [], 0
    while (found := _STRING_OR_COMMENT.search(text, at)) is not None:
        begin = found.start()
        if found[0] == '"':
            string = _STRING.match(text, begin)
            end = string.end() if string else -1
            kept.append(text[at:end] if string else text[at:])
        else:
            end = text.find("\n", begin) if found[0] == "//" else _behind(text, "*/", begin + 2)
            kept.append(text[at:begin])
        if end < 0:
            return "".join(kept)
        at = end
    return "".join([*kept, text[at:]])


def _behind(text: str, what: str, begin: int) -> int:
    found = text.find(what, begin)
    return found if found < 0 else found + len(what)
