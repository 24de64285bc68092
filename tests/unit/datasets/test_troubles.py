"""Troubles of real images: each against its definition, and nothing changed where all are off."""

from pathlib import Path

import numpy as np
import pytest
import torch
from definitions import dataset

from hydra_bench.contracts.stack import Stack, read_stack
from hydra_bench.contracts.truth import Truth, read_truth
from hydra_bench.core.json_values import JsonObject
from hydra_bench.datasets.simulated.imaging import Imaging, draw_particles
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.datasets.simulated.troubles import (
    JUNK_KINDS,
    Occurring,
    Troubles,
    Views,
    background_images,
    coloured,
    draw_background,
    draw_junk,
    draw_neighbours,
    half_of,
    preferred_rotations,
)

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"
NEVER = 1e9
"""An SNR at which nothing but the signal is seen."""


def made(folder: Path, images: int = 12, troubles: JsonObject | None = None) -> tuple[Stack, Truth]:
    definition = dataset(images, snr=NEVER)
    if troubles is not None:
        definition["simulation"]["troubles"] = troubles
    simulate(definition, STRUCTURES, folder / "stack", folder / "truth")
    return read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return made(tmp_path_factory.mktemp("plain"))[0]


def images_of(stack: Stack) -> np.ndarray:
    return stack.read_images(np.arange(len(stack)))


def test_contrast_multiplies_the_signal_alone_and_has_mean_one(tmp_path: Path, plain: Stack) -> None:
    varied, _ = made(tmp_path / "varied", troubles={"contrast_log_sd": 0.3})
    first, second = images_of(plain), images_of(varied)
    ratio = (first * second).sum((1, 2)) / np.square(first).sum((1, 2))
    assert np.log(ratio).std() == pytest.approx(0.3, rel=0.5)
    np.testing.assert_allclose(second, ratio[:, None, None] * first, atol=2e-3 * np.abs(second).max())
    drawn = draw_background(20000, np.full(20000, -1), Troubles(contrast_log_sd=0.3), np.random.default_rng(0))
    assert drawn.contrasts.mean() == pytest.approx(1, abs=0.01)


def test_coloured_noise_has_the_stated_spectrum() -> None:
    noise = np.random.default_rng(0).standard_normal((400, 32, 32)).astype(np.float32)
    power = np.square(np.abs(np.fft.fft2(coloured(noise, 5.0, 4.0, 66.0)))).mean(0) / 32**2
    s = np.hypot(*np.meshgrid(np.fft.fftfreq(32, 5.0), np.fft.fftfreq(32, 5.0)))
    expected = 1 + 4 / (1 + np.square(66.0 * s))
    assert np.abs(power / expected - 1).mean() < 0.05
    assert coloured(noise, 5.0, 0.0, 66.0) is noise


def test_planes_rise_by_the_stated_deviation() -> None:
    drawn = draw_background(4000, np.full(4000, -1), Troubles(plane_sd=0.3), np.random.default_rng(0))
    planes = background_images(drawn, np.arange(4000), 16)
    assert (planes[:, 8, 0] / -1).std() == pytest.approx(0.3, rel=0.05)
    assert (planes[:, 0, 8] / -1).std() == pytest.approx(0.3, rel=0.05)
    assert np.abs(planes[:, 8, 8]).max() == 0
    np.testing.assert_allclose(np.diff(planes, 2, axis=1), 0, atol=1e-6)


@pytest.mark.parametrize("both_ends", [True, False])
def test_views_have_the_stated_density(both_ends: bool) -> None:
    axis = np.array([1.0, 2.0, -1.0]) / np.sqrt(6)
    views = [Views(3.0, tuple(2 * axis), both_ends)]
    rotations = preferred_rotations(20000, views, np.random.default_rng(0))
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-9
    )
    assert np.linalg.det(rotations) == pytest.approx(1)
    along = rotations[:, 2] @ axis  # the view's direction in the map
    found, edges = np.histogram(along, 10, (-1, 1), density=True)
    middles = (edges[1:] + edges[:-1]) / 2
    fine = np.linspace(-1, 1, 2001)
    law = lambda c: np.exp(3 * (c**2 if both_ends else c))  # noqa: E731
    np.testing.assert_allclose(found, law(middles) / (2 * law(fine).mean()), atol=0.12)


