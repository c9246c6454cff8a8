"""Join the group as its only member, so that commits are fenced as a worker's are."""

import time
from collections.abc import Collection

from consumer.errors import ViewerConsumerError
from consumer.kafka.deadline import Clock, Deadline
from consumer.kafka.protocols import GroupMetadata
from consumer.kafka.temporary_member import temporary_member
from consumer.kafka.timeouts import TIMEOUTS, Timeouts
from consumer.settings.model import Settings

_POLL_S = 0.1


class ExclusiveMember:
    """Within a `with` block this process owns the given partitions of the input, or cannot commit.

    It reads nothing. Brokers refuse its commits as soon as another member has joined; offsets set from outside the
    group would not have that protection.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
        ViewerConsumerError: not all of the partitions were assigned in time.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: Collection[int],
        timeouts: Timeouts = TIMEOUTS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._group = settings.kafka.group_id
        self._wanted = frozenset(partitions)
        self._within_s = timeouts.join_s
        self._clock = clock
        self._member = temporary_member(settings, settings.kafka.input_topic, timeouts, clock)

    def __enter__(self) -> "ExclusiveMember":
        try:
            self._join()
        except BaseException:
            self._member.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._member.close()

    def group_metadata(self) -> GroupMetadata:
        """The group metadata for a commit.

        Raises:
            ViewerConsumerError: another has joined.
        """
        self._member.poll()
        metadata = self._member.group_metadata()
        if metadata is None or not self._wanted <= self._member.assignment:
            raise ViewerConsumerError(f'somebody has joined group "{self._group}" meanwhile; stop its workers first')
        return metadata

    def _join(self) -> None:
        deadline = Deadline.after(self._within_s, self._clock)
        self._member.subscribe()
        while not self._wanted <= self._member.assignment:
            if deadline.passed:
                missing = ", ".join(map(str, sorted(self._wanted - self._member.assignment)))
                raise ViewerConsumerError(
                    f'group "{self._group}" has not given partitions {missing} away within {self._within_s:.0f} s; '
                    "stop its workers first"
                )
            self._member.poll(_POLL_S)
