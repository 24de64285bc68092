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
import torch
from particle_files import write_images
from test_backprojection import STRUCTURES, shell_correlation

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.core.mrc import read_map, write_map
from hydra_bench.core.star import read_star, write_star
from hydra_bench.datasets.simulated.density import density_map
from hydra_bench.datasets.simulated.structures import load_atoms
from hydra_bench.maps.alignment import align_map, apply
from hydra_bench.particles.particle_files import read_particles
from hydra_bench.physics.fourier import frequency_plane, hartley
from hydra_bench.physics.magnification import undistorted

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


def test_b_factor_and_scale_are_relions(projected: Path, tmp_path: Path) -> None:
    """What RELION projects with them is what it projects without, times what they do to the CTF here."""
    tables, every = read_star(projected / "noisy.star"), np.arange(8)
    plane, transforms, stacks = frequency_plane(BOX), [], []
    for name, damping in (("plain", {}), ("damped", {"rlnCtfBfactor": 150.0, "rlnCtfScalefactor": 0.6})):
        names = [f"{i + 1:06d}@{name}.mrcs" for i in every]
        content = {**tables, "particles": tables["particles"].iloc[:8].assign(rlnImageName=names, **damping)}
        write_star(tmp_path / f"{name}.star", content)
        command = [RELION, "--i", str(projected / "map.mrc"), "--ang", f"{name}.star", "--o", name, "--ctf"]
        subprocess.run([*command, "--angpix", str(PIXEL_A)], cwd=tmp_path, check=True, capture_output=True, timeout=120)
        write_star(tmp_path / f"{name}.star", content)
        stacks.append(read_particles(tmp_path / f"{name}.star"))
        transforms.append(hartley(torch.from_numpy(stacks[-1].read_images(every)), 2).flatten(1))
    plain, damped = (stack.transfer(every, plane / (BOX * PIXEL_A)) for stack in stacks)
    known = (plain.abs() > 1e-3) & (plane.norm(dim=1) < 0.9 * BOX / 2)
    expected = (transforms[0] * damped / plain)[known]
    assert (transforms[1][known] - expected).norm() < 1e-4 * expected.norm()


def test_magnification_matrices_are_relions(projected: Path, tmp_path: Path) -> None:
    """Images that are distorted here come back right where RELION is told so, and here; not by the inverse."""
    matrix, tables = np.array([[1.04, 0.015], [-0.01, 0.97]]), read_star(projected / "noisy.star")
    with mrcfile.open(projected / "clean.mrcs") as mrc:
        clean = mrc.data.copy()
    write_images(tmp_path / "d.mrcs", undistorted(clean, np.tile(np.linalg.inv(matrix), (N, 1, 1))), PIXEL_A)
    # Origins are taken before the distortion.
    origins = tables["particles"][["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy() @ matrix
    content = tables["particles"].assign(
        rlnImageName=[f"{i + 1:06d}@d.mrcs" for i in range(N)],
        rlnOriginXAngst=origins[:, 0],
        rlnOriginYAngst=origins[:, 1],
    )
    true, found = read_map(projected / "map.mrc")[0], {}
    for name, told in (("inverse", np.linalg.inv(matrix)), ("matrix", matrix)):
        labels = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
        optics = tables["optics"].assign(**dict(zip(labels, told.ravel(), strict=True)))
        write_star(tmp_path / "d.star", {"optics": optics, "particles": content})
        command = ["relion_reconstruct", "--i", "d.star", "--o", f"{name}.mrc", "--ctf"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=200)
        found[name] = shell_correlation(read_map(tmp_path / f"{name}.mrc")[0], true)
    print("FSC", {name: fsc[[4, 8, 12, 16, 20]].round(3) for name, fsc in found.items()})
    assert found["matrix"][20] > 0.99
    assert found["inverse"][20] < 0.95
    ours = read_particles(tmp_path / "d.star").read_images(np.arange(4))
    assert np.corrcoef(ours.ravel(), clean[:4].ravel())[0, 1] > 0.995
