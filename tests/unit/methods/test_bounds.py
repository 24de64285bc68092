"""The bounds: back-projection finds the map, and shuffled labels do not."""

from pathlib import Path

import numpy as np
import pytest
from definitions import dataset

from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import read_assignments, sample_path
from hydra_bench.contracts.stack import read_stack
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.mrc import read_map
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.maps.fsc import compare
from hydra_bench.methods.bounds.backprojection import run_backprojection

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bounds")
    simulate(dataset(images=120), STRUCTURES, folder / "stack", folder / "truth")
    return folder


def test_the_oracle_finds_the_maps_and_shuffled_labels_do_not(folder: Path, tmp_path: Path) -> None:
    stack, truth = read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth")
    evaluation = np.array([0, 5])
    auc = {}
    for labels in ("true", "shuffled"):
        run_backprojection(stack, truth, evaluation, labels, 0, tmp_path / labels)
        volumes = [read_map(class_volume_path(tmp_path / labels, k))[0] for k in range(2)]
        auc[labels] = np.mean([compare(v, truth.class_volume(k)).auc for k, v in enumerate(volumes)])
        found = read_assignments(tmp_path / labels, len(stack))
        np.testing.assert_array_equal(read_map(sample_path(tmp_path / labels, 5))[0], volumes[found.classes[5]])
    assert auc["true"] > 0.7
    assert auc["shuffled"] < auc["true"] - 0.1
    assert (read_assignments(tmp_path / "true", len(stack)).classes == truth.classes).all()


def test_labels_must_be_known(folder: Path, tmp_path: Path) -> None:
    stack, truth = read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth")
    with pytest.raises(InputError, match="true or shuffled"):
        run_backprojection(stack, truth, np.array([0]), "none", 0, tmp_path)
