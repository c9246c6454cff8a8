"""Recognize by its first bytes what a rejected record is, and say what to set."""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from consumer.intake.framing import APICURIO, CONFLUENT, RAW_PAYLOAD, SINGLE_OBJECT
from consumer.intake.rejects import Reject
from consumer.runtime.joined import Joined

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class Looks(IntEnum):
    """What a record looks like; 0 if it looks like nothing that is known."""

    CONFLUENT_ID = 1
    APICURIO_ID = 2
    SINGLE_OBJECT = 3
    GLUE = 4
    AZURE = 5
    CONTAINER = 6
    JSON = 7


_GLUE_SIZE = 18
"""Version 3, compression 0 or 5, and a UUID."""
_AZURE_SIZE = 36
"""Four 0 bytes, and a GUID as 32 hexadecimal digits."""
_APICURIO_SIZE = 9
_CONFLUENT_SIZE = 5
_SINGLE_OBJECT_SIZE = 10
_CONTAINER_MAGIC = np.frombuffer(b"Obj\x01", np.uint8)
_BRACE = ord("{")
_BEHIND_BRACE = np.frombuffer(b'"} \r\n\t', np.uint8)
_HEXADECIMAL = np.frombuffer(b"0123456789abcdefABCDEF", np.uint8)

_SENTENCES = {
    Looks.CONFLUENT_ID: 'it looks like a four-byte id of a schema registry; set input.format = "confluent"',
    Looks.APICURIO_ID: 'it looks like an eight-byte id of Apicurio; set input.format = "apicurio"',
    Looks.SINGLE_OBJECT: 'it looks like single-object encoding; set input.format = "single-object"',
    Looks.GLUE: (
        "it looks like a record of the AWS Glue Schema Registry (header bytes 3 and 0, or 3 and 5), which is not read; "
        "let the producers write Confluent's format or single-object encoding, and set input.format"
    ),
    Looks.AZURE: (
        "it looks like a record of the Azure Schema Registry (four 0 bytes and a GUID as text), which is not read; "
        "with its newer serializers, which keep the GUID in a header, set "
        'input.format = "raw" and input.schemas to a file with the schema'
    ),
    Looks.CONTAINER: "it looks like a whole Avro container file; let the producers send each event as a record",
    Looks.JSON: "it looks like JSON; on Kafka only Avro is read",
}

_EXPECTED = {CONFLUENT: Looks.CONFLUENT_ID, APICURIO: Looks.APICURIO_ID, SINGLE_OBJECT: Looks.SINGLE_OBJECT}
_UNCERTAIN = {RAW_PAYLOAD: {Looks.CONFLUENT_ID, Looks.APICURIO_ID}}
"""Empty ids and first branches are 0 bytes too, so there these must not be guessed at."""

_WORTH_A_LOOK = np.zeros(256, np.bool_)
"""By reason: whether another framing may be the cause."""
_WORTH_A_LOOK[
    [
        Reject.BAD_FRAMING,
        Reject.UNKNOWN_SCHEMA,
        Reject.TRUNCATED,
        Reject.TRAILING_BYTES,
        Reject.BAD_NUMBER,
        Reject.BAD_LENGTH,
        Reject.UNKNOWN_BRANCH,
        Reject.BAD_TEXT,
        Reject.EMPTY_ID,
        Reject.ID_TOO_LONG,
    ]
] = True


def recognize(values: Joined, reject: Bytes, rows: Ints, framing: int) -> Bytes:
    """What the rejected records of these rows look like, as codes of `Looks`; 0 where nothing has to be said."""
    found = np.zeros(len(rows), np.uint8)
    worth = np.flatnonzero(_WORTH_A_LOOK[reject[rows]])
    if len(worth):
        sizes = values.sizes.clip(0)
        begins = np.cumsum(sizes) - sizes
        places = rows[worth]
        looks = _looks(values.text, begins[places], sizes[places])
        looks[np.isin(looks, [_EXPECTED.get(framing, 0), *_UNCERTAIN.get(framing, ())])] = 0
        found[worth] = looks
    return found


def looks_like(looks: int) -> str:
    """What to say to people; empty for 0."""
    return _SENTENCES[Looks(looks)] if looks else ""


def _looks(text: Bytes, begins: Ints, sizes: Ints) -> Bytes:
    found = np.zeros(len(begins), np.uint8)
    if not len(text):
        return found
    head = _heads(text, begins, _CONFLUENT_SIZE)
    first, second, fifth = head[:, 0], head[:, 1], head[:, 4]
    upper_is_zero = ~head[:, :4].any(axis=1)
    compression = (second == 0) | (second == 5)
    found[(first == 0) & (sizes >= _CONFLUENT_SIZE)] = Looks.CONFLUENT_ID
    found[upper_is_zero & (fifth == 0) & (sizes >= _APICURIO_SIZE)] = Looks.APICURIO_ID
    found[(first == 0xC3) & (second == 1) & (sizes >= _SINGLE_OBJECT_SIZE)] = Looks.SINGLE_OBJECT
    found[(first == 3) & compression & (sizes >= _GLUE_SIZE)] = Looks.GLUE
    found[(head[:, :4] == _CONTAINER_MAGIC).all(axis=1) & (sizes >= len(_CONTAINER_MAGIC))] = Looks.CONTAINER
    found[(first == _BRACE) & np.isin(second, _BEHIND_BRACE) & (sizes >= 2)] = Looks.JSON
    azure = np.flatnonzero(upper_is_zero & (fifth != 0) & (sizes >= _AZURE_SIZE))
    if len(azure):
        guids = _heads(text, begins[azure], _AZURE_SIZE)[:, 4:]
        found[azure[np.isin(guids, _HEXADECIMAL).all(axis=1)]] = Looks.AZURE
    return found


def _heads(text: Bytes, begins: Ints, size: int) -> Bytes:
    """The first bytes of each record, a row each; behind the end of a short one is anything."""
    heads: Bytes = text[np.minimum(begins[:, np.newaxis] + np.arange(size), len(text) - 1)]
    return heads