def test_the_stated_defocus_is_off_by_as_much_as_asked(tmp_path: Path, plain: Stack) -> None:
    off, _ = made(tmp_path / "off", troubles={"defocus_error_sd_A": 500.0})
    assert plain.defocus is not None
    assert off.defocus is not None
    np.testing.assert_array_equal(images_of(plain), images_of(off))
    error = off.defocus.u_A - plain.defocus.u_A
    np.testing.assert_allclose(error, off.defocus.v_A - plain.defocus.v_A, atol=0.02)
    assert error.std() == pytest.approx(500, rel=0.4)


def test_junk_is_a_class_without_a_map_of_the_stated_share(tmp_path: Path) -> None:
    stack, truth = made(tmp_path, images=30, troubles={"junk_share": 0.25})
    assert len(stack) == 80
    assert truth.class_names == ("large", "small", "junk")
    assert not truth.has_map(2)
    assert np.bincount(truth.classes).tolist() == [30, 30, 20]
    np.testing.assert_array_equal(truth.junk, truth.classes == 2)
    power = np.square(images_of(stack)).mean((1, 2))
    assert power[~truth.junk].min() > 0.02 * np.median(power[~truth.junk])
    assert (power[truth.junk] < 1e-3 * np.median(power[~truth.junk])).any()  # empty ones


def test_each_kind_of_junk_is_what_it_says() -> None:
    kinds = np.array([-1, 0, 1, 2, 3])
    shifts_A = np.arange(10.0).reshape(5, 2)
    found = draw_junk(kinds, shifts_A, Occurring([1], [1], [100.0]), np.random.default_rng(0))
    assert [JUNK_KINDS[kinds[i]] for i in found.images] == ["half", "overlapping", "overlapping"]
    np.testing.assert_allclose(found.shifts_A[0], shifts_A[2])
    np.testing.assert_allclose(found.shifts_A[1:].mean(0), shifts_A[4])
    assert 40 <= np.linalg.norm(found.shifts_A[1] - found.shifts_A[2]) <= 70
    assert found.halves.tolist() == [True, False, False]
    edges = background_images(draw_background(5, kinds, Troubles(), np.random.default_rng(0)), np.arange(5), 32)
    assert [bool(np.ptp(image)) for image in edges] == [False, False, False, True, False]
    assert np.ptp(edges[3]) == pytest.approx(1, abs=0.01)
    halved = half_of(torch.ones(8, 8, 8))
    assert (float(halved[0, 0, 0]), float(halved[0, 0, 7])) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=3e-3))


def test_neighbours_are_in_the_stated_share_at_their_distance_and_do_not_wrap_round(
    tmp_path: Path, plain: Stack
) -> None:
    found = draw_neighbours(4000, Occurring([3, 1], [1, 2], [0, 0]), 0.4, 80.0, np.random.default_rng(0))
    assert len(found.images) / 4000 == pytest.approx(0.4, abs=0.03)
    assert (found.classes == 1).mean() == pytest.approx(0.25, abs=0.04)
    np.testing.assert_allclose(np.linalg.norm(found.shifts_A, axis=1), 80)
    beside, _ = made(tmp_path / "beside", troubles={"neighbour_share": 1.0, "neighbour_distance_px": 22.0})
    added = np.square(images_of(beside) - images_of(plain))
    axis = np.arange(32) - 16
    middles = [np.array([(image * axis).sum(), (image * axis[:, None]).sum()]) / image.sum() for image in added]
    # Wrapped round, the halves on both sides would bring their middle to the image's.
    assert np.median(np.linalg.norm(middles, axis=1)) > 8


def test_off_means_nothing_is_drawn_otherwise() -> None:
    imaging = Imaging.from_definition(dataset()["simulation"])
    particles = draw_particles([20, 10], imaging, 2, seed=1)
    assert (particles.junk_kind == -1).all()
    np.testing.assert_array_equal(particles.stated_defocus.u_A, particles.defocus.u_A)
