"""Look-ups of schemas without a thread, so that an answer is there when the request returns."""

import time
from collections.abc import Callable

from consumer.intake.intake import Intake
from consumer.intake.intakes import Intakes
from consumer.intake.schemas.access import access_of
from consumer.intake.schemas.lookups import SchemaLookups
from consumer.intake.schemas.registry import Registry
from consumer.settings.model import InputSettings


def lookups_in_place(
    registry: Registry, wait_s: float, monotonic_s: Callable[[], float] = time.monotonic
) -> SchemaLookups:
    """Look-ups that ask in the caller's thread."""
    return SchemaLookups(registry, wait_s, monotonic_s, start=lambda run: run())


def intake_in_place(source: InputSettings, monotonic_s: Callable[[], float] = time.monotonic) -> Intake:
    """An intake that asks the registry of its settings in the caller's thread."""
    registry = Registry(access_of(source), monotonic_s)
    lookups = lookups_in_place(registry, source.unknown_schema_wait_ms / 1000, monotonic_s)
    return Intakes(lookups, monotonic_s).make(source)
