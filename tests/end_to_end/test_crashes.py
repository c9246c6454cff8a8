"""Workers that are killed or frozen at the worst moments still publish every summary exactly once."""

from pathlib import Path

import pytest

from tests.chaos.deployment import deployment
from tests.chaos.points import Order

pytestmark = pytest.mark.slow

PARTITIONS = 4
SEED = 11
START_TIMEOUT_S = 90.0
"""The first start may have to compile kernels."""
WITHIN_S = 60.0


@pytest.mark.parametrize(
    ("counting", "orders"),
    [
        ("sessions", (Order("after_produce", 10), Order("in_checkpoint", 4))),
        ("events", (Order("after_send_offsets", 10), Order("after_commit", 10))),
    ],
)
def test_a_worker_that_is_killed_and_restarted_loses_and_repeats_nothing(
    bootstrap_servers: str, tmp_path: Path, counting: str, orders: tuple[Order, Order]
) -> None:
    """Kill it twice beside a worker that lives.

    ```
    one   ══ … pass 10 ✗   ══ restore ══ … pass 10 ✗   ══ restore ══ … ══ stop
    other ═══════════════════════════════════════════════════════════════ stop
    ```
    """
    # With stable instance ids a restart need not wait until the group has noticed the death.
    workers = {"one": "one", "other": "other"}
    with deployment(
        bootstrap_servers, tmp_path, counting=counting, seed=SEED, partitions=PARTITIONS, workers=workers
    ) as deployed:
        one, other = deployed.workers
        other.start()
        for order in orders:
            one.start(order)
            assert one.ends_within(START_TIMEOUT_S)
        one.start()
        assert one.wakes_within(START_TIMEOUT_S)  # the other may make all the progress, and signals come too early
        deployed.wait_for_progress(50, WITHIN_S)
        deployed.settle(WITHIN_S)
        assert [ending.how for ending in deployed.endings] == ["killed", "killed", "stopped", "stopped"]
        verdict = deployed.verdict()
    assert verdict.clean, "\n".join([str(verdict), *verdict.examples])


def test_a_zombie_publishes_nothing(bootstrap_servers: str, tmp_path: Path) -> None:
    """It stops itself with an open transaction, and continues when its partitions belong to the other worker.

    ```
    one    ══ produced ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ commits in vain, joins again ══ stop
    other  ═══════════════ session over: takes all ═══════════════════════════ stop
    ```
    """
    workers = {"one": "", "other": ""}
    with deployment(
        bootstrap_servers, tmp_path, counting="sessions", seed=SEED, partitions=PARTITIONS, workers=workers
    ) as deployed:
        one, other = deployed.workers
        other.start()
        one.start(Order("after_produce", 10, stop=True))
        assert one.freezes_within(START_TIMEOUT_S)
        # In all partitions, so what was the frozen one's is the other's.
        deployed.wait_for_progress(50, WITHIN_S)
        assert one.frozen
        one.thaw()
        deployed.wait_for_progress(50, WITHIN_S)
        deployed.settle(WITHIN_S)
        assert [ending.how for ending in deployed.endings] == ["stopped", "stopped"]
        verdict = deployed.verdict()
    assert verdict.clean, "\n".join([str(verdict), *verdict.examples])
