"""Reset partitions: delete their stored state and set the group to a chosen input offset.

Each partition is reset in one transaction: tombstones for its rows, an empty checkpoint and journal, and the group's
offset. If the rows are kept, only the offsets of checkpoint, journal and group move. It is committed as a member of the
group, so no other member can own the partition at that time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from consumer.errors import ViewerConsumerError
from consumer.kafka.admin.exclusive_member import ExclusiveMember
from consumer.kafka.admin.state_reader import StateReader
from consumer.kafka.config import producer_config
from consumer.kafka.errors import TransactionAborted, TransactionLost
from consumer.kafka.transaction import TransactionOwner
from consumer.runtime.clocks import Clocks
from consumer.runtime.secret import new_hash_key
from consumer.settings.model import Settings
from consumer.state import checkpoint as checkpoints
from consumer.state import journal as journals
from consumer.state.checkpoint import Checkpoint, Identity
from consumer.state.inspect import View, read_stored
from consumer.state.journal import Journal, StateError
from consumer.state.keys import CHECKPOINT, FINDING, JOURNAL
from consumer.state.report import StoredPartition
from consumer.state.result_settings import result_settings_of
from consumer.windows.layout import Times
from consumer.windows.storage.checksum import Checksum

From = Literal["committed", "earliest", "latest", "keep-rows"]
"""Where a reset partition continues; `keep-rows` keeps its windows and continues at the log start of the input."""

TRANSACTION_TIMEOUT_MS = 120_000
"""Time-out for a transaction with tombstones for millions of rows."""


class ResetPlan(NamedTuple):
    """The planned reset of a partition."""

    partition: int
    offset: int
    """The offset to continue from."""
    checkpoint: int
    """Number of the empty checkpoint to be written."""
    streams: int
    """Number of streams that are deleted."""
    keys: tuple[bytes, ...]
    """Keys that get a tombstone."""
    kept: Checkpoint | None = None
    """The checkpoint whose rows are kept."""
    unknown_offsets: int = 0
    """Offsets that are skipped with kept rows: transaction markers, or records that were deleted uncounted."""


def reset_plans(state: StateReader, partitions: Sequence[int], start: From) -> list[ResetPlan]:
    """Plan a reset of the partitions; refused while the group has members.

    Raises:
        ViewerConsumerError: the group has members, the offset is unknown, or the cluster does not answer.
    """
    _refuse_members(state)
    return [_planned(stored, start) for stored in read_stored(state, partitions)]


def reset_partitions(view: View, settings: Settings, plans: Sequence[ResetPlan], start: From) -> Iterator[ResetPlan]:
    """Execute the plans one partition at a time; yield each when it is done.

    Raises:
        ViewerConsumerError: the state changed since the plan was made, or a transaction failed; partitions yielded
            before are reset.
    """
    config = {**producer_config(settings, "", view.message_bytes), "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS}
    config["transactional.id"] = f"{settings.kafka.group_id}-state-reset"
    _refuse_members(view.state)
    with ExclusiveMember(settings, [plan.partition for plan in plans]) as member:
        transactions = TransactionOwner(config, _SilentListener())
        try:
            transactions.init()
            for plan in plans:
                (now,) = read_stored(view.state, [plan.partition])
                if _planned(now, start) != plan:
                    raise ViewerConsumerError(f"partition {plan.partition}: its state has changed meanwhile; try again")
                _reset_in_transaction(plan, settings, view.identity, transactions, member)
                yield plan
        finally:
            transactions.close()


def _refuse_members(state: StateReader) -> None:
    members = state.members()
    if members:
        who = ", ".join(sorted({f"{each.client_id} at {each.host.removeprefix('/')}" for each in members}))
        count = "1 member" if len(members) == 1 else f"{len(members)} members"
        raise ViewerConsumerError(
            f"the group has {count} ({who}): stop its workers first; one that was killed stays a member until its "
            "session has ended"
        )


def _planned(stored: StoredPartition, start: From) -> ResetPlan:
    if start == "keep-rows":
        return _planned_with_rows(stored)
    contents = stored.contents
    return ResetPlan(
        partition=stored.partition,
        offset=_offset(stored, start),
        checkpoint=_number(contents.checkpoint) + 1,
        streams=contents.streams,
        keys=tuple(sorted((*contents.rows, *contents.others, *([FINDING] if contents.finding else ())))),
    )


def _planned_with_rows(stored: StoredPartition) -> ResetPlan:
    contents, at = stored.contents, f"partition {stored.partition}"
    if contents.checkpoint is None or contents.journal is None:
        raise ViewerConsumerError(f"{at}: it has no checkpoint and journal whose rows could be kept")
    try:
        kept, journal = checkpoints.decoded(contents.checkpoint), journals.decoded(contents.journal)
    except StateError as error:
        raise ViewerConsumerError(f"{at}: its rows cannot be kept: {error}") from None
    if journal.needed_from(kept.next_offset) != journal.next_offset or journal.published.count or journal.journal.steps:
        raise ViewerConsumerError(
            f"{at}: its rows cannot be kept: they are as of offset {kept.next_offset}, and summaries were published "
            f"from records up to {journal.next_offset}; reset it without --keep-rows"
        )
    if stored.input_begin <= journal.next_offset:
        raise ViewerConsumerError(
            f"{at}: nothing to do: its state goes to offset {journal.next_offset}, and the input begins at "
            f"{stored.input_begin}"
        )
    return ResetPlan(
        partition=stored.partition,
        offset=stored.input_begin,
        checkpoint=kept.number + 1,
        streams=contents.streams,
        keys=(),
        kept=kept,
        unknown_offsets=stored.input_begin - journal.next_offset,
    )


def _offset(stored: StoredPartition, start: From) -> int:
    if start == "earliest":
        return stored.input_begin
    if start == "latest":
        return stored.input_end
    offset = stored.committed if stored.committed is not None else _journal_offset(stored.contents.journal)
    if offset is None:
        raise ViewerConsumerError(
            f"partition {stored.partition}: the group has committed no offset; choose --from earliest or --from latest"
        )
    if not stored.input_begin <= offset <= stored.input_end:
        raise ViewerConsumerError(
            f"partition {stored.partition}: the group has committed offset {offset}, but the input goes from "
            f"{stored.input_begin} to {stored.input_end}; choose --from earliest or --from latest"
        )
    return offset


def _journal_offset(value: bytes | None) -> int | None:
    try:
        return None if value is None else journals.decoded(value).next_offset
    except StateError:
        return None  # undecodable state can be reset too


def _number(value: bytes | None) -> int:
    try:
        return 0 if value is None else checkpoints.decoded(value).number
    except StateError:
        return 0  # as above


def _reset_in_transaction(
    plan: ResetPlan, settings: Settings, identity: Identity, transactions: TransactionOwner, member: ExclusiveMember
) -> None:
    topic = settings.kafka.state_topic
    journal = Journal().encoded(plan.checkpoint, plan.offset, Checksum(0, 0))
    checkpoint = replace(
        plan.kept or _empty_checkpoint(settings, identity),
        number=plan.checkpoint,
        next_offset=plan.offset,
        written_ms=Clocks().wall_ms(),
    )
    try:
        transactions.produce_all(topic, ((key, None) for key in plan.keys), plan.partition)
        transactions.produce(topic, JOURNAL, journal, None, plan.partition)
        transactions.produce(topic, CHECKPOINT, checkpoint.encoded(), None, plan.partition)
        transactions.commit({(settings.kafka.input_topic, plan.partition): plan.offset}, member.group_metadata())
    except TransactionAborted as error:
        raise ViewerConsumerError(f"partition {plan.partition}: nothing was changed: {error}") from None
    except TransactionLost as error:
        raise ViewerConsumerError(
            f"partition {plan.partition}: it is not known whether its state was reset: {error}; look at it with: "
            f"{settings.command('state list')}"
        ) from None


def _empty_checkpoint(settings: Settings, identity: Identity) -> Checkpoint:
    return Checkpoint(
        number=0,
        next_offset=0,
        times=Times(),
        hash_key=new_hash_key(),
        rows=Checksum(0, 0),
        settings=result_settings_of(settings),
        identity=identity,
        written_ms=0,
    )


class _SilentListener:
    """Ignores how transactions end."""

    def committed(self, seconds: float) -> None:
        """Ignore a commit."""

    def aborted(self, error: str) -> None:
        """Ignore an abort."""

    def lost(self, error: str) -> None:
        """Ignore a loss."""

    def retried(self, error: str) -> None:
        """Ignore a retry."""
