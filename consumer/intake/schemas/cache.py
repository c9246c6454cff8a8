"""The cache of all writer schemas that records have named so far."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from uuid import UUID

import numpy as np
import numpy.typing as npt

from consumer.intake.compiler.mapping import mapping_from
from consumer.intake.compiler.program import compile_program
from consumer.intake.compiler.schema_json import SchemaRefused
from consumer.intake.framing import NAMED_BY_ID, REFUSED, UNKNOWN, UNRESOLVED
from consumer.intake.schemas.lookups import (
    MAX_SCHEMAS,
    MAX_UNKNOWN,
    REMEMBER_UNKNOWN_S,
    Key,
    Refusal,
    SchemaLookups,
    Unknown,
    describe_key,
)
from consumer.intake.schemas.pinned import load_pinned
from consumer.intake.schemas.registry import MAX_ID
from consumer.intake.vm.instructions import Program, ProgramCode, link
from consumer.settings.model import InputSettings

MAX_STEPS = 2**19
"""Limit of cached instructions, branches and symbols, at most 64 bytes each; beyond it the oldest are evicted."""

COMPILE_BUDGET_S = 0.05
"""How long one `resolve` call compiles; one schema may take 0.03 s. The others follow with the next call."""

_FIRST_GUID = 2**32


class SchemaCache:
    """Programs by reference (see `consumer.intake.framing`), compiled for one mapping; for one thread.

    Args:
        source: the settings; their schemas are loaded and compiled.
        lookups: the registry's schemas; None if there is no registry.
        monotonic_s: the clock of the look-ups.
        takes_unclear: whether names of event types may be unclear, as under earlier rules.

    Raises:
        ViewerConsumerError: one of the schemas cannot be read, or not mapped.
        UsageError: the settings do not name a unique schema.
    """

    def __init__(
        self,
        source: InputSettings,
        lookups: SchemaLookups | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        *,
        takes_unclear: bool = False,
    ) -> None:
        self._mapping = mapping_from(source, takes_unclear=takes_unclear)
        self._monotonic_s = monotonic_s
        self._lookups = lookups if source.format in NAMED_BY_ID else None
        self._pinned = load_pinned(source, self._mapping)
        self._learned: dict[int, Program | Refusal] = {}
        """Ordered by age, oldest first."""
        self._steps = 0
        self._unknown: OrderedDict[int, float] = OrderedDict()
        """Unknown references, and until when they are rejected without a look-up."""
        self._guid_references: dict[UUID, int] = {}
        self._guids: dict[int, UUID] = {}
        self._next_guid = _FIRST_GUID
        self._stale_at_s = math.inf
        self._rebuild()

    program_code: ProgramCode
    known: npt.NDArray[np.int64]
    """References with an entry, sorted."""
    entries: npt.NDArray[np.int64]
    """The start of each program, or REFUSED or UNKNOWN."""
    fallback: int
    """The entry of unknown references."""
    makes_more: bool
    """Whether a program has operations above `END`."""
    needs_scratch: bool
    """Whether a program makes texts of ids."""

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

    @property
    def answered(self) -> int:
        """Number of look-ups that have ended: when it changes, records that wait are worth another try."""
        return 0 if self._lookups is None else self._lookups.answered

    def refresh(self) -> None:
        """Call before each batch: forgets unknown ids after a while, so that they are looked up again."""
        if self._monotonic_s() < self._stale_at_s:
            return
        now_s = self._monotonic_s()
        for reference in [each for each, until_s in self._unknown.items() if now_s >= until_s]:
            del self._unknown[reference]
        self._rebuild()

    def resolve(self, references: Iterable[int]) -> None:
        """Take what is known of unknown schemas by now, and have the others looked up in the background."""
        keys = {reference: self._key(reference) for reference in references}
        if self._lookups is not None:
            self._lookups.request(key for key in keys.values() if key is not None)
        began_s = self._monotonic_s()
        changed = False
        for reference, key in keys.items():
            changed |= self._take(reference, key)
            if self._monotonic_s() - began_s >= COMPILE_BUDGET_S:
                break
        if changed:
            self._rebuild()

    def is_available(self, reference: int) -> bool:
        """Whether a record that waited for this schema can be decoded, or rejected, by now."""
        if self._key(reference) is None:
            return True  # evicted: the GUID gets another reference when the record is decoded
        self.refresh()
        if not self._has_entry(reference):
            self.resolve([reference])
        return self._has_entry(reference)

    def waiting_reason(self, reference: int) -> str:
        """Why a record with this reference waits, for messages; empty while its look-up is only beginning."""
        key = self._key(reference)
        return "" if key is None or self._lookups is None else self._lookups.reason(key)

    def refusal(self, reference: int) -> str:
        """Why a schema is refused; empty if it is not."""
        learned = self._learned.get(reference)
        return learned.message if isinstance(learned, Refusal) else ""

    def describe(self, reference: int) -> str:
        """A reference as text: `id 7`, `guid …`, `fingerprint …`."""
        key = self._key(reference)
        if key is not None or 0 <= reference < _FIRST_GUID:
            return describe_key(reference if key is None else key)
        return f"fingerprint {reference & 0xFFFFFFFFFFFFFFFF:016x}"

    # Schemas.

    def _key(self, reference: int) -> Key | None:
        """The registry's name of a schema; None if no registry has it, or its GUID is evicted."""
        return reference if 0 <= reference <= MAX_ID else self._guids.get(reference)

    def _has_entry(self, reference: int) -> bool:
        at = int(np.searchsorted(self.known, reference))
        return at < len(self.known) and int(self.known[at]) == reference

    def _take(self, reference: int, key: Key | None) -> bool:
        """Take what is known of one schema; return whether anything changed."""
        if self._lookups is None or MAX_ID < reference < _FIRST_GUID:
            self._note_unknown(reference, self._monotonic_s() + REMEMBER_UNKNOWN_S)
            return True
        answer = None if key is None else self._lookups.answer(key)
        if answer is None:
            return False
        if isinstance(answer, Unknown):
            self._note_unknown(reference, answer.until_s)
        elif isinstance(answer, Refusal):
            self._learn(reference, answer)
        else:
            try:
                self._learn(reference, compile_program(answer, self._mapping))
            except SchemaRefused as refusal:
                self._learn(reference, Refusal(f"{self.describe(reference)}: {refusal}"))
        return True

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

    def _note_unknown(self, reference: int, until_s: float) -> None:
        self._unknown.pop(reference, None)
        self._unknown[reference] = until_s
        if len(self._unknown) > MAX_UNKNOWN:
            self._unknown.popitem(last=False)

    def _forget_guids(self) -> None:
        for reference in [known for known in self._learned if known >= _FIRST_GUID]:
            self._unlearn(reference)
        self._unknown.clear()
        self._guid_references.clear()
        self._guids.clear()

    def _rebuild(self) -> None:
        """Rebuild the arrays that the kernels read."""
        programs: dict[int, Program] = dict(self._pinned.programs)
        found: dict[int, int] = dict.fromkeys(self._unknown, UNKNOWN)
        for reference, learned in self._learned.items():
            if isinstance(learned, Refusal):
                found[reference] = REFUSED
            else:
                programs[reference] = learned
        self._stale_at_s = min(self._unknown.values(), default=math.inf)
        any_id = self._pinned.any_id
        linked = [*programs.values(), *([any_id] if any_id else [])]
        self.program_code, starts = link(linked)
        found |= dict(zip(programs, starts, strict=False))
        self.fallback = starts[-1] if any_id else UNRESOLVED
        self.makes_more = any(program.makes_more for program in linked)
        self.needs_scratch = any(program.needs_scratch for program in linked)
        self.known = np.array(sorted(found), np.int64)
        self.entries = np.array([found[reference] for reference in sorted(found)], np.int64)


def _steps_of(learned: Program | Refusal) -> int:
    if isinstance(learned, Refusal):
        return 0
    program_code = learned.program_code
    return sum(map(len, (program_code.instructions, program_code.jumps, program_code.kinds, program_code.names)))
