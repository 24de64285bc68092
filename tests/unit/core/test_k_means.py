"""Clusters are the same on every call, with as many threads as a cluster's node has."""

import os
import subprocess
import sys

import numpy as np

from hydra_bench.core.k_means import k_means

REPEATED = """
import numpy as np
from hydra_bench.core.k_means import k_means
points = np.random.default_rng(0).standard_normal((3000, 8))
found = [k_means(points, 5, seed=3, starts=1).centres for _ in range(8)]
print(sum(not np.array_equal(found[0], other) for other in found[1:]))
"""


def test_separate_points_are_told_apart() -> None:
    places = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    truth = np.arange(300) % 3
    points = places[truth] + np.random.default_rng(1).standard_normal((300, 2))
    found = k_means(points, 3, seed=0)
    assert found.centres.shape == (3, 2)
    order = found.labels[:3]
    assert sorted(order) == [0, 1, 2]
    assert np.array_equal(found.labels, order[truth])
    assert np.abs(found.centres[order] - places).max() < 0.5


def test_eight_threads_give_the_same_digits_every_time() -> None:
    """Without the limit all of seven repeats differ."""
    environment = {**os.environ, "OMP_NUM_THREADS": "8"}
    run = subprocess.run([sys.executable, "-c", REPEATED], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "0\n"
