"""Run tests on the fallback: `TESTS_READER=messages` makes workers of this process use the Python binding."""

import os
from typing import NoReturn

from consumer.kafka import producers, readers


def use_chosen_reader() -> None:
    """Replace reader and producer where the environment says so."""
    if os.environ.get("TESTS_READER") == "messages":
        setattr(readers, "ColumnReader", _refuse)  # noqa: B010  # as where the C functions cannot be had
        setattr(producers, "CProducer", _refuse)  # noqa: B010  # as above


def _refuse(*_: object) -> NoReturn:
    raise OSError("TESTS_READER says so")
