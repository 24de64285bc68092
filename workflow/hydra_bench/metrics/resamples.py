"""Intervals by resampling particles: of one run's scores, and of the difference of two runs on the same particles.

What they speak of is these maps and this sorting, with other particles drawn like those that were scored; they say
nothing of another seed or of other images. Percentiles of resamples with replacement (Efron and Tibshirani, 1993).
"""

from collections.abc import Callable

import numpy as np

from hydra_bench.contracts.scores import Interval

SEED, DRAWS, LEVEL = 0, 2000, 0.95

Score = Callable[[np.ndarray], np.ndarray]
"""From confusion tables (..., species, labels) to a score of each."""


def ari_of_tables(tables: np.ndarray) -> np.ndarray:
    """Adjusted Rand index of each of many confusion tables (..., species, labels); 1 where all is in one cell.

    Hubert and Arabie, J. Classif. 2 (1985) 193, as scikit-learn has it for one table.
    """
    tables = np.asarray(tables, dtype=np.float64)

    def pairs(counts: np.ndarray) -> np.ndarray:
        summed: np.ndarray = (counts * (counts - 1) / 2).sum(-1)
        return summed

    together = pairs(tables.reshape(*tables.shape[:-2], -1))
    rows, columns = pairs(tables.sum(-1)), pairs(tables.sum(-2))
    expected = rows * columns / pairs(tables.sum((-2, -1))[..., None])
    largest = (rows + columns) / 2
    same = largest == expected
    return np.where(same, 1.0, (together - expected) / np.where(same, 1.0, largest - expected))


def macro_f1_of_tables(label_of: list[int | None]) -> Score:
    """Macro-F1 of confusion tables, given the label (from 0) of each species, None for a species without."""

    def score(tables: np.ndarray) -> np.ndarray:
        found = np.zeros((*tables.shape[:-2], len(label_of)))
        for species, label in enumerate(label_of):
            if label is not None:
                both = tables[..., species, :].sum(-1) + tables[..., :, label].sum(-1)
                found[..., species] = 2 * tables[..., species, label] / np.maximum(both, 1)
        mean: np.ndarray = found.mean(-1)
        return mean

    return score


def of_confusion(confusion: np.ndarray, score: Score = ari_of_tables) -> Interval:
    """The interval of a score of a confusion table (species, labels), its particles drawn again."""
    counts = np.asarray(confusion)
    drawn = np.random.default_rng(SEED).multinomial(counts.sum(), counts.ravel() / counts.sum(), DRAWS)
    return _percentiles(score(drawn.reshape(DRAWS, *counts.shape)))


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
    found = [score(_tables(drawn, cells[0], cells[side])) for side, score in zip((1, 2), scores, strict=True)]
    return _percentiles(found[0] - found[1])


def _tables(drawn: np.ndarray, species: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Confusion tables (draws, species, labels) of drawn counts (draws, cells), given each cell's species and label."""
    tables = np.zeros((len(drawn), int(species.max()) + 1, int(labels.max()) + 1))
    for cell, (k, j) in enumerate(zip(species, labels, strict=True)):
        tables[:, k, j] += drawn[:, cell]
    return tables


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(low=float(low), high=float(high), draws=DRAWS, seed=SEED)
