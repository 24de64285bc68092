"""From single measurements to medians, ratios, bars and a table; nothing here measures anything."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from hydra_bench.core.json_values import JsonObject

Value = float | None
"""None is a goal that was never reached: it counts as infinitely late."""


@dataclass(frozen=True)
class Measurement:
    """One number that was measured: what of, its unit, and in which run (seed, repeat, variant, …)."""

    figure: str
    unit: str
    value: Value
    run: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class Bar:
    """What a figure is to reach, one of the two bounds: its median, or every single run of it."""

    at_most: float = math.inf
    at_least: float = -math.inf
    every: bool = False

    def met(self, values: Sequence[Value]) -> bool:
        """Nothing measured, or a goal not reached, meets no bar."""
        judged = list(values) if self.every else [median(values)]
        return bool(judged) and all(value is not None and self.at_least <= value <= self.at_most for value in judged)

    def __str__(self) -> str:
        bound = f"≥ {self.at_least:g}" if self.at_most == math.inf else f"≤ {self.at_most:g}"
        return bound + (", every run" if self.every else "")


def median(values: Sequence[Value]) -> Value:
    """The median; None if there are no values, or if half of the runs or more did not get there."""
    return _finite(statistics.median(_late(values)))


def _late(values: Sequence[Value]) -> list[float]:
    """The values, as numbers that can be ordered; where nothing was measured nothing was reached."""
    return [math.inf if value is None else value for value in values] or [math.inf]


def _finite(value: float) -> Value:
    return None if math.isinf(value) else value


def ratio(first: Value, second: Value) -> Value:
    """Of two runs, one measured right after the other, so that a machine that slows down does so for both.

    None where one of the two did not get there.
    """
    return None if first is None or second is None else first / second


def summarise(measurements: Sequence[Measurement], bars: dict[str, Bar]) -> list[JsonObject]:
    """One row a figure, for JSON, in the order of their first measurement; `met` is None where there is no bar.

    A bar that nothing was measured for has a row too.
    """
    rows = []
    for figure in dict.fromkeys([*(measurement.figure for measurement in measurements), *bars]):
        own = [measurement for measurement in measurements if measurement.figure == figure]
        values, bar = [measurement.value for measurement in own], bars.get(figure)
        row: JsonObject = {"figure": figure, "unit": own[0].unit if own else "", "runs": len(values)}
        row |= {"median": median(values), "min": _finite(min(_late(values))), "max": _finite(max(_late(values)))}
        row |= {"bar": str(bar), "met": bar.met(values)} if bar else {"bar": None, "met": None}
        rows.append(row)
    return rows


_COLUMNS = ("case", "figure", "unit", "bar", "median", "min", "max", "runs", "met")


def markdown_table(rows: dict[str, list[JsonObject]]) -> str:
    """A table of all cases: case -> its summaries as plain values."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---|---|---|---|--:|--:|--:|--:|---|"]
    for case, summaries in rows.items():
        for s in summaries:
            numbers = [_number(s[name], s["runs"]) for name in ("median", "min", "max")]
            met = {None: "", True: "yes", False: "**no**"}[s["met"]]
            cells = [case, s["figure"], s["unit"], s["bar"] or "", *numbers, str(s["runs"]), met]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _number(value: Value, runs: int) -> str:
    """Four digits say more than these measurements hold."""
    if value is None:
        return "not reached" if runs else "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
