"""Killed or frozen at the worst moments, workers still publish every summary exactly once."""

from pathlib import Path

import pytest

from tests.chaos.deployment import deployment
from tests.chaos.points import Order

PARTITIONS = 4
SEED = 11
START_TIMEOUT_S = 90.0
"""Kernels may have to be compiled first."""
WITHIN_S = 60.0


@pytest.mark.parametrize(
    ("counting", "orders"),
    [
        ("sessions", (Order("after_produce", 10), Order("in_checkpoint", 4))),
        ("events", (Order("after_send_offsets", 10), Order("after_commit", 10))),
    ],
)
def test_killed_and_restarted(
    bootstrap_servers: str, tmp_path: Path, counting: str, orders: tuple[Order, Order]
) -> None:
    """Twice, beside one that lives.

    ```
    one   ══ … pass 10 ✗   ══ restore ══ … pass 10 ✗   ══ restore ══ … ══ stop
    other ═══════════════════════════════════════════════════════════════ stop
    ```
    """
    # With names that outlive them: a restart need not wait until the group has noticed a death.
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
    """It stops itself with a transaction open, and goes on when its partitions are another's.

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
