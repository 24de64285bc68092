"""cryoDRGN's own program on a small stack: our conventions against its, and each adapter from end to end.

Searching poses from nothing takes more images and time than a test has, so the searches begin at a field that was
trained at the true poses: the poses that they find are still the program's own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated import dataset
from test_backprojection import STRUCTURES, shell_correlation

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import read_assignments, read_run, sample_path
from hydra_bench.contracts.stack import Stack, read_stack
from hydra_bench.contracts.truth import Truth, read_truth
from hydra_bench.core.files import read_json
from hydra_bench.core.mrc import read_map
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.maps.alignment import align_map
from hydra_bench.methods import cards as method_cards
from hydra_bench.methods.programs.programs import Programs, find_executable
from hydra_bench.metrics.pose import aligned_poses, pose_errors

files = method_cards.method_module("cryodrgn/files.py")
ENVIRONMENTS = Path(__file__).parents[2] / "build" / "envs"
ENVIRONMENT = ENVIRONMENTS / "cryodrgn"

pytestmark = pytest.mark.skipif(
    find_executable("cryodrgn", ENVIRONMENT) is None, reason="cryodrgn is missing: make build/envs/cryodrgn/installed"
)

N, BOX = 160, 32
LOW = slice(1, 9)
"""Shells 1 to 8 of 16: to 53 Å."""
DEFINITION = dataset(
    3,
    {"small_subunit": {"entry": "6zu5", "chains": ["S*"], "images": N}},
    evaluated=3,
    box_px=64,
    pixel_size_A=6.6,
    delivered_box_px=BOX,
    snr=20,
    shift_px=4,
    b_factor_A2=200,
    ctf={"astigmatism_A": [0, 4000]},
)
SMALL = {"enc_dim": 128, "dec_dim": 128, "lr": 1e-3, "batch_size": 8, "beta": 100}
"""So strong a prior that the field leans on no latents: the encoder learns from centred images, of which there are none
when poses are searched."""
SEARCH = {"l_start": 4, "l_end": 10, "t_extent": 2.5, "t_ngrid": 2}


@dataclass(frozen=True)
class Particles:
    """A simulated stack, nearly without noise, its truth and its true map."""

    folder: Path
    stack: Stack
    truth: Truth
    true_map: np.ndarray

    def run(self, state: Path, program: str, poses: str | None = None, **parameters: Any) -> Path:
        """The reconstruction of a method, whose state is kept in a folder."""
        out = state / "out"
        definition = {"name": program, "program": program, "poses_from": poses, "parameters": parameters}
        stack = self.folder / "stack"
        command = ["reconstruct", "--particles", str(stack / "particles.star"), "--threads", "1", "--seed", "1"]
        command += ["--evaluation-list", str(stack / "evaluation_particles.txt"), "--state", str(state)]
        command += ["--environments", str(ENVIRONMENTS), "--out", str(out), "--definition", json.dumps(definition)]
        if poses is not None:
            command += ["--poses-from", str(self.folder / "truth" / "truth.star")]
        assert main(command) == 0
        run = read_run(out)
        assert run.state == "ok", run.reason
        assert run.notes["versions"]["cryodrgn"] == "4.3.1"
        assert (out / "history.csv").is_file()
        return out

    def check_map(self, path: Path, least: float) -> None:
        """In place, of the right hand, and positive."""
        found, pixel_size_A = read_map(path)
        fsc = shell_correlation(found, self.true_map)
        mirrored = shell_correlation(np.roll(found[::-1], 1, axis=0), self.true_map)
        print(path.name, "FSC", fsc.round(3), "of the mirror image", mirrored.round(3))
        assert pixel_size_A == pytest.approx(self.stack.pixel_size_A, rel=1e-4)
        assert (fsc[LOW] >= least).all()
        assert mirrored[4:9].mean() < 0.8 * fsc[4:9].mean()
        assert found[self.true_map > 0.5 * self.true_map.max()].mean() > 2 * found.std()

    def check_poses(self, out: Path) -> None:
        """After the usual alignment of the map, within 5 degrees and half a pixel."""
        found = read_assignments(out, N)
        alignment = align_map(read_map(class_volume_path(out, 0))[0], self.true_map)
        poses = aligned_poses(found.rotations, found.shifts_A, alignment, self.stack.pixel_size_A)
        errors = pose_errors(*poses, self.truth.rotations, self.truth.shifts_A)
        angle, shift_px = np.median(errors.angle_deg), np.median(errors.shift_A) / self.stack.pixel_size_A
        print(f"median errors {angle:.2f} degrees, {shift_px:.3f} px; mirrored {alignment.mirrored}")
        assert angle <= 5
        assert shift_px <= 0.5


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Particles:
    folder = tmp_path_factory.mktemp("cryodrgn")
    simulate(DEFINITION, STRUCTURES, folder / "stack", folder / "truth")
    true_map = read_map(folder / "truth" / "volumes" / "class_1.mrc")[0]
    return Particles(folder, read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth"), true_map)


@pytest.fixture(scope="module")
def at_true_poses(particles: Particles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a run of train_vae, whose networks are those of abinit_het_old."""
    state = tmp_path_factory.mktemp("train_vae")
    particles.run(state, "cryodrgn_fixed", "truth", num_epochs=10, domain="hartley", **SMALL)
    return state


