"""Intervals hold what they speak of as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from hydra_bench.metrics.resamples import Cells, ari_of_cells, of_confusion, of_means
from hydra_bench.report.tables.uncertainty import over_runs

DRAWS, RUNS, PER_SPECIES = 2500, 6, 500


def aris_of_runs(accuracy: float, spread: float, generator: np.random.Generator, n: int) -> np.ndarray:
    """ARIs (n,) of runs on images drawn anew, whose seed decides how many particles are sorted rightly."""
    concentration = accuracy * (1 - accuracy) / spread**2 - 1
    right = generator.beta(accuracy * concentration, (1 - accuracy) * concentration, size=n)
    chances = np.where(np.eye(3, dtype=bool), right[:, None, None], (1 - right[:, None, None]) / 2)
    return ari_of_cells(Cells.of_tables(generator.multinomial(PER_SPECIES, chances)))


def covered(values: np.ndarray, target: float) -> float:
    found = [over_runs(row.tolist()) for row in values.reshape(-1, RUNS)]
    return float(np.mean([entry.low <= target <= entry.high for entry in found]))


@pytest.mark.parametrize(("ari", "accuracy", "spread"), [(0.6, 0.845, 0.02), (0.95, 0.983, 0.004)])
def test_the_interval_of_six_runs_holds_the_mean_over_new_images_and_seeds(
    ari: float, accuracy: float, spread: float
) -> None:
    generator = np.random.default_rng(0)
    target = aris_of_runs(accuracy, spread, generator, 40_000).mean()
    assert target == pytest.approx(ari, abs=0.015)
    values = aris_of_runs(accuracy, spread, generator, DRAWS * RUNS)
    assert 0.93 <= covered(values, target) <= 0.97
    # The spread over runs is more than that of labels drawn once more: an interval over particles alone is too short.
    table = np.where(np.eye(3, dtype=bool), accuracy, (1 - accuracy) / 2)
    over_particles = of_confusion((PER_SPECIES * table).round().astype(int))
    assert np.diff(np.percentile(values, [2.5, 97.5]))[0] > 1.2 * (over_particles.high - over_particles.low)


@pytest.mark.parametrize(("ari", "accuracy"), [(0.6, 0.845), (0.95, 0.983)])
def test_the_interval_of_one_run_holds_what_more_particles_would_give(ari: float, accuracy: float) -> None:
    generator = np.random.default_rng(1)
    chances = np.where(np.eye(3, dtype=bool), accuracy, (1 - accuracy) / 2)
    target = float(ari_of_cells(Cells.of_tables(1e7 * chances)))
    assert target == pytest.approx(ari, abs=0.015)
    found = [of_confusion(generator.multinomial(PER_SPECIES, chances)) for _ in range(300)]
    assert 0.92 <= np.mean([entry.low <= target <= entry.high for entry in found]) <= 0.98


@pytest.mark.parametrize(("mean", "of_seeds", "of_images"), [(0.85, 0.02, 0.005), (0.5, 0.01, 0.1)])
def test_the_interval_of_scores_of_six_runs(mean: float, of_seeds: float, of_images: float) -> None:
    generator = np.random.default_rng(2)
    images = generator.normal(0, of_images, (DRAWS * RUNS, 60))
    values = mean + generator.normal(0, of_seeds, DRAWS * RUNS) + images.mean(1)
    assert 0.93 <= covered(values, mean) <= 0.97
    species = np.repeat([0, 1, 2], 20)
    one = [of_means(mean + row, species) for row in images[:300]]
    assert 0.9 <= np.mean([entry.low <= mean <= entry.high for entry in one]) <= 0.98
