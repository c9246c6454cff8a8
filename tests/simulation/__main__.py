"""`make workers ARGS="--seeds 1000 --from 1"`: run many seeds, one after the other; print those that fail."""

import argparse
import logging
import sys
import time
from collections import Counter

from tests.simulation.run import Result, Trace, simulate

AGAIN = "python -m tests.simulation --seeds 1 --trace"


def main() -> None:
    """Run, and say what was seen."""
    options = _options()
    logging.disable()
    trace: Trace = _say if options.trace else lambda _: None
    began_s, cpu_s = time.monotonic(), time.process_time()
    results = [_run(seed, trace) for seed in range(options.first, options.first + options.seeds)]
    seconds, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    failed = [result.seed for result in results if result.problem]
    seen: Counter[str] = Counter()
    for result in results:
        seen.update(result.seen)
    for what, number in sorted(seen.items()):
        _say(f"{number:10,}  {what}")
    simulated_s = sum(result.simulated_s for result in results)
    a_minute = 60 * len(results) / cpu_s
    _say(f"{len(results)} seeds, {simulated_s:,.0f} simulated s, in {seconds:.0f} s, {a_minute:.0f} a minute of CPU")
    if failed:
        _say(f"failed: {failed}; run one again with: {AGAIN} --from {failed[0]}")
        sys.exit(1)


def _run(seed: int, trace: Trace) -> Result:
    result = simulate(seed, trace)
    if result.problem:
        _say(f"seed {seed}: {result.problem}")
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first one")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