def test_backprojection_finds_the_true_map(particles: Particles, tmp_path: Path) -> None:
    stack, truth = particles.stack, particles.truth
    files.write_ctf(tmp_path / "ctf.pkl", stack)
    files.write_poses(tmp_path / "poses.pkl", truth.rotations, truth.shifts_A, stack, unit_px=BOX + 1)
    words = ["backproject_voxel", stack.images.paths[0], "--ctf", "ctf.pkl", "--poses", "poses.pkl", "-o", "."]
    Programs(ENVIRONMENT, "make envs").run("cryodrgn", *words, "--no-half-maps", cwd=tmp_path)
    particles.check_map(tmp_path / "backproject.mrc", 0.9)


def test_given_true_poses(particles: Particles, at_true_poses: Path) -> None:
    out = at_true_poses / "out"
    particles.check_map(class_volume_path(out, 0), 0.8)
    for particle in map(int, np.loadtxt(particles.folder / "stack" / "evaluation_particles.txt")):
        particles.check_map(sample_path(out, particle), 0.8)
    found, run = read_assignments(out, N), read_run(out)
    np.testing.assert_allclose(found.rotations, particles.truth.rotations, atol=1e-5)
    np.testing.assert_allclose(found.shifts_A, particles.truth.shifts_A, atol=1e-3)
    assert found.latents.shape == (N, 8)
    assert run.images_seen == 10 * N
    assert "--enc-dim 128 (the program's default: 1024)" in run.notes["departures"]
    assert not [word for command in run.notes["commands"] for word in command.split() if word.startswith("/")]


SLOWED = """
import sys, torch
checkpoint = torch.load(sys.argv[1], weights_only=False)
for group in checkpoint["optimizer_state_dict"]["param_groups"]:
    group["lr"] = 1e-9
torch.save(checkpoint, "slowed.pkl")
"""
"""Once loaded, abinit_het_old takes a step at random poses before all else, with the checkpoint's rate."""


def test_cryodrgn2_searches_poses_from_there(particles: Particles, at_true_poses: Path, tmp_path: Path) -> None:
    """Its search in an epoch 11, after 10 at the true poses; nothing is aligned, the field is the truth's."""
    stack, truth = particles.stack, particles.truth
    files.write_ctf(tmp_path / "ctf.pkl", stack)
    programs, weights = Programs(ENVIRONMENT, "make envs"), at_true_poses / "work" / "output" / "weights.10.pkl"
    programs.run("python", "-c", SLOWED, weights, cwd=tmp_path)
    words = ["abinit_het_old", stack.images.paths[0], "--ctf", "ctf.pkl", "--outdir", ".", "--zdim", 8, "--no-analysis"]
    words += ["--load", "slowed.pkl", "--num-epochs", 11, "--reset-optim-after-pretrain", 1, "--seed", 1, "--beta", 100]
    words += ["--enc-dim", 128, "--dec-dim", 128, "--max-threads", 1]
    words += [word for name, value in SEARCH.items() for word in ("--" + name.replace("_", "-"), value)]
    programs.run("cryodrgn", *words, cwd=tmp_path)
    found = files.read_poses(tmp_path / "pose.pkl", stack, unit_px=BOX + 1)
    errors = pose_errors(*found, truth.rotations, truth.shifts_A)
    angle, shift_px = np.median(errors.angle_deg), np.median(errors.shift_A) / stack.pixel_size_A
    print(f"median errors {angle:.2f} degrees, {shift_px:.3f} px")
    assert angle <= 5
    assert shift_px <= 0.2
    assert files.read_latents(tmp_path / "z.pkl", N, 8, pickles=2).shape == (N, 8)


