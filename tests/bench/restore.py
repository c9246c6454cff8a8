"""How long a restarted worker takes until it is live, and how fast a replay is."""

from argparse import Namespace

from tests.bench.compare import between, stats_of
from tests.bench.load import Load, load_ending_now
from tests.bench.report import Goal, report_value, say
from tests.bench.stage import Stage, stage

SIZES = {100_000: 2.0, 1_000_000: 20.0}
"""Goals in seconds, by number of streams in one partition."""

SPAN_MS = 75_000
EVENTS_A_STREAM = 6
"""Spread over window and grace; most streams get 2 to 7 buckets."""

MORE_EVENTS = 1_000
REPLAYED = 1_000_000
KILLED = [
    "commit.checkpoint_interval_ms=86400000",
    'kafka.client={"group.instance.id" = "bench"}',  # the group does not wait for the killed worker
]


def measure_restores(bootstrap_servers: str, options: Namespace) -> None:
    """Restart a worker that was stopped cleanly, and one that was killed long after its checkpoint."""
    for streams, goal_s in SIZES.items():
        if streams <= options.restore_streams:
            with stage(bootstrap_servers, options, 1) as made:
                _restart(made, streams, goal_s)


def measure_replays(bootstrap_servers: str, options: Namespace) -> None:
    """Process the same events live, and replay them after a kill."""
    with stage(bootstrap_servers, options, 1) as made:
        made.fill(load_ending_now(REPLAYED, options.streams, options.duration_s * 1000))
        pairs = [_killed(made) for _ in range(options.rounds)]
    for name, rates in zip(("live", "replay"), zip(*pairs, strict=True), strict=True):
        report_value(f"{name}: k events per CPU second", [rate / 1e3 for rate in rates])
    report_value("replay / live, by CPU second", [replay / live for live, replay in pairs], "", Goal(">=", 1))


def _restart(made: Stage, streams: int, goal_s: float) -> None:
    load = load_ending_now(EVENTS_A_STREAM * streams, streams, SPAN_MS)
    made.fill(load)
    group = made.new_group()
    with made.worker(group, load.events) as process:
        process.mark("counted")
        process.stop()
    seconds, rows = [], 0
    for number in range(made.options.rounds):
        made.fill(
            load._replace(events=MORE_EVENTS, duration_ms=MORE_EVENTS, start_ms=_end_ms(load) + number * MORE_EVENTS)
        )
        with made.worker(group, MORE_EVENTS) as process:
            restored, live = process.mark("restored"), process.mark("first")
            process.stop()
        seconds.append(restored.restore_s + live.wall_s - restored.wall_s)
        rows = restored.rows
    say(f"{streams:,} streams of {EVENTS_A_STREAM} events each on average, {rows:,} rows read")
    report_value(f"restore of {streams:,} streams, assignment to first record", seconds, "s", Goal("<=", goal_s))


def _end_ms(load: Load) -> int:
    return load.start_ms + load.duration_ms


def _killed(made: Stage) -> tuple[float, float]:
    """Return events per CPU second, live and replayed."""
    group = made.new_group()
    with made.worker(group, REPLAYED, KILLED) as process:
        live = stats_of(process)
        made.wait_until_all_is_committed(group)
        process.kill()
    with made.worker(group, 1, KILLED) as process:
        assigned, restored = process.mark("assigned"), process.mark("restored")
        process.stop()
    replay = between(assigned, restored, restored.replayed)
    return live.per_cpu_s, replay.per_cpu_s
