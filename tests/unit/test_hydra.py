"""Hydra's parts: search against brute force, gradients against differences, likelihood, rendering, repeatability."""

from pathlib import Path

import numpy as np
import pytest
import torch
from definitions import dataset

from hydra_bench.errors import InputError
from hydra_bench.files import read_json
from hydra_bench.fourier import centre_crop, frequency_radius, hartley
from hydra_bench.hydra.field import Field
from hydra_bench.hydra.frequencies import Frequencies
from hydra_bench.hydra.images import ImageSource, signal_envelope
from hydra_bench.hydra.learning import class_errors, divergence
from hydra_bench.hydra.mixture import mixture_loss, posteriors, temperature
from hydra_bench.hydra.output import assignments
from hydra_bench.hydra.pose_search import SearchPlan, coarse_search, refine_candidates, search, shift_grid
from hydra_bench.hydra.rendering import render_hartley, render_map, slices, slicing_grid
from hydra_bench.hydra.settings import Settings
from hydra_bench.hydra.train import train
from hydra_bench.rotations import angular_distance_deg, hopf_grid, rotation_from_vector
from hydra_bench.simulate import simulate
from hydra_bench.stack import Stack, read_stack
from hydra_bench.truth import Truth, read_truth

STRUCTURES = Path(__file__).parents[2] / "resources" / "structures"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stack, Truth, float]:
    folder = tmp_path_factory.mktemp("hydra")
    simulate(dataset(snr=2.0), STRUCTURES, folder / "stack", folder / "truth")
    scale = read_json(folder / "truth" / "provenance.json")["image_scale"]
    return read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth"), scale


@pytest.fixture
def field() -> Field:
    torch.manual_seed(0)
    return Field(16, 24, 2, 2, 0.1, torch.ones(17))


def true_grid(simulated: tuple[Stack, Truth, float], k: int, l: int) -> torch.Tensor:
    stack, truth, scale = simulated
    transform = hartley(torch.from_numpy(truth.class_volume(k)) * scale * stack.pixel_size_A, 3) / stack.box_px
    transform = transform * (frequency_radius(stack.box_px, 3) <= l)
    return slicing_grid(centre_crop(transform, 2 * l + 2, 3))


def plan(frequencies: Frequencies, l: int) -> SearchPlan:
    n = frequencies.count(l)
    base = torch.from_numpy(hopf_grid(2)).float()
    return SearchPlan(base, shift_grid(2.0, 5, CPU), np.radians(15), 1.0, (4, 2, 2), frequencies.count(6), n)


def test_search_finds_true_poses_in_the_true_map(simulated: tuple[Stack, Truth, float]) -> None:
    stack, truth, _ = simulated
    frequencies = Frequencies.of_box(stack.box_px, 10)
    members = np.flatnonzero(truth.classes == 0)
    batch = ImageSource(stack, frequencies, CPU).load(members, len(frequencies.plane))
    found = search(batch, true_grid(simulated, 0, 10), frequencies, plan(frequencies, 10))
    errors = angular_distance_deg(found.rotations[:, 0].numpy(), truth.rotations[members])
    shifts = found.shifts[:, 0].numpy() - truth.shifts_A[members] / stack.pixel_size_A
    assert np.median(errors) < 5
    assert np.median(np.linalg.norm(shifts, axis=1)) < 0.3


def test_coarse_search_is_brute_force(simulated: tuple[Stack, Truth, float]) -> None:
    """Against ½‖C s - Y(t)‖² written out for every rotation and shift, with images shifted in real space."""
    stack, _, _ = simulated
    frequencies = Frequencies.of_box(stack.box_px, 5)
    n, grid = len(frequencies.plane), true_grid(simulated, 0, 5)
    source = ImageSource(stack, frequencies, CPU)
    particles = np.arange(3)
    batch = source.load(particles, n)
    small = SearchPlan(torch.from_numpy(hopf_grid(0)).float(), shift_grid(1.0, 3, CPU), 1.0, 1.0, (1,), n, n)
    found = coarse_search(batch, grid, frequencies, small, keep=1)
    predicted = batch.ctf[:, None] * slices(grid, small.base, frequencies.plane)
    images = torch.from_numpy(stack.read_images(particles))
    best = torch.full((3,), torch.inf)
    for tx, ty in small.base_shifts.int().tolist():
        back = torch.roll(images, (-ty, -tx), (1, 2))
        y = hartley(back, 2).flatten(1)[:, frequencies.pixels] / stack.box_px
        best = torch.minimum(best, 0.5 * (predicted - y[:, None]).square().sum(-1).min(1).values)
    constant = 0.5 * batch.hartley.square().sum(1)
    torch.testing.assert_close(found.errors[:, 0] + constant, best, rtol=1e-4, atol=1e-2)


