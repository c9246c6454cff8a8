"""Runs in its own process: warm up, work, and print kernels that were compiled for types not warmed up."""

import json
import sys

from consumer.intake.intake import Intake
from consumer.intake.schemas.cache import SchemaCache
from consumer.runtime.joined import joined
from consumer.settings.model import InputSettings
from consumer.windows.partition import PartitionWindows
from consumer.windows.storage.store import PART_BYTES
from consumer.worker import restoring
from consumer.worker.warm_up import warm_up
from tests.intake.payloads import bitrate, buffer, join, leave, schema_headers
from tests.worker.rig import BUCKET_MS, INTERVAL_S, Rig

STREAMS = 3_000
PIECE = 100
"""Size of a piece of a jump of time."""


def signatures() -> dict[str, list[str]]:
    """Return the signatures for which each kernel is compiled."""
    found = {}
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("consumer."):
            for name, kernel in vars(module).items():
                if hasattr(kernel, "signatures") and getattr(kernel, "__module__", "") == module_name:
                    found[f"{module_name}.{name}"] = sorted(map(str, kernel.signatures))
    return found


def work(counting: str) -> None:
    """Do all that a worker does with records: one, many, invalid ones, new streams, quiet ones, a view and the end."""
    rig = Rig(partitions=2, counting=counting).start()
    rig.join(0)
    rig.turn(INTERVAL_S)
    for bucket in (1, 2):
        for number in range(STREAMS):
            rig.join(bucket, number % 2, f"stream {number} of a long name")
    for payload in (bitrate(2**41), buffer(7), leave(), join("", ""), b"\xff"):
        rig.write(payload)
    rig.write_raw(None)
    rig.turn(1.0, times=2 * STREAMS // 1_000 + 5)
    rig.clock.now_s = 3_600_000.0  # else it would be an event of the future
    rig.join(3_600_000_000 // BUCKET_MS)
    rig.turn()
    assert rig.worker._tasks[0].jumping, "a jump is cut"
    rig.turn(1.0, times=2 * STREAMS // PIECE)
    store_and_load(rig.worker._tasks[0].windows)
    rig.worker.stop()
    for source in (InputSettings(format="raw"), InputSettings(format="single-object"), InputSettings(time="kafka")):
        Intake(source, SchemaCache(source)).decode(
            joined([join(), None]), [1, -1], 5, schema_headers([[("h", b"1")], []])
        )


def store_and_load(windows: PartitionWindows) -> None:
    """Store and load a partition's state, with one part per stream and with several."""
    for part_bytes in (8, PART_BYTES):
        rows = windows.changed_rows(part_bytes)
        loading = PartitionWindows.loading(windows._rules, windows.hash_key, windows.times())
        loading.load(rows.records)
        loading.finish_load()
    windows.mark_stored(rows)
    finish_jump(windows)
    windows.step(windows.next_step_ms() or 0, 7)
    finish_jump(windows)
    windows.change_rules(windows._rules._replace(grace_ms=windows._rules.grace_ms + 1), 8)


def finish_jump(windows: PartitionWindows) -> None:
    while windows.jump_pending:
        windows.continue_jump()


def main() -> None:
    """Print new signatures by kernel, and the number of kernels."""
    restoring.CLOSED_AT_ONCE = PIECE
    warm_up()
    before = signatures()
    for counting in ("sessions", "events"):
        work(counting)
    after = signatures()
    new = {name: after[name] for name in after if after[name] != before.get(name)}
    print(json.dumps({"kernels": sum(map(bool, before.values())), "new": new}))  # noqa: T201  # the output is the result


if __name__ == "__main__":
    main()
