"""A species that moves beside one that does not: simulated, read back and evaluated."""

from __future__ import annotations

import filecmp
from pathlib import Path

import numpy as np
import pytest
import torch
from definitions import dataset, moving_dataset

from hydra_bench.contracts.places import EVALUATION_NAME, class_volume_path
from hydra_bench.contracts.reconstruction import Assignments, Cost, Run, sample_path, write_assignments, write_run
from hydra_bench.contracts.stack import read_evaluation_list, read_stack
from hydra_bench.contracts.truth import Truth, read_truth, write_truth_star
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json
from hydra_bench.core.mrc import read_map, write_map
from hydra_bench.core.star import read_star, write_star
from hydra_bench.datasets.simulated.imaging import Imaging, draw_particles
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.maps.fsc import compare
from hydra_bench.metrics.evaluate import EvaluationSettings, RunFiles, evaluate
from hydra_bench.physics.projection import project

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"
N, ANGLES = 60, np.array([-40.0, 10.0, 60.0])


def simulated(definition: dict, folder: Path) -> Path:
    simulate(definition, STRUCTURES, folder / "stack", folder / "truth")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(moving_dataset(delivered_box_px=20), tmp_path_factory.mktemp("moving"))


@pytest.fixture(scope="module")
def truth(folder: Path) -> Truth:
    return read_truth(folder / "truth")


def test_each_particle_has_its_state_its_angle_and_its_map(folder: Path, truth: Truth) -> None:
    moving = truth.classes == 1
    assert truth.conformations.shape == (N, 1)
    assert np.isnan(truth.conformations[~moving]).all()
    np.testing.assert_allclose(truth.conformations[moving, 0], ANGLES[truth.states[moving]])
    assert set(truth.states[moving]) == {0, 1, 2}
    volumes = folder / "truth" / "volumes"
    assert [len(paths) for paths in truth.state_paths] == [0, 3]
    for i in range(N):
        expected = f"class_2/state_{truth.states[i] + 1}.mrc" if moving[i] else "class_1.mrc"
        assert truth.particle_volume_path(i) == volumes / expected
    assert filecmp.cmp(volumes / "class_2.mrc", volumes / "class_2" / "state_2.mrc", shallow=False)
    motion = read_json(folder / "truth" / "provenance.json")["species"]["small"]["motion"]
    assert motion["angles_deg"] == ANGLES.tolist()


def test_images_are_of_the_map_that_the_truth_names(tmp_path: Path) -> None:
    """Without CTF, shift and, nearly, noise; no other state's projection is nearer."""
    definition = moving_dataset(images=12, snr=1e4, shift_px=0)
    definition["simulation"]["ctf"] |= {"amplitude_contrast": 1, "spherical_aberration_mm": 0, "astigmatism_A": [0, 0]}
    definition["simulation"]["ctf"]["defocus_A"] = [0, 0]
    simulated(definition, tmp_path)
    truth = read_truth(tmp_path / "truth")
    stack = read_stack(tmp_path / "stack" / "particles.star")
    images = stack.read_images(np.arange(len(stack)))
    for i in np.flatnonzero(truth.classes == 1):
        views = [
            project(torch.from_numpy(read_map(p)[0]), torch.from_numpy(truth.rotations[[i]]))
            for p in truth.state_paths[1]
        ]
        likeness = [abs(np.corrcoef(view.numpy().ravel(), images[i].ravel())[0, 1]) for view in views]
        assert np.argmax(likeness) == truth.states[i]
        assert max(likeness) > 0.98


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    simulated(moving_dataset(delivered_box_px=20), tmp_path)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert len(files) == 10
    assert filecmp.cmpfiles(folder, tmp_path, files, shallow=False)[0] == files


def test_a_motion_changes_nothing_else_that_is_drawn(truth: Truth) -> None:
    definition = dataset(delivered_box_px=20)
    still = draw_particles([30, 30], Imaging.from_definition(definition["simulation"]), 2, definition["seed"])
    np.testing.assert_array_equal(still.classes, truth.classes)
    np.testing.assert_allclose(still.rotations, truth.rotations, atol=1e-6)
    assert not still.states.any()


