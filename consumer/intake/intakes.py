"""Make the intakes of a worker, which share what they know of schemas."""

from collections.abc import Callable
from time import monotonic
from typing import Protocol
from weakref import WeakValueDictionary

from consumer.intake.intake import Intake
from consumer.intake.schemas.cache import SchemaCache
from consumer.intake.schemas.lookups import SchemaLookups
from consumer.settings.model import InputSettings

_SHAPING = {"format", "time", "fields", "events"}
"""Settings that shape programs; those that say where schemas come from are the same for a whole worker."""


class MakeIntake(Protocol):
    """Makes an intake; see `Intakes.make`."""

    def __call__(self, source: InputSettings, *, takes_unclear: bool = False) -> Intake:
        """An intake for these settings."""


class Intakes:
    """Intakes for live reading and for replays, which may run under the settings of a checkpoint.

    All share the registry's schemas; those with the same mapping also share the compiled programs.

    Args:
        lookups: the registry's schemas; None if there is no registry.
        monotonic_s: the clock of the look-ups.
    """

    def __init__(self, lookups: SchemaLookups | None = None, monotonic_s: Callable[[], float] = monotonic) -> None:
        self._lookups = lookups
        self._monotonic_s = monotonic_s
        self._caches: WeakValueDictionary[str, SchemaCache] = WeakValueDictionary()
        """By settings; each lives as long as an intake uses it."""

    def make(self, source: InputSettings, *, takes_unclear: bool = False) -> Intake:
        """An intake for these settings.

        Args:
            source: the settings.
            takes_unclear: whether names of event types may be unclear: for replays under earlier rules.

        Raises:
            ViewerConsumerError: a schema of the settings cannot be read, or not mapped.
            UsageError: the settings do not name a unique schema.
        """
        key = f"{takes_unclear} {source.model_dump_json(include=_SHAPING)}"
        schemas = self._caches.get(key)
        if schemas is None:
            schemas = self._caches[key] = SchemaCache(
                source, self._lookups, self._monotonic_s, takes_unclear=takes_unclear
            )
        return Intake(source, schemas)

    def close(self) -> None:
        """Look nothing up any more; does not wait for a look-up under way."""
        if self._lookups is not None:
            self._lookups.close()
