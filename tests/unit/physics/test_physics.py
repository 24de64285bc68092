"""What is simulated against what optics and physics say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from definitions import dataset
from scipy.stats import kstest

from hydra_bench.contracts.stack import write_stack_star
from hydra_bench.datasets.simulated.density import density_map
from hydra_bench.datasets.simulated.imaging import (
    Imaging,
    Particles,
    draw_particles,
    noise_deviation,
    projections,
    signal_variances,
)
from hydra_bench.datasets.simulated.structures import load_atoms
from hydra_bench.particles.particle_files import read_ctf
from hydra_bench.physics.ctf import Defocus, Optics, electron_wavelength_A
from hydra_bench.physics.fourier import fft_centred
from hydra_bench.physics.projection import project
from hydra_bench.physics.rotations import euler_from_matrices, random_rotations

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"
BOX, PIXEL = 64, 4.0


@pytest.fixture(scope="module")
def volume() -> torch.Tensor:
    return density_map(load_atoms(STRUCTURES, "6zu5", ["SA0", "SB0", "SC0"]), BOX, PIXEL, 150.0)


def test_the_mass_of_a_density_is_seen_in_every_view(volume: torch.Tensor) -> None:
    masses = project(volume, torch.from_numpy(random_rotations(12, np.random.default_rng(1)))).sum((1, 2))
    torch.testing.assert_close(masses, volume.sum().expand(12), rtol=1e-3, atol=0)


def test_views_are_uniform() -> None:
    imaging = Imaging.from_definition(dataset()["simulation"])
    rot, tilt, psi = euler_from_matrices(draw_particles([5000], imaging, 2, seed=5).rotations).T
    for values in ((rot + 180) / 360, (psi + 180) / 360, (1 - np.cos(np.radians(tilt))) / 2):
        assert kstest(values % 1, "uniform").pvalue > 1e-3


def images_with(volume: torch.Tensor, optics: Optics, *defocus: float) -> torch.Tensor:
    """Noise-free images (20, D, D) of the volume at the same 20 views, with one CTF (U, V, angle)."""
    imaging = Imaging.from_definition(dataset(box_px=BOX, pixel_size_A=PIXEL, delivered_box_px=BOX)["simulation"])
    n = 20
    u, v, angle = (np.full(n, value) for value in defocus)
    rotations, none = random_rotations(n, np.random.default_rng(3)), np.zeros(n, dtype=int)
    own = Defocus(u, v, angle, np.zeros(n))
    particles = Particles(rotations, np.zeros((n, 2)), none, none, own, optics, none, np.full(n, -1), own)
    return next(projections(volume, np.arange(n), particles, imaging))[1]


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0])
def test_zeros_of_the_ctf_are_where_optics_says(volume: torch.Tensor, angle: float) -> None:
    """Without aberration and amplitude contrast, where the defocus along that direction gives whole numbers of π."""
    optics, u, v = Optics(300.0, 0.0, 0.0), 30000.0, 26000.0
    seen = fft_centred(images_with(volume, optics, u, v, angle), 2).abs().square().mean(0)
    plain = fft_centred(images_with(volume, replace(optics, amplitude_contrast=1.0), 0, 0, 0), 2).abs().square().mean(0)
    transfer = (seen / plain).sqrt().numpy()
    wavelength, k = electron_wavelength_A(300.0), np.arange(BOX // 2)
    for direction in (angle, angle + 90):
        x, y = (np.round(k * f(np.radians(direction))).astype(int) for f in (np.cos, np.sin))
        along = transfer[BOX // 2 + y, BOX // 2 + x]
        s = np.hypot(x, y) / (BOX * PIXEL)
        # Where the ray leaves its direction by rounding, the defocus is a little another.
        difference = np.radians(np.degrees(np.arctan2(y, x)) - angle)
        here = wavelength * ((u + v) / 2 + (u - v) / 2 * np.cos(2 * difference)) * s**2
        np.testing.assert_allclose(along[2:-1], np.abs(np.sin(np.pi * here))[2:-1], atol=0.03)
        zeros = np.flatnonzero(np.abs(here - np.round(here)) < 0.02)[1:]
        assert (along[zeros[zeros < len(along) - 1]] < 0.1).all()


def test_snr_at_the_full_box_of_images_that_are_delivered_smaller(volume: torch.Tensor) -> None:
    """The noise that is set without ever making a full-box image gives the SNR that full-box images then have."""
    content = dataset(box_px=BOX, pixel_size_A=PIXEL, delivered_box_px=24, snr=0.07)
    imaging = Imaging.from_definition(content["simulation"])
    particles = draw_particles([500], imaging, 2, seed=1)
    noise_sd = noise_deviation([signal_variances(volume, np.arange(500), particles, imaging)], imaging.snr)
    full = replace(imaging, delivered_box_px=BOX)
    variances = [i.var((1, 2), correction=0) for _, i in projections(volume, np.arange(500), particles, full)]
    assert float(torch.cat(variances).mean()) / noise_sd**2 == pytest.approx(0.07, rel=0.02)
    cut = [i.var((1, 2), correction=0) for _, i in projections(volume, np.arange(500), particles, imaging)]
    assert float(torch.cat(cut).mean()) / noise_sd**2 < 0.95 * 0.07  # what lies beyond the delivered box counts


def test_particles_of_a_micrograph_share_its_defocus() -> None:
    content = dataset()["simulation"]
    content["ctf"] |= {"particles_per_micrograph": 25, "height_sd_A": 100}
    drawn = draw_particles([500, 500], Imaging.from_definition(content), 2, seed=2)
    angles, counts = np.unique(drawn.defocus.angle_deg, return_counts=True)
    assert counts.tolist() == [25] * 40
    means = np.array([drawn.defocus.u_A[drawn.defocus.angle_deg == a].mean() for a in angles])
    spread = np.concatenate([drawn.defocus.u_A[drawn.defocus.angle_deg == a] for a in angles]) - np.repeat(means, 25)
    assert spread.std() == pytest.approx(100, rel=0.1)
    assert means.std() > 2000
    astigmatism = drawn.defocus.u_A - drawn.defocus.v_A
    assert (astigmatism >= -0.02).all()
    assert astigmatism.max() <= 500.02


def test_ctfs_may_be_drawn_from_an_experiment(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    u = rng.uniform(12000, 13000, 50).round(2)
    defocus = Defocus(u, u - 200, rng.uniform(0, 180, 50).round(3), np.zeros(50))
    optics = Optics(np.where(np.arange(50) % 2, 200.0, 300.0), 2.7, 0.07)
    write_stack_star(tmp_path, defocus, optics, 32, 2.0, np.zeros(0, dtype=int))
    content = dataset()["simulation"]
    content["ctf"]["drawn_from"] = str(tmp_path / "particles.star")
    drawn = draw_particles([300], Imaging.from_definition(content), 2, seed=2)
    rows = [np.flatnonzero(defocus.u_A == value)[0] for value in drawn.defocus.u_A]
    np.testing.assert_array_equal(drawn.optics.voltage_kV, optics.voltage_kV[rows])
    np.testing.assert_allclose(drawn.defocus.angle_deg, defocus.angle_deg[rows])
    assert len(set(rows)) > 40
    assert read_ctf(tmp_path / "particles.star")[1].amplitude_contrast == 0.07
