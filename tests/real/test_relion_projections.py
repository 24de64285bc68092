"""Hydra on images that a program not written here made: RELION projects a map, with its own CTF, angles and origins.

With RELION's poses the map comes back in its place, hand and sign; without them up to a turn and the hand, which
no projection tells.
"""

import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest
from test_backprojection import STRUCTURES, shell_correlation

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.core.mrc import read_map, write_map
from hydra_bench.core.star import write_star
from hydra_bench.datasets.simulated.density import density_map
from hydra_bench.datasets.simulated.structures import load_atoms
from hydra_bench.metrics.alignment import align_map, apply

RELION = shutil.which("relion_project")

pytestmark = pytest.mark.skipif(RELION is None, reason="relion_project is missing: apt-get install relion")

BOX, PIXEL_A, N = 48, 8.8, 400
LOW_TO_MID = slice(1, 11)
"""Shells 1 to 10 of 24: to 42 Å."""


@pytest.fixture(scope="module")
def projected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with map.mrc, and noisy projections of it in noisy.mrcs, listed with their poses in noisy.star."""
    folder, rng = tmp_path_factory.mktemp("relion_project"), np.random.default_rng(5)
    atoms = load_atoms(STRUCTURES, entry="6zu5", chains=["S*"], assembly=None, model=1)
    write_map(folder / "map.mrc", density_map(atoms, BOX, PIXEL_A, 200.0).numpy(), PIXEL_A)
    optics = {
        "rlnOpticsGroup": 1,
        "rlnOpticsGroupName": "one",
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": PIXEL_A,
        "rlnImageSize": BOX,
        "rlnImageDimensionality": 2,
    }
    defocus, astigmatism = rng.uniform(1e4, 2.5e4, N), rng.uniform(0, 4000, N)
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@noisy.mrcs" for i in range(N)],
            "rlnOpticsGroup": 1,
            "rlnAngleRot": rng.uniform(0, 360, N),
            "rlnAngleTilt": np.degrees(np.arccos(rng.uniform(-1, 1, N))),
            "rlnAnglePsi": rng.uniform(0, 360, N),
            "rlnOriginXAngst": rng.uniform(-15, 15, N),
            "rlnOriginYAngst": rng.uniform(-15, 15, N),
            "rlnDefocusU": defocus + astigmatism / 2,
            "rlnDefocusV": defocus - astigmatism / 2,
            "rlnDefocusAngle": rng.uniform(0, 180, N),
            "rlnPhaseShift": 0.0,
        }
    )
    write_star(folder / "noisy.star", {"optics": pd.DataFrame([optics]), "particles": particles.round(4)})
    command = [RELION, "--i", "map.mrc", "--ang", "noisy.star", "--o", "clean", "--ctf", "--angpix", str(PIXEL_A)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    with mrcfile.open(folder / "clean.mrcs") as mrc:
        clean = mrc.data.copy()
    assert clean.shape == (N, BOX, BOX)
    noisy = clean + clean.std() * rng.standard_normal(clean.shape)
    with mrcfile.new(folder / "noisy.mrcs") as mrc:
        mrc.set_data(noisy.astype(np.float32))
        mrc.set_image_stack()
        mrc.voxel_size = PIXEL_A
    return folder


def reconstruct(folder: Path, out: Path, *more: str) -> tuple[np.ndarray, np.ndarray]:
    """The map that Hydra finds, and the true one."""
    one = ["--classes", "1", "--latent-dim", "0", "--threads", "1", "--set", "width=64", "--set", "features=64"]
    assert main(["hydra", "--particles", str(folder / "noisy.star"), "--out", str(out), *one, *more]) == 0
    return read_map(class_volume_path(out, 0))[0], read_map(folder / "map.mrc")[0]


def check(found: np.ndarray, true: np.ndarray, least: float) -> None:
    """In place, of the right hand, and positive."""
    fsc = shell_correlation(found, true)
    mirrored = shell_correlation(np.roll(found[::-1], 1, axis=0), true)
    print("FSC", fsc.round(3), "of the mirror image", mirrored.round(3))
    assert (fsc[LOW_TO_MID] >= least).all()
    assert mirrored[4:13].mean() < 0.6 * fsc[4:13].mean()
    assert found[true > 0.5 * true.max()].mean() > 3 * found.std()


@pytest.mark.parametrize("poses", ["fixed", "refine"])
def test_with_relions_poses(projected: Path, poses: str, tmp_path: Path) -> None:
    more = ["--poses-from", str(projected / "noisy.star"), "--set", f"poses={poses}", "--set", "decode_epochs=14"]
    check(*reconstruct(projected, tmp_path / "out", *more, "--set", "l_schedule=[8, 9, 10]"), 0.9)


def test_ab_initio(projected: Path, tmp_path: Path) -> None:
    found, true = reconstruct(projected, tmp_path / "out", "--set", "l_schedule=[5, 6, 7, 8, 9, 10]")
    alignment = align_map(found, true)
    print("mirrored", alignment.mirrored, "correlation", alignment.correlation)
    check(apply(found, alignment), true, 0.9)
