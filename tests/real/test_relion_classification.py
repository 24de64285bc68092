"""RELION's multi-class ab initio by its adapter, with the real program on a tiny stack.

Started from the true maps it must find the true poses and classes: angles, origins, hand, sign and the order of the
particles are then read as they are meant.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated import dataset
from sklearn.metrics import adjusted_rand_score
from test_backprojection import STRUCTURES, shell_correlation

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import read_assignments, read_run, sample_path
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.files import read_json
from hydra_bench.core.mrc import read_map
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.methods import cards as method_cards
from hydra_bench.physics.rotations import angular_distance_deg

pytestmark = pytest.mark.skipif(
    shutil.which("relion_refine") is None,
    reason="relion_refine is missing: apt-get install --no-install-recommends relion",
)

IMAGES, BOX, PIXEL_A = 50, 32, 13.2
EVALUATED = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stack/ and truth/: two species, little noise."""
    folder = tmp_path_factory.mktemp("relion_classification")
    species = {"spliceosome": {"entry": "3jb9"}, "large_subunit": {"entry": "6zu5", "chains": ["L*"]}}
    definition = dataset(
        1,
        {name: {**one, "images": IMAGES} for name, one in species.items()},
        evaluated=EVALUATED,
        box_px=64,
        pixel_size_A=6.6,
        delivered_box_px=BOX,
        snr=0.5,
        shift_px=4,
    )
    simulate(definition, STRUCTURES, folder / "stack", folder / "truth")
    return folder


def reconstruct(data: Path, out: Path, **parameters: Any) -> dict[str, Any]:
    """Run the adapter; return what it noted."""
    filled = method_cards.filled_parameters("relion", {"classes": 2, **parameters})
    definition = {"name": "relion_k2", "program": "relion", "parameters": filled}
    stack = data / "stack"
    command = ["reconstruct", "--definition", json.dumps(definition), "--particles", str(stack / "particles.star")]
    command += ["--evaluation-list", str(stack / "evaluation_particles.txt"), "--threads", "2", "--seed", "0"]
    assert main([*command, "--state", str(out.with_suffix(".state")), "--out", str(out)]) == 0
    run = read_run(out)
    assert run.state == "ok", (run.reason, run.notes.get("log_tail"))
    return {"images_seen": run.images_seen, **run.notes}


def test_from_the_true_maps_it_finds_the_true_poses(data: Path, tmp_path: Path) -> None:
    """Nothing is aligned here: angles, origins, hand and axes of the maps are the truth's own."""
    truth = read_truth(data / "truth")
    notes = reconstruct(
        data,
        tmp_path / "out",
        references=[str(path) for path in truth.volume_paths],
        firstiter_cc=True,
        tau2_fudge=4,
        ini_high=28,
        iter=1,
        offset_range=2,
        offset_step=1,
        normalise="always",
    )
    found = read_assignments(tmp_path / "out", len(truth))
    error = angular_distance_deg(found.rotations, truth.rotations)
    shift_error = np.linalg.norm(found.shifts_A - truth.shifts_A, axis=1)
    print("median error", np.median(error), "degrees", np.median(shift_error), "A")
    assert np.median(error) <= 5
    assert np.median(shift_error) <= 0.5 * PIXEL_A
    assert np.linalg.norm(truth.shifts_A, axis=1).mean() > PIXEL_A, "a shift read the wrong way would not show"
    assert adjusted_rand_score(truth.classes, found.classes) >= 0.8
    for k in range(2):
        fsc = shell_correlation(read_map(class_volume_path(tmp_path / "out", k))[0], truth.class_volume(k))
        print("FSC", fsc.round(3))
        assert (fsc[1:4] >= 0.9).all()
    assert notes["images_seen"] == len(truth)
    assert notes["commands"][0].startswith("relion_preprocess --operate_on particles.mrcs --norm")


def test_ab_initio(data: Path, tmp_path: Path) -> None:
    out, n = tmp_path / "out", 2 * IMAGES
    notes = reconstruct(
        data,
        out,
        sgd_ini_iter=2,
        sgd_inbetween_iter=2,
        sgd_fin_iter=1,
        sgd_ini_resol=80,
        sgd_fin_resol=40,
        sgd_ini_subset=20,
        sgd_fin_subset=40,
        sgd_healpix_order=1,
        sgd_offset_range=2,
        sgd_maxsig=100,
        firstiter_cc=True,
        ini_high=60,
        iter=2,
        healpix_order=1,
        offset_range=2,
        maxsig=100,
    )
    found = read_assignments(out, n)
    print(np.bincount(found.classes), notes)
    assert notes["images_seen"] == 2 * 20 + (20 + 30) + 40 + 2 * n
    assert notes["versions"]["relion"][0].isdigit()
    assert len(notes["commands"]) == 2, "the simulated stack is normalised"
    for particle in map(int, (data / "stack" / "evaluation_particles.txt").read_text().split()):
        own, pixel_size_A = read_map(sample_path(out, particle))
        assert (own.shape, pixel_size_A) == ((BOX,) * 3, pytest.approx(PIXEL_A))
        np.testing.assert_array_equal(own, read_map(class_volume_path(out, found.classes[particle]))[0])
    metrics = tmp_path / "metrics.json"
    command = [
        "evaluate",
        "--dataset",
        "tiny",
        "--method",
        "relion_k2",
        "--label",
        "RELION",
        "--reconstruction",
        str(out),
    ]
    command += ["--particles", str(data / "stack" / "particles.star"), "--truth", str(data / "truth")]
    assert main([*command, "--out", str(metrics), "--aligned", str(tmp_path / "aligned")]) == 0
    print(read_json(metrics))


NAMES = {"classes": "K", "references": "ref", **{f"sgd_{name}": name for name in ("healpix_order", "oversampling")}}
NAMES |= {f"sgd_{name}": name for name in ("offset_range", "offset_step", "maxsig")}


def test_defaults_are_relions() -> None:
    """Of the parameters that have a number in RELION's help; switches are on or off as its job forms have them."""
    said = subprocess.run(["relion_refine", "--help"], capture_output=True, text=True).stdout
    printed = method_cards.method_module("relion/options.py").printed_defaults(said)
    if "--sgd" not in printed:
        pytest.skip("this RELION has other options of gradient descent than 3.1; apt-get install relion has 3.1")
    compared = 0
    for name, content in method_cards.parameter_schema("relion")["properties"].items():
        default = printed.get(f"--{NAMES.get(name, name)}")
        if name in ("classes", "gpu", "normalise") or isinstance(content["default"], bool):
            continue
        expected = {"None": None, "-1": None}.get(default, default)
        assert (
            content["default"] if isinstance(content["default"], str | None) else f"{content['default']:g}"
        ) == expected
        compared += 1
    assert compared > 15
