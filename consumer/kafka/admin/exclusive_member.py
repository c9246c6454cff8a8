"""Being the only member of the group: what is committed then is fenced as a worker's commits are."""

import time
from collections.abc import Collection, Sequence

from consumer.errors import ViewerConsumerError
from consumer.kafka.config import consumer_config
from consumer.kafka.deadline import Clock, Deadline
from consumer.kafka.input_consumer import InputConsumer
from consumer.kafka.protocols import GroupMetadata
from consumer.settings.model import Settings

JOIN_WITHIN_S = 60.0
"""A group whose members were killed gives their partitions away when their sessions have ended."""

_POLL_S = 0.1


class ExclusiveMember:
    """Within a `with` block, all of some partitions of the input belong to this process, or nothing can be committed.

    It reads nothing. Brokers refuse its commits as soon as another has joined, which an offset that is set from outside
    of the group would not be safe from.

    Raises:
        UsageError: librdkafka doesn't take `kafka.client`.
        ViewerConsumerError: not all of the partitions can be had.
    """

    def __init__(
        self,
        settings: Settings,
        partitions: Collection[int],
        within_s: float = JOIN_WITHIN_S,
        clock: Clock = time.monotonic,
    ) -> None:
        self._group = settings.kafka.group_id
        self._wanted = frozenset(partitions)
        self._within_s = within_s
        self._clock = clock
        config = consumer_config(settings)
        # By its name it would take the place of a worker that is to come back.
        config.pop("group.instance.id", None)
        self._input = InputConsumer(config, settings.kafka.input_topic, _Nobody())

    def __enter__(self) -> "ExclusiveMember":
        try:
            self._join()
        except BaseException:
            self._input.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()

    def group_metadata(self) -> GroupMetadata:
        """What a commit of any of the partitions needs.

        Raises:
            ViewerConsumerError: another has joined.
        """
        self._input.poll(1, 0.0)
        metadata = self._input.group_metadata()
        if metadata is None or not self._wanted <= self._input.assignment:
            raise ViewerConsumerError(f'somebody has joined group "{self._group}" meanwhile; stop its workers first')
        return metadata

    def _join(self) -> None:
        deadline = Deadline.after(self._within_s, self._clock)
        self._input.subscribe()
        while not self._wanted <= self._input.assignment:
            if deadline.passed:
                missing = ", ".join(map(str, sorted(self._wanted - self._input.assignment)))
                raise ViewerConsumerError(
                    f'group "{self._group}" has not given partitions {missing} away within {self._within_s:.0f} s; '
                    "stop its workers first"
                )
            self._input.poll(1, _POLL_S)


class _Nobody:
    """Has nothing to do as partitions come and go."""

    def on_assigned(self, partitions: Sequence[int]) -> None:
        """Nothing is restored."""

    def on_revoked(self, partitions: Sequence[int]) -> None:
        """Nothing is to be committed."""

    def on_lost(self, partitions: Sequence[int]) -> None:
        """Nothing is to be taken back."""