def test_cryodrgn2_from_nothing(particles: Particles, tmp_path: Path) -> None:
    """As far as it comes in two epochs: what is checked is that it runs and is read."""
    coarse = {"l_start": 3, "l_end": 5, "niter": 1, "nkeptposes": 2, "t_extent": 2.5, "t_ngrid": 1}
    out = particles.run(tmp_path, "cryodrgn2", num_epochs=2, ps_freq=2, **SMALL, **coarse)
    run, found = read_run(out), read_assignments(out, N)
    assert run.images_seen == 3 * N
    assert found.latents.shape == (N, 8)
    assert len(np.unique(found.rotations.round(3), axis=0)) > N // 2
    assert 0 < np.abs(found.shifts_A).max() <= 2.5 * np.sqrt(2) * particles.stack.pixel_size_A
    for path in (class_volume_path(out, 0), *(out / "samples").glob("*.mrc")):
        assert read_map(path)[0].shape == (BOX, BOX, BOX)


def test_drgnai_given_true_poses_and_searching_from_there(particles: Particles, tmp_path: Path) -> None:
    """Auto-decoding from the true poses; then, after those 12 epochs, a search of all poses in a 13th."""
    field = {"dim": 128, "lr": 1e-3, "num_workers": 0, "checkpoint": 4, "batch_size_sgd": 8, "batch_size_hps": 8}
    first = particles.run(tmp_path / "first", "drgnai", "truth", epochs_sgd=12, **field)
    particles.check_map(class_volume_path(first, 0), 0.8)
    particles.check_poses(first)
    output = tmp_path / "second" / "work" / "output"
    output.mkdir(parents=True)
    shutil.copy(tmp_path / "first" / "work" / "output" / "weights.12.pkl", output)
    second = particles.run(tmp_path / "second", "drgnai", epochs_pose_search=13, epochs_sgd=0, **field, **SEARCH)
    assert "resumed after epoch 12, since the attempt before was stopped" in read_run(second).notes["departures"]
    particles.check_poses(second)
    particles.check_map(class_volume_path(second, 0), 0.7)


COMMANDS = {"drgnai": "abinit", "cryodrgn2": "abinit_het_old", "cryodrgn_fixed": "train_vae"}
DEFAULTS = """
import argparse, importlib, json, sys
found = {}
for command in sys.argv[1:]:
    parser = argparse.ArgumentParser()
    importlib.import_module("cryodrgn.commands." + command).add_args(parser)
    found[command] = {option: one.default for one in parser._actions for option in one.option_strings}
print("DEFAULTS" + json.dumps(found))
"""


def test_parameters_are_options_and_their_defaults_the_programs() -> None:
    words = [find_executable("python", ENVIRONMENT), "-c", DEFAULTS, *COMMANDS.values()]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    found = json.loads(said.rpartition("DEFAULTS")[2])
    for program, command in COMMANDS.items():
        for name, one in method_cards.parameter_schema(program)["properties"].items():
            default, option = one["default"], "--" + name.replace("_", "-")
            if name != "zdim":
                assert found[command]["--no-" + option[2:] if default is True else option] == default, (command, name)


def test_history_is_what_the_report_draws(particles: Particles, at_true_poses: Path) -> None:
    lines = (at_true_poses / "out" / "history.csv").read_text().splitlines()
    assert lines[0] == "images_seen,epoch,phase,loss,kld"
    assert len(lines) == 11
    assert read_json(at_true_poses / "out" / "run.json")["cost"]["cpu_s"] > 0
