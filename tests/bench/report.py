"""Print one line per measurement with its goal."""

import operator
import statistics
import sys
from collections.abc import Sequence
from typing import NamedTuple

QUARTILES_FROM = 5
"""So many values have quartiles."""


class Goal(NamedTuple):
    """The limit that a measurement is compared with."""

    sign: str
    """One of `<=`, `>=`, `<`."""
    value: float

    def met_by(self, value: float) -> bool:
        """Return whether the value meets the goal."""
        return bool({"<=": operator.le, ">=": operator.ge, "<": operator.lt}[self.sign](value, self.value))


def say(line: str) -> None:
    """Print a line and flush."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def report_value(name: str, values: Sequence[float], unit: str = "", goal: Goal | None = None) -> None:
    """Print the median of the values, their spread if there are several, and whether it meets its goal."""
    middle = statistics.median(values)
    if len(values) >= QUARTILES_FROM:
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        name = f"{name} (quartiles {low:.3g}, {high:.3g})"
    spread = f"({min(values):.3g} to {max(values):.3g})" if len(values) > 1 else ""
    judged = "" if goal is None else f"goal {goal.sign} {goal.value:g}: {'met' if goal.met_by(middle) else 'MISSED'}"
    say(f"{name:72} {middle:10.4g} {unit:6} {spread:20} {judged}".rstrip())
