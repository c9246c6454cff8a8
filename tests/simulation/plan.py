"""What a seed decides before its run: settings, sizes, and how often what goes wrong."""

import random
from dataclasses import dataclass

from consumer.kafka.transaction import TimeLimits
from consumer.settings.model import CommitSettings, InputSettings, KafkaSettings, Settings, WindowSettings
from tests.end_to_end.events import SCHEMA_ID, SCHEMA_PATH
from tests.simulation.network import Weather
from tests.simulation.producer_client import Mishaps

TRANSACTION_S = 6.0
SESSION_S = 10.0
"""As short as settings may have them."""
NEVER_MS = 3_600_000
NEVER_S = 1e9
ENDS = ("EndTxn", "InitProducerId")
FAIR = (
    "AddPartitionsToTxn",
    "Produce",
    "AddOffsetsToTxn",
    "TxnOffsetCommit",
    "OffsetFetch",
    "ListOffsets",
    "Metadata",
    "group",
)


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    partitions: int
    workers: int
    """Most that run at a time."""
    chaos_s: float
    settings: Settings
    keeps_names: bool
    """A worker that takes another's place has its `group.instance.id` and its transactional id."""
    piece: int
    """Buckets that close at once."""
    pending_bytes: int
    """High mark of pending output."""
    weather: dict[str, Weather]
    slow_markers: float
    mishaps: Mishaps
    limits: TimeLimits
    """Of the transaction owner's calls."""
    longest_poll_s: float
    """max.poll.interval.ms, and how long the group waits for members to rejoin."""
    every_s: dict[str, float]
    """Mean time between faults of a kind."""


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    dice = random.Random(seed)
    partitions = dice.randint(1, 4)
    interval_ms = dice.choice((100, 300, 800))
    windows = WindowSettings(
        window_duration_ms=5_000,
        bucket_ms=1_000,
        grace_ms=dice.choice((0, 1_000)),
        counting=dice.choice(("events", "sessions")),
        viewer_timeout_ms=dice.choice((1_000, 4_000)),
        stream_idle_ms=6_000,
        partition_idle_ms=dice.choice((2_000, NEVER_MS)),
    )
    client: dict[str, str | int | float | bool] = {
        "transaction.timeout.ms": int(TRANSACTION_S * 1000),
        "session.timeout.ms": int(SESSION_S * 1000),
    }
    return Plan(
        seed=seed,
        partitions=partitions,
        workers=dice.randint(1, 3),
        chaos_s=dice.uniform(40.0, 90.0),
        settings=Settings(
            kafka=KafkaSettings(client=client),
            input=InputSettings(ids={SCHEMA_ID: SCHEMA_PATH}),
            windows=windows,
            commit=CommitSettings(
                interval_ms=interval_ms, checkpoint_interval_ms=dice.choice((interval_ms, 2_000, 30_000))
            ),
        ),
        keeps_names=dice.random() < 0.5,
        piece=dice.choice((1, 3, 20_000, 20_000)),
        pending_bytes=dice.choice((500, 16 * 1024 * 1024)),
        weather=_weather(dice),
        slow_markers=dice.choice((0.0, 0.1)),
        mishaps=Mishaps(dice.choice((0.0, 0.01, 0.2)), dice.choice((0.0, 0.01)), dice.choice((0.0, 0.002))),
        # With the short one a commit is lost by a worker that keeps its partitions.
        limits=TimeLimits(end_s=dice.choice((8.0, 30.0))),
        longest_poll_s=dice.choice((25.0, 60.0)),
        every_s={
            "kill": dice.choice((10.0, 30.0, NEVER_S)),
            "stop": dice.choice((20.0, NEVER_S)),
            "freeze": dice.choice((10.0, 30.0, NEVER_S)),
            "expel": dice.choice((10.0, NEVER_S)),
            "mute": dice.choice((20.0, NEVER_S)),
            "outage": dice.choice((10.0, 30.0, NEVER_S)),
            "rebalance": dice.choice((5.0, 20.0)),
            "compact": 5.0,
            "fence": dice.choice((30.0, NEVER_S)),
        },
    )


def _weather(dice: random.Random) -> dict[str, Weather]:
    """The ends of transactions fare worst."""
    lost = dice.choice((0.0, 0.05, 0.3))
    rough = Weather(lost, lost, dice.choice((0.0, 0.05, 0.2)), dice.choice((1.0, 8.0, 40.0)))
    lost = dice.choice((0.0, 0.02))
    fair = Weather(lost, lost, dice.choice((0.0, 0.02)), dice.choice((1.0, 10.0)))
    return dict.fromkeys(ENDS, rough) | dict.fromkeys(FAIR, fair)
