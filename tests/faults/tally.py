"""The account of what was tried, by group."""

from __future__ import annotations

import pytest

RIGHT, WRONG = "faults right", "faults wrong"

LEAST: dict[str, int] = {
    "kills": 60,
    "full disks at a write": 1500,
    "the same call with room again": 50,
    "configurations": 600,
    "damaged files": 2000,
    "fetches": 100,
    "inputs that were once wrong": 95,
}
"""How many of a group must be tried."""


class Tally:
    """What one test tried; it goes with the test's report, also from another process of pytest-xdist."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        # Plain dictionaries, which go from one process to another.
        self.right: dict[str, int] = {}
        self.wrong: dict[str, int] = {}
        properties += [(RIGHT, self.right), (WRONG, self.wrong)]

    def check(self, group: str, case: str, wrong: str | None) -> None:
        """Count a case. `wrong`: what is wrong with how it ended, None if nothing is; the first one ends the test."""
        if wrong is None:
            self.right[group] = self.right.get(group, 0) + 1
            return
        self.wrong[group] = self.wrong.get(group, 0) + 1
        pytest.fail(f"{group}: {case}: {wrong}", pytrace=False)
