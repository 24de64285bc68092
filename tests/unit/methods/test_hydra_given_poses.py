"""Poses that are given: held or improved, with them two species come apart and their maps come out right."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra_cases import CPU, Case, hydra, run, tiny
from scipy.spatial.transform import Rotation
from sklearn.metrics import adjusted_rand_score

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import GivenPoses, read_assignments, read_run
from hydra_bench.core.mrc import read_map
from hydra_bench.core.star import read_star, write_star
from hydra_bench.physics.rotations import angular_distance_deg, rotation_from_vector

LONGER = {
    "latent_dim": 0,
    "pretrain_images": 60,
    "l_schedule": (5,) * 6 + (7,) * 6,
    "steps_per_search": 6,
    "decode_epochs": 10,
    "features": 48,
    "width": 48,
    "base_order": 2,
    "l_coarse": 5,
    "keep": (1, 1, 1, 1),
    "learning_rate": 1e-2,
    "learning_rate_final": 1e-3,
}
"""Enough to learn two maps from 60 images whose poses are known, in about two seconds."""


@pytest.fixture(scope="module")
def with_poses(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stack's STAR file with true poses, as another program might have written it: in another order."""
    truth = read_star(case.folder.parent / "truth" / "truth.star")["particles"].drop(columns="rlnClassNumber")
    tables = read_star(case.stack.path)
    names = tables["particles"][["rlnImageName"]]
    path = tmp_path_factory.mktemp("poses") / "poses.star"
    write_star(path, {"particles": pd.concat([names, truth], axis=1).iloc[::-1]})
    return path


def apart_from_a_turn(rotations: np.ndarray, case: Case) -> np.ndarray:
    """Angles in degrees to the true rotations once the map of each species is turned at best; it may turn freely."""
    angles = np.zeros(len(rotations))
    for c in range(2):
        members = case.truth.classes == c
        turns = np.swapaxes(rotations[members], -1, -2) @ case.truth.rotations[members]
        angles[members] = angular_distance_deg(turns, Rotation.from_matrix(turns).mean().as_matrix())
    return angles


@pytest.mark.parametrize("poses", ["fixed", "refine"])
def test_true_poses_give_classes_and_maps(case: Case, with_poses: Path, poses: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = {**LONGER, "poses": poses}
    assert main(hydra(case.stack.path, out, "--poses-from", str(with_poses), **settings)) == 0
    found = read_assignments(out, 60)
    ari = adjusted_rand_score(case.truth.classes, found.classes)
    errors = angular_distance_deg(found.rotations, case.truth.rotations)
    shifts = np.linalg.norm(found.shifts_A - case.truth.shifts_A, axis=1)
    table = np.array([[np.sum((case.truth.classes == c) & (found.classes == k)) for k in (0, 1)] for c in (0, 1)])
    large = int(table[0].argmax())
    true, volume = case.volume(0).numpy(), read_map(class_volume_path(out, large))[0]
    fits = [np.corrcoef(v.ravel(), true.ravel())[0, 1] for v in (volume, np.roll(volume[::-1], 1, axis=0))]
    print(poses, "ARI", ari, "errors", np.median(errors), np.median(shifts), "map and its mirror image", fits)
    assert ari > 0.8
    assert fits[0] > 0.7
    assert fits[0] > fits[1] + 0.1
    assert volume[true > 0.5 * true.max()].mean() > 2 * volume.std()
    if poses == "fixed":
        np.testing.assert_allclose(errors, 0, atol=0.1)
        np.testing.assert_allclose(shifts, 0, atol=0.01)
    else:
        assert np.median(apart_from_a_turn(found.rotations, case)) < 5
        assert np.median(errors) < 15
        assert np.median(shifts) < 0.7 * case.stack.pixel_size_A


def test_refinement_brings_poses_nearer(case: Case) -> None:
    """From 15° away in a random direction, by maps that are learned on the way."""
    axes = torch.nn.functional.normalize(torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    disturbed = rotation_from_vector(np.radians(15) * axes).numpy() @ case.truth.rotations
    found = run(case.stack, tiny(**LONGER, poses="refine"), given=GivenPoses(disturbed, case.truth.shifts_A))
    tables = found.model.tables
    k = torch.from_numpy(tables.hard_classes())
    with torch.no_grad():
        both = torch.stack([tables.pose(torch.arange(60), c)[0] for c in range(2)], 1)
    errors = apart_from_a_turn(both[torch.arange(60), k].numpy(), case)
    print("median error", np.median(errors))
    assert np.median(errors) < 5


def test_fixed_poses_are_given_back_untouched(case: Case) -> None:
    found = run(case.stack, tiny(poses="fixed"), given=case.given())
    tables = found.model.tables
    assert (tables.corrections.weight == 0).all()
    for k in range(tables.classes):
        rotations, shifts = tables.pose(torch.arange(60, device=CPU), k)
        torch.testing.assert_close(rotations, torch.from_numpy(case.truth.rotations).float())
        torch.testing.assert_close(shifts, torch.from_numpy(case.truth.shifts_A / case.stack.pixel_size_A).float())


def test_run_json_says_whose_poses_were_given(case: Case, with_poses: Path, tmp_path: Path) -> None:
    parameters = {"classes": 1, "poses": "fixed", "pretrain_images": 0, "l_schedule": [4], "decode_epochs": 0}
    definition = {"name": "held", "program": "hydra", "parameters": parameters, "poses_from": "consensus"}
    arguments = ["--definition", json.dumps(definition), "--poses-from", str(with_poses), "--threads", "1"]
    assert main(["hydra", "--particles", str(case.stack.path), "--out", str(tmp_path / "out"), *arguments]) == 0
    found = read_run(tmp_path / "out")
    assert (found.state, found.notes["poses_from"], found.notes["class_sizes"]) == ("ok", "consensus", [60])
    assert not (tmp_path / "out" / "history_labels.npy").exists()  # one class: nothing to tell


def test_given_shifts_follow_a_smaller_box(case: Case) -> None:
    found = run(case.stack, tiny(poses="fixed", downsample_px=24), given=case.given())
    expected = torch.from_numpy(case.truth.shifts_A / (case.stack.pixel_size_A * 32 / 24)).float()
    torch.testing.assert_close(found.model.tables.shifts_px[:, 0], expected)
