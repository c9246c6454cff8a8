"""The cache of all writer schemas that records have named so far."""

import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt

from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import SchemaRefused, parse_schema_text
from consumer.intake.framing import REFUSED, UNKNOWN, UNRESOLVED
from consumer.intake.schemas.access import access_of
from consumer.intake.schemas.pinned import load_pinned
from consumer.intake.schemas.registry import MAX_ID, RegisteredSchema, Registry, RegistryUnavailable
from consumer.intake.vm.instructions import Program, ProgramCode, link
from consumer.settings.model import InputSettings

MAX_SCHEMAS = 1_000
"""Limit of cached programs and refusals; the oldest is evicted."""

MAX_STEPS = 2**19
"""Limit of cached instructions, branches and symbols, at most 64 bytes each; beyond it the oldest are evicted."""

MAX_UNKNOWN = 10_000
"""Limit of cached ids that the registry does not know."""

LOOK_UP_BUDGET_S = 1.8
"""Time-out of one `resolve` call."""

ASK_AGAIN_S = 1.0
"""Interval of look-ups for a schema that records wait for, and the first interval for a registry that is down."""

LONGEST_PAUSE_S = 16.0
"""The longest interval for a registry that is down."""

REMEMBER_UNKNOWN_S = 60.0
"""How long an unknown id is rejected without a look-up after its wait has ended."""

_FIRST_GUID = 2**32


class Refusal(NamedTuple):
    """Why a schema cannot be used."""

    message: str


class _Unknown(NamedTuple):
    first_asked_s: float
    asked_s: float


