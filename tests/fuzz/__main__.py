"""`make fuzz`: mutated records through the whole intake, or atheris on one of its parts, guided by coverage."""

import argparse
import faulthandler
import os
import subprocess
import sys

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS

RECORDS = 10_000_000


def main() -> None:
    """Run the fuzzer and print what it saw."""
    options = _options()
    faulthandler.enable()
    if options.guided:
        guided = [sys.executable, "-m", "tests.fuzz.guided", options.guided, str(options.seconds)]
        sys.exit(subprocess.run(guided, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, check=False).returncode)
    counters = fuzz(options.records, options.seed, options.judge_one_in, _say, options.first)
    for reason, count in counters.by_reason.most_common():
        _say(f"{count:12,}  {reason or 'accepted, equal to what fastavro reads'}")
    _say(f"{counters.records:12,}  records in {counters.seconds:.0f} s: no crash, no hang, no reject without a reason")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=…", description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first feed")
    parser.add_argument(
        "--judge-one-in", type=int, default=8, help="judge one in so many rejects; all accepted records are judged"
    )
    parser.add_argument("--guided", choices=sorted(TARGETS), help="run atheris on this part, in plain Python")
    parser.add_argument("--seconds", type=int, default=60, help="duration of a guided run")
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
