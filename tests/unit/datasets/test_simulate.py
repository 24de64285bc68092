"""The simulator: noise, SNR, order, leaks, repeatability."""

import filecmp
from pathlib import Path

import numpy as np
import pytest
import torch
from definitions import dataset

from hydra_bench.contracts.stack import read_evaluation_list, read_stack
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.files import read_json
from hydra_bench.core.star import read_star
from hydra_bench.datasets.simulated import imaging as module
from hydra_bench.datasets.simulated import kind
from hydra_bench.datasets.simulated.density import density_map
from hydra_bench.datasets.simulated.imaging import (
    Imaging,
    draw_particles,
    noise_deviation,
    particle_noise,
    projections,
    signal_variances,
)
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.datasets.simulated.structures import load_atoms
from hydra_bench.physics.fourier import fourier_crop
from hydra_bench.physics.projection import SIMULATION_PADDING

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate(dataset(), STRUCTURES, folder / "stack", folder / "truth")
    return folder


def test_the_contracts_hold(folder: Path) -> None:
    stack, truth = read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth")
    assert (len(stack), stack.box_px) == (60, 32)
    assert stack.pixel_size_A == pytest.approx(48 * 6.6 / 32)
    assert np.bincount(truth.classes).tolist() == [30, 30]
    assert truth.class_names == ("large", "small")
    assert truth.states is None
    assert truth.conformations.shape == (60, 0)
    evaluation = read_evaluation_list(folder / "stack" / "evaluation_particles.txt", len(stack))
    assert np.bincount(truth.classes[evaluation]).tolist() == [2, 2]
    assert (np.diff(evaluation) > 0).all()


def test_the_same_seed_gives_the_same_bytes_whatever_the_chunks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)
    simulate(dataset(), STRUCTURES, tmp_path / "stack", tmp_path / "truth")
    files = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and p.suffix != ".mrcs"]
    assert len(files) == 6
    assert filecmp.cmpfiles(folder, tmp_path, files, shallow=False)[0] == files
    # Another chunk is another matrix product, which may sum in another order.
    stacks = (read_stack(f / "stack" / "particles.star") for f in (folder, tmp_path))
    first, second = (stack.read_images(np.arange(len(stack))) for stack in stacks)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_another_seed_gives_other_particles(folder: Path, tmp_path: Path) -> None:
    simulate({**dataset(), "seed": 8}, STRUCTURES, tmp_path / "stack", tmp_path / "truth")
    first, second = (read_truth(f / "truth") for f in (folder, tmp_path))
    assert not np.array_equal(first.classes, second.classes)
    assert np.abs(first.rotations - second.rotations).max() > 0.1


def test_order_and_metadata_do_not_give_the_class_away(folder: Path) -> None:
    table, truth = read_star(folder / "stack" / "particles.star")["particles"], read_truth(folder / "truth")
    assert not [column for column in table if "Angle" in column and "Defocus" not in column]
    order = np.corrcoef(np.arange(len(truth)), truth.classes)[0, 1]
    assert abs(order) < 0.35


def test_noise_is_white_with_deviation_one_and_own_streams() -> None:
    noise = particle_noise(np.arange(200), 32, seed=3)
    assert noise.std() == pytest.approx(1.0, abs=0.01)
    np.testing.assert_array_equal(particle_noise(np.array([150]), 32, seed=3)[0], noise[150])
    power = np.abs(np.fft.fft2(noise)) ** 2
    assert np.abs(power.mean(0) / 32**2 - 1).max() < 0.4


def test_measured_snr_is_the_one_that_was_set() -> None:
    """At the full box, with the variance of the signal measured on its images."""
    definition = dataset(images=600, delivered_box_px=48)
    imaging = Imaging.from_definition(definition["simulation"])
    atoms = [load_atoms(STRUCTURES, "6zu5", one["chains"]) for one in definition["species"].values()]
    volumes = [density_map(a, imaging.box_px, imaging.pixel_size_A, imaging.b_factor_A2) for a in atoms]
    particles = draw_particles([600, 600], imaging, 2, seed=1)
    measured = [signal_variances(v, particles.members(c, 0), particles, imaging) for c, v in enumerate(volumes)]
    noise_sd = noise_deviation(measured, imaging.snr)
    variances = [
        images.var((1, 2), correction=0)
        for c, volume in enumerate(volumes)
        for _, images in projections(volume, np.flatnonzero(particles.classes == c), particles, imaging)
    ]
    assert float(torch.cat(variances).mean()) / noise_sd**2 == pytest.approx(imaging.snr, rel=0.02)


def test_images_at_the_delivered_box_are_the_cropped_full_images() -> None:
    full = Imaging.from_definition(dataset(delivered_box_px=48)["simulation"])
    small = Imaging.from_definition(dataset(delivered_box_px=32)["simulation"])
    atoms = load_atoms(STRUCTURES, "6zu5", ["SA0", "SB0", "S60"])
    volume = density_map(atoms, 48, 6.6, 200.0)
    particles = draw_particles([20], full, 2, seed=2)
    (_, large_images), (_, small_images) = (
        next(projections(volume, np.arange(20), particles, i)) for i in (full, small)
    )
    cropped = fourier_crop(large_images, 32, 2)
    # The Nyquist lines, which a real image keeps only half of, are where the two may differ.
    assert (cropped - small_images).abs().max() < 0.02 * small_images.abs().max()


def test_orientations_are_uniform() -> None:
    imaging = Imaging.from_definition(dataset()["simulation"])
    particles = draw_particles([4000], imaging, 2, seed=5)
    views = particles.rotations[:, 2]  # the view's direction in the map
    assert np.abs(views.mean(0)).max() < 0.04
    assert np.abs((views**2).mean(0) - 1 / 3).max() < 0.02


def test_provenance_names_what_went_in(folder: Path) -> None:
    provenance = read_json(folder / "truth" / "provenance.json")
    assert provenance["definition"] == dataset()
    assert provenance["species"]["large"]["mass_kDa"] > 50
    checksums = (STRUCTURES / "SHA256SUMS").read_text()
    assert provenance["species"]["large"]["sha256"] in checksums


def test_the_memory_to_ask_for_is_that_of_the_transform_that_slices_are_cut_from() -> None:
    """Which the workflow reckons without importing what cuts them."""
    assert kind.padded_voxels(64, 32) == int(SIMULATION_PADDING * 50) ** 3