class SchemaCache:
    """Programs by reference (see `consumer.intake.framing`); asks the registry only for schemas that records name."""

    def __init__(
        self,
        source: InputSettings,
        registry: Registry | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load and compile the schemas of the settings.

        Raises:
            ViewerConsumerError: one of them cannot be read, or not mapped.
            UsageError: the settings do not name a unique schema.
        """
        self._mapping = mapping_from(source)
        self._wait_s = source.unknown_schema_wait_ms / 1000
        self._monotonic_s = monotonic_s
        self._registry = registry
        if registry is None and source.schema_registry_url and source.format == "confluent":
            self._registry = Registry(access_of(source), monotonic_s)
        self._pinned = load_pinned(source, self._mapping)
        self._learned: dict[int, Program | Refusal] = {}
        """Ordered by age, oldest first."""
        self._steps = 0
        self._unknown: OrderedDict[int, _Unknown] = OrderedDict()
        self._guid_references: dict[UUID, int] = {}
        self._guids: dict[int, UUID] = {}
        self._next_guid = _FIRST_GUID
        self._stale_at_s = math.inf
        self._down_until_s = -math.inf
        self._down_because = ""
        self._pause_s = ASK_AGAIN_S / 2
        self._rebuild()

    program_code: ProgramCode
    known: npt.NDArray[np.int64]
    """References with an entry, sorted."""
    entries: npt.NDArray[np.int64]
    """The start of each program, or REFUSED or UNKNOWN."""
    fallback: int
    """The entry of unknown references."""
    needs_scratch: bool
    """Whether a program writes UUIDs as text."""

    # Called by the intake.

    def guid_reference(self, guid: UUID) -> int:
        """The reference of a GUID, assigned at first use."""
        reference = self._guid_references.get(guid)
        if reference is None:
            if len(self._guids) >= MAX_SCHEMAS + MAX_UNKNOWN:
                self._forget_guids()
            reference = self._guid_references[guid] = self._next_guid
            self._guids[reference] = guid
            self._next_guid += 1
        return reference

    def refresh(self) -> None:
        """Call before each batch: forgets unknown ids after a while, so that they are looked up again."""
        if self._stale_at_s < math.inf and self._monotonic_s() >= self._stale_at_s:
            self._rebuild()

    def resolve(self, references: Iterable[int]) -> None:
        """Look up unknown schemas for at most `LOOK_UP_BUDGET_S`; schemas not available yet stay unknown."""
        started_s = self._monotonic_s()
        changed = False
        for reference in references:
            now_s = self._monotonic_s()
            left_s = LOOK_UP_BUDGET_S - (now_s - started_s)
            if self._registry is None or MAX_ID < reference < _FIRST_GUID:
                self._note_unknown(reference, now_s, first_asked_s=-math.inf)
                changed = True
            elif now_s >= self._down_until_s and left_s > 0 and self._is_due(reference, now_s):
                changed |= self._ask(self._registry, reference, left_s)
        if changed or self._unknown:
            self._rebuild()

    def waiting_reason(self, reference: int) -> str:
        """Why a record with this reference waits, for messages."""
        if self._down_because:
            return self._down_because
        what = "doesn't know" if reference in self._unknown else "hasn't been asked for"
        return f"the schema registry {what} {self.describe(reference)} yet"

    def refusal(self, reference: int) -> str:
        """Why a schema is refused; empty if it is not."""
        learned = self._learned.get(reference)
        return learned.message if isinstance(learned, Refusal) else ""

    def describe(self, reference: int) -> str:
        """A reference as text: `id 7`, `guid …`, `fingerprint …`."""
        if reference in self._guids:
            return f"guid {self._guids[reference]}"
        if 0 <= reference < _FIRST_GUID:
            return f"id {reference}"
        return f"fingerprint {reference & 0xFFFFFFFFFFFFFFFF:016x}"

    # Look-ups.

    def _ask(self, registry: Registry, reference: int, budget_s: float) -> bool:
        """Ask the registry for one schema; return whether anything changed."""
        try:
            if reference < _FIRST_GUID:
                found = registry.schema_by_id(reference, budget_s)
            elif reference in self._guids:
                found = registry.schema_by_guid(str(self._guids[reference]), budget_s)
            else:
                return False  # evicted; it gets another reference with the next batch
            learned = None if found is None else self._compiled(found)
        except RegistryUnavailable as error:
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            # Jitter, so that not all workers ask at once when it is back.
            self._down_until_s = self._monotonic_s() + self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
            self._down_because = str(error)
            return False
        except SchemaRefused as refusal:
            self._learn(reference, Refusal(f"{self.describe(reference)}: {refusal}"))
            return True
        self._down_because = ""
        self._pause_s = ASK_AGAIN_S / 2
        if learned is None:
            self._note_unknown(reference, self._monotonic_s())
        else:
            self._learn(reference, learned)
        return True

    def _compiled(self, found: RegisteredSchema) -> Program:
        return compile_program(parse_schema_text(found.text, found.references), self._mapping)

    def _learn(self, reference: int, learned: Program | Refusal) -> None:
        self._unlearn(reference)
        self._learned[reference] = learned
        self._steps += _steps_of(learned)
        while len(self._learned) > MAX_SCHEMAS or (self._steps > MAX_STEPS and len(self._learned) > 1):
            self._unlearn(next(iter(self._learned)))
        self._unknown.pop(reference, None)

    def _unlearn(self, reference: int) -> None:
        dropped = self._learned.pop(reference, None)
        if dropped is not None:
            self._steps -= _steps_of(dropped)

    def _note_unknown(self, reference: int, now_s: float, first_asked_s: float | None = None) -> None:
        before = self._unknown.pop(reference, None)
        first_s = now_s if first_asked_s is None else first_asked_s
        self._unknown[reference] = _Unknown(first_s if before is None else before.first_asked_s, now_s)
        if len(self._unknown) > MAX_UNKNOWN:
            self._unknown.popitem(last=False)

    def _forget_guids(self) -> None:
        for reference in [known for known in self._learned if known >= _FIRST_GUID]:
            self._unlearn(reference)
        self._unknown.clear()
        self._guid_references.clear()
        self._guids.clear()

    def _has_expired(self, entry: _Unknown) -> bool:
        """Whether the registry still did not know it when the wait ended."""
        return entry.asked_s - entry.first_asked_s >= self._wait_s

    def _is_due(self, reference: int, now_s: float) -> bool:
        entry = self._unknown.get(reference)
        if entry is None or now_s - entry.asked_s >= ASK_AGAIN_S:
            return True
        return not self._has_expired(entry) and now_s - entry.first_asked_s >= self._wait_s

    def _rebuild(self) -> None:
        """Rebuild the arrays that the kernels read."""
        now_s = self._monotonic_s()
        programs: dict[int, Program] = dict(self._pinned.programs)
        found: dict[int, int] = {}
        for reference, learned in self._learned.items():
            if isinstance(learned, Refusal):
                found[reference] = REFUSED
            else:
                programs[reference] = learned
        self._stale_at_s = math.inf
        for reference, entry in self._unknown.items():
            stale_at_s = entry.asked_s + REMEMBER_UNKNOWN_S
            if self._has_expired(entry) and now_s < stale_at_s:
                found[reference] = UNKNOWN
                self._stale_at_s = min(self._stale_at_s, stale_at_s)
        any_id = self._pinned.any_id
        linked = [*programs.values(), *([any_id] if any_id else [])]
        self.program_code, starts = link(linked)
        found |= dict(zip(programs, starts, strict=False))
        self.fallback = starts[-1] if any_id else UNRESOLVED
        self.needs_scratch = any(program.needs_scratch for program in linked)
        self.known = np.array(sorted(found), np.int64)
        self.entries = np.array([found[reference] for reference in sorted(found)], np.int64)


def _steps_of(learned: Program | Refusal) -> int:
    if isinstance(learned, Refusal):
        return 0
    program_code = learned.program_code
    return len(program_code.instructions) + len(program_code.jumps) + len(program_code.kinds)
