"""Run tests on the fallback: `TESTS_READER=messages` makes workers of this process read through the Python binding."""

import os
from typing import NoReturn

from consumer.kafka import readers


def use_chosen_reader() -> None:
    """Replace the reader where the environment says so."""
    if os.environ.get("TESTS_READER") == "messages":
        setattr(readers, "ColumnReader", _refuse)  # noqa: B010  # as where the C functions cannot be had


def _refuse(*_: object) -> NoReturn:
    raise OSError("TESTS_READER says so")
