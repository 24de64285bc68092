"""Tests have repeatable kernels, as the command line does, and one thread, which is faster for work this small.

One small simulated stack serves many of them.
"""

from pathlib import Path

import pytest
from definitions import dataset
from hydra_cases import Case
from threadpoolctl import threadpool_limits

from hydra_bench.contracts.stack import read_stack
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.files import read_json
from hydra_bench.core.threads import set_threads
from hydra_bench.datasets.simulated.simulate import simulate

set_threads(1)
threadpool_limits(1)  # scikit-learn's, whose threads wait for each other actively

STRUCTURES = Path(__file__).parents[2] / "resources" / "structures"


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    simulate(dataset(snr=2.0), STRUCTURES, folder / "stack", folder / "truth")
    scale = read_json(folder / "truth" / "provenance.json")["image_scale"]
    return Case(read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth"), scale)
