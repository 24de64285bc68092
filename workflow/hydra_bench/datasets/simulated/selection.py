"""Which atoms a definition means: patterns on author chain names, each with residue numbers if it wants.

`L*` is every chain whose name starts with L, `A:331-528` residues 331 to 528 of chain A, `A:1-50,80` two ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from hydra_bench.core.errors import InputError

_RANGE = re.compile(r"(-?\d+)(?:-(-?\d+))?")


@dataclass(frozen=True)
class Pattern:
    """chains: shell pattern; ranges: first and last residue number of each, both included, none for all residues."""

    text: str
    chains: str
    ranges: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises InputError for ranges that are none."""
        chains, colon, rest = text.partition(":")
        if not colon:
            return cls(text, chains, ())
        matches = [_RANGE.fullmatch(part.strip()) for part in rest.split(",")]
        ranges = [(int(m[1]), int(m[2] or m[1])) for m in matches if m]
        if not chains or len(ranges) != len(matches) or any(first > last for first, last in ranges):
            raise InputError(f"chain pattern {text!r} is not allowed; a pattern such as L*, or A:331-528, is expected")
        return cls(text, chains, tuple(ranges))

    def of_chains(self, names: Sequence[str]) -> set[str]:
        """The chain names that match. Raises InputError if there is none."""
        found = {name for name in names if fnmatchcase(name, self.chains)}
        if not found:
            raise InputError(f"chain pattern {self.text!r} selects nothing; chains are {', '.join(names)}")
        return found

    def has_residue(self, numbers: np.ndarray) -> np.ndarray:
        """Which residue numbers (N,) are in one of the ranges."""
        if not self.ranges:
            return np.ones(len(numbers), dtype=bool)
        return np.any([(numbers >= first) & (numbers <= last) for first, last in self.ranges], axis=0)


def selected(chains: np.ndarray, residues: np.ndarray, patterns: Iterable[str]) -> np.ndarray:
    """Which atoms (N,), given their chain names (N,) and residue numbers (N,), match one of the patterns.

    Raises
    ------
    InputError
        For a pattern that is none or selects nothing.
    """
    names = list(dict.fromkeys(chains.tolist()))
    mask = np.zeros(len(chains), dtype=bool)
    for pattern in map(Pattern.parse, patterns):
        found = np.isin(chains, list(pattern.of_chains(names))) & pattern.has_residue(residues)
        if not found.any():
            raise InputError(f"chain pattern {pattern.text!r} selects no residue of the chains that it matches")
        mask |= found
    return mask
