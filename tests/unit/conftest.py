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

LONG = {
    "test_bench",
    "test_bounds",
    "test_cli",
    "test_cryodrgn_adapter",
    "test_hydra_command",
    "test_hydra_at_noise",
    "test_hydra_begun",
    "test_hydra_conformations",
    "test_hydra_given_poses",
    "test_hydra_learning",
    "test_hydra_on_a_device",
    "test_hydra_parallel",
    "test_hydra_resume",
    "test_hydra_training",
    "test_known_poses",
    "test_programs",
    "test_relion",
    "test_report_figures",
    "test_report_page",
    "test_report_paper",
    "test_report_summarise",
}
"""Files whose tests train, search poses with true maps, wait for other programs, or draw whole reports."""

STRUCTURES = Path(__file__).parents[2] / "resources" / "structures"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem in LONG:
            item.add_marker(pytest.mark.training)


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    simulate(dataset(snr=2.0), STRUCTURES, folder / "stack", folder / "truth")
    scale = read_json(folder / "truth" / "provenance.json")["image_scale"]
    return Case(read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth"), scale)
