"""Permutation tests of a few numbers against a few others: exact for few, and honest about what few can show.

Paired, where both sides have the same runs: under the hypothesis of no difference each pair's sign is a coin's, and p
is the share of all 2ⁿ signs whose mean difference is as large as the one seen. Else all ways to deal the numbers to
the two sides are counted. With n pairs no p is below 2 / 2ⁿ: five seeds cannot reach 0.05, whatever they say. Sources:
Fisher, The Design of Experiments, 1935; Good, Permutation Tests, 2000.
"""

from dataclasses import dataclass
from itertools import combinations, product
from math import comb

import numpy as np

MOST_COUNTED, DRAWN = 2**16, 20_000
"""So many permutations are counted one by one; of more, so many are drawn at random, with seed 0."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Permutation:
    """p of no difference; the least that so many runs could give; how many runs (a side) could go below a level."""

    p: float
    least_p: float
    paired: bool

    def runs_needed(self, level: float) -> int:
        """The least number of pairs, or of runs a side, whose p may be below a level."""
        n = 1
        while least_p(n, n, self.paired) >= level:
            n += 1
        return n


def least_p(n_before: int, n_after: int, paired: bool) -> float:
    """The smallest p that a two-sided test can give."""
    return min(1.0, 2 / (2**n_before if paired else comb(n_before + n_after, n_before)))


def paired(differences: np.ndarray) -> Permutation:
    """Differences (n,) of pairs."""
    n = len(differences)
    if 2**n <= MOST_COUNTED:
        signs = np.array(list(product((1, -1), repeat=n)))
    else:
        drawn = np.random.default_rng(0).choice((1, -1), size=(DRAWN, n))
        signs = np.concatenate([np.ones((1, n), dtype=drawn.dtype), drawn])
    return Permutation(_share(signs @ differences, differences.sum()), least_p(n, n, paired=True), paired=True)


def unpaired(before: np.ndarray, after: np.ndarray) -> Permutation:
    """Numbers of both sides (n,) and (m,)."""
    n = len(after)
    values = np.concatenate([after, before])
    if comb(len(values), n) <= MOST_COUNTED:
        chosen = np.array(list(combinations(range(len(values)), n)))
    else:
        generator = np.random.default_rng(0)
        drawn = [generator.permutation(len(values))[:n] for _ in range(DRAWN)]
        chosen = np.array([np.arange(n), *drawn])
    sums = values[chosen].sum(1)
    differences = sums / n - (values.sum() - sums) / len(before)
    p = _share(differences, float(np.mean(after) - np.mean(before)))
    return Permutation(p, least_p(len(before), n, paired=False), paired=False)


def _share(statistics: np.ndarray, seen: float) -> float:
    """The share of statistics as far from 0 as the one seen, which is among them; equal ones count, rounded or not."""
    slack = _ROUNDING * max(1.0, float(np.abs(statistics).max()))
    return float((np.abs(statistics) >= abs(seen) - slack).mean())
