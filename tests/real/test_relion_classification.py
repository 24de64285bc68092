"""RELION's 3D classification through the adapter: from true maps its poses are the true ones; ab initio it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_backprojection import STRUCTURES

from hydra_bench import config
from hydra_bench.cli import main
from hydra_bench.metrics.pose import pose_errors
from hydra_bench.reconstruction import class_volume_path, read_assignments, read_run
from hydra_bench.truth import Truth, read_truth

pytestmark = pytest.mark.skipif(
    shutil.which("relion_refine") is None, reason="relion_refine is missing: apt-get install relion"
)

BOX, EACH = 32, 60
DATASET = {
    "seed": 3,
    "species": {
        "large_subunit": {"entry": "6zu5", "chains": ["L*"], "images": EACH},
        "small_subunit": {"entry": "6zu5", "chains": ["S*"], "images": EACH},
    },
    "simulation": {"box_px": 128, "pixel_size_A": 3.3, "delivered_box_px": BOX, "snr": 1.0, "shift_px": 6},
    "evaluation_particles_per_class": 2,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stack/ and truth/."""
    folder = tmp_path_factory.mktemp("relion")
    checked = config.validate(
        {"datasets": ["two"], "dataset_definitions": {"two": DATASET}, "methods": [], "seeds": [0]}
    )
    definition = json.dumps({"name": "two", **checked["dataset_definitions"]["two"]})
    made = ["--stack", str(folder / "stack"), "--truth", str(folder / "truth"), "--threads", "1"]
    assert main(["simulate", "--definition", definition, "--structures", str(STRUCTURES), *made]) == 0
    return folder


def reconstruct(dataset: Path, out: Path, **parameters: object) -> Truth:
    filled = config.filled_parameters("relion", {"classes": 2, "offset_range_px": 3, "offset_step_px": 1, **parameters})
    definition = {"name": "relion", "program": "relion", "parameters": filled}
    stack = dataset / "stack"
    command = ["reconstruct", "--definition", json.dumps(definition), "--particles", str(stack / "particles.star")]
    command += ["--evaluation-list", str(stack / "evaluation_particles.txt"), "--state", str(out) + ".state"]
    assert main([*command, "--threads", "2", "--out", str(out)]) == 0
    run = read_run(out)
    assert run.state == "ok", run.reason
    return read_truth(dataset / "truth")


def test_from_true_maps_poses_and_classes_are_the_true_ones(dataset: Path, tmp_path: Path) -> None:
    """Same axes, hand, sign of shifts: nothing is aligned here."""
    maps = [str(dataset / "truth" / "volumes" / f"class_{k + 1}.mrc") for k in range(2)]
    truth = reconstruct(
        dataset, tmp_path / "out", references=maps, correlate_first=True, iterations=3, initial_resolution_A=40
    )
    ours = read_assignments(tmp_path / "out", len(truth))
    errors = pose_errors(ours.rotations, ours.shifts_A, truth.rotations, truth.shifts_A)
    print("median errors", np.median(errors.angle_deg), "degrees,", np.median(errors.shift_A), "Å")
    assert np.median(errors.angle_deg) <= 5
    assert np.median(errors.shift_A) <= 6.6  # half a pixel
    assert (ours.classes == truth.classes).mean() >= 0.95


def test_ab_initio_it_ends_with_a_reconstruction(dataset: Path, tmp_path: Path) -> None:
    few = {f"sgd_{which}_iterations": 4 for which in ("initial", "between", "final")}
    reconstruct(
        dataset,
        tmp_path / "out",
        **few,
        sgd_initial_resolution_A=60,
        sgd_final_resolution_A=40,
        sgd_initial_batch=30,
        sgd_final_batch=60,
        iterations=2,
        healpix_order=1,
    )
    run = read_run(tmp_path / "out")
    assert run.images_seen == 4 * 30 + 4 * 45 + 4 * 60 + 2 * 2 * EACH
    assert len(run.notes["commands"]) == 2
    assert run.notes["versions"]["RELION"]
    assert "classification: --iter 2, not 50" in run.notes["departures"]
    assert all(class_volume_path(tmp_path / "out", k).is_file() for k in range(2))
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 4