def test_refinement_is_brute_force_too(simulated: tuple[Stack, Truth, float]) -> None:
    stack, _, _ = simulated
    frequencies = Frequencies.of_box(stack.box_px, 6)
    n, grid = len(frequencies.plane), true_grid(simulated, 1, 6)
    batch = ImageSource(stack, frequencies, CPU).load(np.arange(4), n)
    start = search(batch, grid, frequencies, plan(frequencies, 6))
    found = refine_candidates(batch, grid, frequencies, start, n, 0.1, 0.5)
    axes = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)]) * 0.1
    best = torch.full((4,), torch.inf)
    for turn in rotation_from_vector(axes):
        s = batch.ctf * slices(grid, turn @ start.rotations[:, 0], frequencies.plane)
        for dx in (-0.5, 0.0, 0.5):
            for dy in (-0.5, 0.0, 0.5):
                t = start.shifts[:, 0] + torch.tensor([dx, dy])
                phase = 2 * torch.pi / stack.box_px * (t @ frequencies.plane[:, :2].T)
                y = phase.cos() * batch.hartley - phase.sin() * batch.hartley[:, torch.arange(n) ^ 1]
                best = torch.minimum(best, 0.5 * s.square().sum(1) - (s * y).sum(1))
    torch.testing.assert_close(found.errors[:, 0], best, rtol=1e-4, atol=1e-3)


def test_slices_of_a_rendered_field_are_the_field(field: Field) -> None:
    """On a field whose map stays inside the box, as a particle's does."""
    box, l = 32, 10
    compact = Field(16, 24, 2, 0, 0.03, torch.ones(17))
    grid = slicing_grid(render_hartley(compact, l, None))
    frequencies = Frequencies.of_box(box, 7)
    rotations = torch.from_numpy(hopf_grid(0)[:5]).float()
    with torch.no_grad():
        direct = compact(frequencies.plane @ rotations)
    close = slices(grid, rotations, frequencies.plane)
    # Good enough for a search: the cut at l rings, and that wraps around the small box.
    assert (close - direct).abs().mean() < 0.4 * direct.std()


def test_rendered_map_projects_to_the_slice() -> None:
    """The map of a field, summed along z, has the field's slice at the identity for its transform."""
    torch.manual_seed(1)
    flat = Field(16, 24, 1, 0, 0.03, torch.ones(17))
    volume = render_map(flat, 32, None)
    frequencies = Frequencies.of_box(32, 15)
    image = hartley(volume.sum(0), 2).flatten()[frequencies.pixels] / 32
    with torch.no_grad():
        expected = flat(frequencies.plane[None])[0]
    torch.testing.assert_close(image, expected, atol=2e-4 * float(expected.abs().max()), rtol=0)


