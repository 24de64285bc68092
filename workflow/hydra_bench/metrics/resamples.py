"""Intervals by resampling particles: of one run's scores, and of the difference of two runs on the same particles.

What they speak of is these maps and this sorting, with other particles drawn like those that were scored; they say
nothing of another seed or of other images. Percentiles of resamples with replacement (Efron and Tibshirani, 1993).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from hydra_bench.contracts.scores import Interval

SEED, DRAWS, LEVEL = 0, 2000, 0.95


@dataclass(frozen=True)
class Cells:
    """Many confusion tables that have the same few cells, others being 0: of K species there are far fewer than K².

    counts (..., cells): the particles of each; species and labels (cells,): where it stands in the table, from 0. Two
    cells may stand in one place, and count together.
    """

    counts: np.ndarray
    species: np.ndarray
    labels: np.ndarray

    @classmethod
    def of_tables(cls, tables: np.ndarray) -> Self:
        """Whole tables (..., species, labels)."""
        tables = np.asarray(tables, dtype=np.float64)
        species, labels = np.indices(tables.shape[-2:]).reshape(2, -1)
        return cls(tables.reshape(*tables.shape[:-2], -1), species, labels)

    def summed(self, by: np.ndarray) -> np.ndarray:
        """Counts (..., groups) of cells that have a number (cells,) in common, in the order of the numbers."""
        order = np.argsort(by, kind="stable")
        starts = np.flatnonzero(np.diff(by[order], prepend=-1))
        return np.asarray(np.add.reduceat(np.asarray(self.counts, dtype=np.float64)[..., order], starts, axis=-1))

    @property
    def places(self) -> np.ndarray:
        """A number for each place in the table (cells,)."""
        return np.asarray(self.species * (int(self.labels.max()) + 1) + self.labels)


Score = Callable[[Cells], np.ndarray]
"""From confusion tables to a score of each."""


def ari_of_cells(tables: Cells) -> np.ndarray:
    """Adjusted Rand index of each of many confusion tables; 1 where all is in one cell.

    Hubert and Arabie, J. Classif. 2 (1985) 193, as scikit-learn has it for one table.
    """

    def pairs(counts: np.ndarray) -> np.ndarray:
        summed: np.ndarray = (counts * (counts - 1) / 2).sum(-1)
        return summed

    together = pairs(tables.summed(tables.places))
    rows = pairs(tables.summed(tables.species))
    columns = pairs(tables.summed(tables.labels))
    expected = rows * columns / pairs(np.asarray(tables.counts, dtype=np.float64).sum(-1, keepdims=True))
    largest = (rows + columns) / 2
    same = largest == expected
    return np.where(same, 1.0, (together - expected) / np.where(same, 1.0, largest - expected))


def macro_f1_of_cells(label_of: list[int | None]) -> Score:
    """Macro-F1 of confusion tables, given the label (from 0) of each species, None for a species without."""

    def score(tables: Cells) -> np.ndarray:
        found = np.zeros((*tables.counts.shape[:-1], len(label_of)))
        for species, label in enumerate(label_of):
            if label is not None:
                of_species, of_label = tables.species == species, tables.labels == label
                both = tables.counts[..., of_species].sum(-1) + tables.counts[..., of_label].sum(-1)
                common = tables.counts[..., of_species & of_label].sum(-1)
                found[..., species] = 2 * common / np.maximum(both, 1)
        mean: np.ndarray = found.mean(-1)
        return mean

    return score


def of_confusion(confusion: np.ndarray, score: Score = ari_of_cells) -> Interval:
    """The interval of a score of a confusion table (species, labels), its particles drawn again."""
    counts = np.asarray(confusion)
    # The last cell has what others leave: it stays, for the same draws as of the whole table.
    used = np.union1d(np.flatnonzero(counts), counts.size - 1)
    species, labels = np.unravel_index(used, counts.shape)
    drawn = np.random.default_rng(SEED).multinomial(counts.sum(), counts.ravel()[used] / counts.sum(), DRAWS)
    return _percentiles(score(Cells(drawn, species, labels)))


def of_means(values: np.ndarray, species: np.ndarray) -> Interval:
    """The interval of a mean over particles (M,), drawn again among those of each one's species (M,)."""
    generator, summed = np.random.default_rng(SEED), np.zeros(DRAWS)
    for k in np.unique(species):
        own = values[species == k]
        summed += own[generator.integers(len(own), size=(DRAWS, len(own)))].sum(1)
    return _percentiles(summed / len(values))


def of_difference(true: np.ndarray, first: np.ndarray, second: np.ndarray, scores: tuple[Score, Score]) -> Interval:
    """The interval of score(first) - score(second) of labels (N,) of the same particles, drawn together."""
    cells, counts = np.unique(np.stack([true, first, second]), axis=1, return_counts=True)
    drawn = np.random.default_rng(SEED).multinomial(counts.sum(), counts / counts.sum(), DRAWS)
    found = [score(Cells(drawn, cells[0], cells[side])) for side, score in zip((1, 2), scores, strict=True)]
    return _percentiles(found[0] - found[1])


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(low=float(low), high=float(high), draws=DRAWS, seed=SEED)
