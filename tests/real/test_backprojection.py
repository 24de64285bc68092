"""Our conventions against a program not written here: RELION back-projects a simulated stack with its true poses.

Pose, shift, CTF sign, defocus, astigmatism, hand and contrast must all be right for the map to come out.
"""

import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from simulated import dataset

from hydra_bench.core.mrc import read_map
from hydra_bench.core.star import read_star, write_star
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.physics.fourier import fft_centred, frequency_radius

RELION = shutil.which("relion_reconstruct")
STRUCTURES = Path(__file__).parents[2] / "resources" / "structures"

pytestmark = pytest.mark.skipif(RELION is None, reason="relion_reconstruct is missing: apt-get install relion")

DEFINITION = dataset(
    3,
    {"small_subunit": {"entry": "6zu5", "chains": ["S*"], "images": 400}},
    evaluated=1,
    box_px=96,
    pixel_size_A=4.4,
    delivered_box_px=48,
    snr=0.5,
    ctf={"astigmatism_A": [0, 4000]},
)


def shell_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """FSC of two maps, written out here so that the check leans on nothing of the evaluation."""
    fa, fb = (fft_centred(torch.from_numpy(x).double(), 3).flatten() for x in (a, b))
    shells = frequency_radius(a.shape[0], 3).round().long().flatten()
    cross = torch.bincount(shells, weights=(fa * fb.conj()).real)
    power = torch.bincount(shells, weights=fa.abs() ** 2) * torch.bincount(shells, weights=fb.abs() ** 2)
    return (cross / power.sqrt())[: a.shape[0] // 2].numpy()


MOTION = {"chains": ["S60:880-1235", "SD0", "SF0", "SGG", "SP0", "SQ0", "ST0", "SU0"], "axis": "centres", "states": 2}
"""The head of the small subunit, turned by a lot."""


def moved() -> dict[str, Any]:
    """The same particles with all of them in the second state."""
    definition = deepcopy(DEFINITION)
    species = definition["species"]["small_subunit"]
    species["motion"] = {**MOTION, "angle_deg": [0, 60]}
    species["wells"] = [{"at": 60, "width": 0, "share": 1}]
    return definition


def back_projected(definition: dict[str, Any], folder: Path) -> np.ndarray:
    """RELION's map of a simulated stack, at its true poses."""
    stack, truth = folder / "stack", folder / "truth"
    simulate(definition, STRUCTURES, stack, truth)
    tables, poses = read_star(stack / "particles.star"), read_star(truth / "truth.star")["particles"]
    tables["particles"] = tables["particles"].join(poses)
    write_star(stack / "with_poses.star", tables)
    command = [RELION, "--i", "with_poses.star", "--o", "map.mrc", "--ctf", "--angpix", "8.8"]
    subprocess.run(command, cwd=stack, check=True, capture_output=True, timeout=300)
    return read_map(stack / "map.mrc")[0]


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    folder = tmp_path_factory.mktemp("relion")
    found = back_projected(DEFINITION, folder)
    return found, read_map(folder / "truth" / "volumes" / "class_1.mrc")[0]


def test_relion_finds_the_true_map(maps: tuple[np.ndarray, np.ndarray]) -> None:
    fsc = shell_correlation(*maps)
    print("FSC", fsc.round(3))
    assert (fsc[1 : len(fsc) // 2 + 1] >= 0.9).all()


def test_the_other_hand_does_not_fit(maps: tuple[np.ndarray, np.ndarray]) -> None:
    found, true = maps
    other = np.roll(found[::-1], 1, axis=0)
    half = found.shape[0] // 4
    assert shell_correlation(other, true)[4:half].mean() < 0.6 * shell_correlation(found, true)[4:half].mean()


def test_the_density_is_positive(maps: tuple[np.ndarray, np.ndarray]) -> None:
    found, true = maps
    inside = true > 0.5 * true.max()
    assert found[inside].mean() > 3 * found.std()


def test_relion_finds_the_conformation_that_particles_are_in(tmp_path: Path) -> None:
    """And not the entry's own, which it was made from."""
    found = back_projected(moved(), tmp_path)
    states = [read_map(tmp_path / "truth" / "volumes" / "class_1" / f"state_{s}.mrc")[0] for s in (1, 2)]
    rest, turned = (shell_correlation(found, state) for state in states)
    print("FSC", turned.round(3), "of the other state", rest.round(3))
    half = len(turned) // 2 + 1
    assert (turned[1:half] >= 0.9).all()
    assert rest[4:half].mean() < turned[4:half].mean() - 0.15