def test_pose_and_latent_gradients_against_differences(simulated: tuple[Stack, Truth, float], field: Field) -> None:
    stack, truth, _ = simulated
    frequencies = Frequencies.of_box(stack.box_px, 8)
    n = len(frequencies.plane)
    batch = ImageSource(stack, frequencies, CPU).load(np.arange(2), n)
    batch = type(batch)(batch.hartley.double(), batch.ctf.double())
    frequencies = Frequencies(frequencies.plane.double(), frequencies.pixels, frequencies.box_px)
    field, subset = field.double(), torch.arange(0, n, 3)
    base = torch.from_numpy(truth.rotations[:2])

    def loss(vector: torch.Tensor) -> torch.Tensor:
        turn, shift, latent = vector[:, :3], vector[:, 3:5], vector[:, 5:]
        rotations = rotation_from_vector(turn) @ base
        return class_errors(field, batch, frequencies, subset, rotations, shift, latent)

    point = torch.randn(2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 0.1
    assert torch.autograd.gradcheck(loss, point.requires_grad_(), eps=1e-6, atol=1e-5)


def test_loss_gradients_are_posteriors() -> None:
    generator = torch.Generator().manual_seed(0)
    errors = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e, s: mixture_loss(e, s, 0.7), (errors, scores))
    mixture_loss(errors, scores, 0.7).backward()
    expected = posteriors(errors.detach(), 0.7, torch.log_softmax(scores.detach(), 1))
    torch.testing.assert_close(errors.grad * 5, expected)


def test_classes_left_out_have_no_share() -> None:
    errors = torch.tensor([[1.0, torch.inf], [0.5, 0.4]])
    torch.testing.assert_close(posteriors(errors, 0.1)[0], torch.tensor([1.0, 0.0]))
    assert torch.isfinite(mixture_loss(errors, torch.zeros(2, 2), 0.1))


def test_temperature_scales_with_the_errors() -> None:
    errors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert temperature(10 * errors, 2.0) == pytest.approx(10 * temperature(errors, 2.0), rel=1e-5)
    assert temperature(errors, 4.0) == pytest.approx(temperature(errors, 2.0) / 2, rel=1e-5)


def test_divergence_of_the_prior_is_zero() -> None:
    zero = torch.zeros(2, 3)
    torch.testing.assert_close(divergence(zero, zero), torch.zeros(2))
    assert (divergence(zero + 1, zero) > 0).all()


def test_envelope_follows_the_signal(simulated: tuple[Stack, Truth, float]) -> None:
    stack, _, _ = simulated
    frequencies = Frequencies.of_box(stack.box_px, 15)
    envelope = signal_envelope(ImageSource(stack, frequencies, CPU), frequencies, np.random.default_rng(0))
    assert len(envelope) == 16
    assert (envelope.diff() <= 0).all()
    assert envelope[2] > 3 * envelope[14] > 0


TINY = Settings(
    classes=2, latent_dim=1, l_schedule=(4, 5), decode_epochs=1, latent_epoch=1, features=16, width=24, chunk=30
)


def test_training_is_repeatable_and_consistent(simulated: tuple[Stack, Truth, float]) -> None:
    stack, _, _ = simulated
    rows: list[dict] = []
    first = train(stack, TINY, 5, CPU, rows.append)
    second = train(stack, TINY, 5, CPU)
    a, b = (assignments(t, stack.pixel_size_A) for t in (first, second))
    for name in ("classes", "posteriors", "rotations", "shifts_A", "latents"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    np.testing.assert_allclose(a.posteriors.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(a.rotations), 1, atol=1e-4)
    assert [row["phase"] for row in rows] == ["search", "search", "decode"]
    assert rows[-1]["images_seen"] == first.history.images_seen == 3 * len(stack)
    assert rows[-1]["size_1"] + rows[-1]["size_2"] == len(stack)
    assert train(stack, TINY, 6, CPU).history.rows[-1]["loss"] != rows[-1]["loss"]


def test_learning_lowers_the_loss(simulated: tuple[Stack, Truth, float]) -> None:
    stack, _, _ = simulated
    rows: list[dict] = []
    train(stack, Settings(**{**vars(TINY), "l_schedule": (4, 4, 4, 4)}), 1, CPU, rows.append)
    assert rows[3]["loss"] < rows[0]["loss"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"classes": 0}, "classes: 0; 1 or more"),
        ({"latent_dim": -1}, "latent_dim: -1; 0 or more"),
        ({"preset": "slow"}, "preset: 'slow'; allowed are fast"),
        ({"clases": 3}, "parameters.clases: unknown"),
    ],
)
def test_bad_settings(parameters: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings.from_parameters(parameters)