def test_truth_round_trip(truth: Truth, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "volumes").symlink_to(folder / "truth" / "volumes")
    moved = {
        "volume_paths": tuple(tmp_path / "volumes" / p.name for p in truth.volume_paths),
        "state_paths": tuple(
            tuple(tmp_path / p.relative_to(folder / "truth") for p in paths) for paths in truth.state_paths
        ),
    }
    write_truth_star(tmp_path, Truth(**{**vars(truth), **moved}))
    assert (tmp_path / "truth.star").read_bytes() == (folder / "truth" / "truth.star").read_bytes()
    np.testing.assert_array_equal(read_truth(tmp_path).states, truth.states)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t["particles"].__setitem__("hydraBenchState", 4), r"hydraBenchState of class 1 must lie in 1\.\.1"),
        (lambda t: t["particles"].pop("hydraBenchState"), "data_particles lacks the column hydraBenchState"),
        (lambda t: t["states"].__setitem__("hydraBenchState", 1), "must number the states of class 2 from 1"),
        (lambda t: t["states"].__setitem__("rlnReferenceImage", "no.mrc"), r"no\.mrc: no such file"),
    ],
)
def test_states_that_are_refused(folder: Path, tmp_path: Path, edit: object, message: str) -> None:
    (tmp_path / "volumes").symlink_to(folder / "truth" / "volumes")
    tables = read_star(folder / "truth" / "truth.star")
    edit(tables)
    write_star(tmp_path / "truth.star", tables)
    with pytest.raises(InputError, match=message) as error:
        read_truth(tmp_path)
    assert "\n" not in str(error.value)


def evaluated(folder: Path, truth: Truth, output: Path, latents: np.ndarray, own_maps: bool = True) -> dict:
    """The metrics of a perfect reconstruction with these latents, whose samples are each particle's own map or not."""
    run, evaluation = output / "run", read_evaluation_list(folder / "stack" / EVALUATION_NAME, N)
    pixel = read_stack(folder / "stack" / "particles.star").pixel_size_A
    for k in range(2):
        write_map(class_volume_path(run, k), truth.class_volume(k), pixel)
    for i in evaluation:
        path = truth.particle_volume_path(i) if own_maps else truth.volume_paths[truth.classes[i]]
        write_map(sample_path(run, int(i)), read_map(path)[0], pixel)
    posteriors = np.eye(2)[truth.classes]
    write_assignments(run, Assignments(truth.classes, posteriors, truth.rotations, truth.shifts_A, latents))
    cost = Cost(1.0, 2.0, 3.0)
    write_run(run, Run("m", "program", "1.0", 7, {"k": 2}, "cpu", "ok", "", 80, cost))
    files = RunFiles(folder / "stack" / "particles.star", folder / "truth", run, "d", "m", "M")
    return evaluate(files, output / "m.json", output / "aligned", EvaluationSettings()).model_dump()


def test_the_true_coordinate_as_latent_scores_one_and_own_maps_count(
    folder: Path, truth: Truth, tmp_path: Path
) -> None:
    found = evaluated(folder, truth, tmp_path, np.nan_to_num(truth.conformations))
    # The species that rests has no conformation to find.
    assert [entry["class_name"] for entry in found["conformation"]["per_class"]] == ["small"]
    coordinate = found["conformation"]["per_class"][0]["coordinates"][0]
    chance = {key: coordinate.pop(key) for key in ("r2_by_chance", "p")}
    assert min(coordinate.values()) > 0.99
    assert chance["p"] < 0.05
    assert chance["r2_by_chance"] < 0.5
    # Each particle's own map is nearer to it than the average of all states.
    assert found["fsc"]["gain_mean"] > 0
    own = [one["auc"] for one in found["fsc"]["per_particle"]]
    assert min(own) > 0.97
    means = evaluated(folder, truth, tmp_path / "means", np.nan_to_num(truth.conformations), own_maps=False)
    evaluation = [one["particle"] for one in means["fsc"]["per_particle"]]
    for i, one in zip(evaluation, means["fsc"]["per_particle"], strict=True):
        own_map, class_map = read_map(truth.particle_volume_path(i))[0], truth.class_volume(truth.classes[i])
        assert one["auc"] == pytest.approx(compare(class_map, own_map, None).auc, abs=0.03)


def test_shuffled_latents_score_about_zero(folder: Path, truth: Truth, tmp_path: Path) -> None:
    shuffled = np.random.default_rng(3).permutation(np.nan_to_num(truth.conformations))
    found = evaluated(folder, truth, tmp_path, shuffled)
    coordinate = found["conformation"]["per_class"][0]["coordinates"][0]
    assert coordinate["spearman"] < 0.3
    assert coordinate["r2"] < 0.15
