"""From single measurements to medians, ratios, bars and a table; nothing here measures anything."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Value = float | None
"""None is a goal that was never reached: it counts as infinitely late."""


@dataclass(frozen=True)
class Measurement:
    """One number that was measured: what of, its unit, and in which run (seed, repeat, variant, …)."""

    figure: str
    unit: str
    value: Value
    run: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bar:
    """What a figure is to reach: its median, or every single run of it."""

    limit: float
    at_least: bool = False
    every: bool = False

    @classmethod
    def from_definition(cls, definition: dict[str, Any]) -> Bar:
        """From {"at_most": …} or {"at_least": …}, with "every" or without."""
        at_least = "at_least" in definition
        return cls(definition["at_least" if at_least else "at_most"], at_least, definition.get("every", False))

    def met(self, values: Sequence[Value]) -> bool:
        """Nothing measured, or a goal not reached, meets no bar."""
        judged = list(values) if self.every else [median(values)]
        return bool(judged) and all(self._holds(value) for value in judged)

    def _holds(self, value: Value) -> bool:
        if value is None:
            return False
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{', every run' if self.every else ''}"


@dataclass(frozen=True)
class Summary:
    """A figure over its runs. `met` is None where there is no bar."""

    figure: str
    unit: str
    bar: Bar | None
    values: tuple[Value, ...]

    @property
    def met(self) -> bool | None:
        return None if self.bar is None else self.bar.met(self.values)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        bar = None if self.bar is None else str(self.bar)
        return {
            "figure": self.figure,
            "unit": self.unit,
            "bar": bar,
            "median": median(self.values),
            "min": smallest(self.values),
            "max": largest(self.values),
            "runs": len(self.values),
            "met": self.met,
        }


def median(values: Sequence[Value]) -> Value:
    """The median; None if there are no values, or if half of the runs or more did not get there."""
    return _finite(statistics.median(_late(values))) if values else None


def smallest(values: Sequence[Value]) -> Value:
    return _finite(min(_late(values))) if values else None


def largest(values: Sequence[Value]) -> Value:
    """None if any run did not get there."""
    return _finite(max(_late(values))) if values else None


def _late(values: Sequence[Value]) -> list[float]:
    return [math.inf if value is None else value for value in values]


def _finite(value: float) -> Value:
    return None if math.isinf(value) else value


def pairwise_ratios(first: Sequence[Value], second: Sequence[Value]) -> list[Value]:
    """first / second, pair by pair; None where one of the two is None.

    Pairs are measured one after the other, so that a machine that slows down does so for both.
    """
    return [None if a is None or b is None else a / b for a, b in zip(first, second, strict=True)]


def summarise(measurements: Sequence[Measurement], bars: dict[str, Bar]) -> list[Summary]:
    """One row a figure, in the order of their first measurement; a bar that nothing was measured for has one too."""
    found = []
    for figure in dict.fromkeys([*(measurement.figure for measurement in measurements), *bars]):
        own = [measurement for measurement in measurements if measurement.figure == figure]
        unit = own[0].unit if own else ""
        found.append(Summary(figure, unit, bars.get(figure), tuple(measurement.value for measurement in own)))
    return found


_COLUMNS = ("case", "figure", "unit", "bar", "median", "min", "max", "runs", "met")


def markdown_table(rows: dict[str, list[dict[str, Any]]]) -> str:
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
