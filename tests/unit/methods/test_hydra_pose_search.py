"""The pose search against every candidate written out: one particle, one rotation and one shift at a time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra_cases import CPU, Case, grid_of, load_batch, odd_case, source_of, whole_slices

from hydra_bench.contracts.stack import Stack
from hydra_bench.methods.hydra.data.images import Frequencies, ImageBatch, centred_images
from hydra_bench.methods.hydra.fit.likelihood import EVEN, Contrast
from hydra_bench.methods.hydra.fit.pose_search import (
    BaseGrid,
    Candidates,
    Parts,
    SearchPlan,
    axis_steps,
    coarse_search,
    pose_errors,
    refine_candidates,
    search,
    search_locally,
    shift_grid,
    shifts_near,
)
from hydra_bench.methods.hydra.model import rendering
from hydra_bench.methods.hydra.model.rendering import slices, slicing_grid
from hydra_bench.physics.fourier import frequency_radius, hartley, slice_volume
from hydra_bench.physics.projection import PADDING
from hydra_bench.physics.rotations import angular_distance_deg, half_hopf_grid, rotation_from_vector

KEEP = (4, 3, 2)
SHIFTS = shift_grid(1.0, 3, CPU)[None]


def plan(frequencies: Frequencies, rising: tuple[int, ...], order: int = 0, batch: int = 100) -> SearchPlan:
    """A base grid of 72·8^order rotations and 3 x 3 shifts, then one subdivision for each further resolution."""
    first, *counts = (frequencies.count(l) for l in rising)
    base = BaseGrid(torch.from_numpy(half_hopf_grid(order)).float(), first)
    return SearchPlan(np.radians(60 / 2**order), 1.0, KEEP[: len(counts)], tuple(counts), batch, 3, base)


def one_error(batch: ImageBatch, grid: torch.Tensor, rotation: torch.Tensor, shift: torch.Tensor, n: int) -> float:
    """½‖C s - Y(t)‖² - ½‖Y‖² of one particle, one rotation (3, 3), one shift (2,), on the first n frequencies."""
    part = batch.at(slice(None, n))
    predicted = part.ctf[0] * whole_slices(grid, rotation[None], part.plane)[0]
    moved = centred_images(part.hartley, shift[None], part.plane, part.box_px)[0]
    return float(0.5 * (predicted - moved).double().square().sum() - 0.5 * moved.double().square().sum())


def search_by_hand(batch: ImageBatch, grid: torch.Tensor, p: SearchPlan) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The whole hierarchy for one particle, in plain loops."""
    assert p.base is not None
    found = []
    for rotation in p.base.all_rotations():
        at_shifts = [(one_error(batch, grid, rotation, shift, p.base.frequencies), shift) for shift in SHIFTS[0]]
        found.append((rotation, *min(at_shifts, key=lambda pair: pair[0])))
    angle, step = p.angle / 2, p.shift_step / 2
    for kept, n in zip(p.keep, p.frequencies, strict=True):
        refined = []
        for rotation, _, shift in sorted(found, key=lambda one: one[1])[:kept]:
            around = []
            for turn in rotation_from_vector(axis_steps(CPU) * angle):
                for dx in (-step, 0.0, step):
                    for dy in (-step, 0.0, step):
                        pose = (turn @ rotation, shift + torch.tensor([dx, dy]))
                        around.append((pose[0], one_error(batch, grid, *pose, n), pose[1]))
            refined.append(min(around, key=lambda one: one[1]))
        found, angle, step = refined, angle / 2, step / 2
    rotation, error, shift = min(found, key=lambda one: one[1])
    return rotation, shift, error


def assert_by_hand(stack: Stack, grid: torch.Tensor, frequencies: Frequencies, rising: tuple[int, ...]) -> None:
    p, particles = plan(frequencies, rising), np.arange(2)
    batch = load_batch(stack, frequencies, particles)
    found = search(batch, grid, SHIFTS, p)
    for i in particles:
        rotation, shift, error = search_by_hand(batch.take(torch.tensor([i])), grid, p)
        assert float(found.errors[i, 0]) == pytest.approx(error, rel=1e-4, abs=1e-2)
        torch.testing.assert_close(found.rotations[i, 0], rotation, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.shifts[i, 0], shift)


@pytest.mark.parametrize("rising", [(4, 7), (3, 5, 7), (4, 4, 4, 4)], ids=["one", "marched", "fixed"])
def test_search_is_the_hierarchy_by_hand(case: Case, rising: tuple[int, ...]) -> None:
    assert_by_hand(case.stack, grid_of(case.volume(0), 7), Frequencies.of_box(32, 7), rising)


def test_search_by_hand_in_a_smaller_odd_box(case: Case) -> None:
    """Images cut to 27 px in Fourier space; shifts are in its pixels."""
    assert_by_hand(case.stack, grid_of(case.volume(0), 7), Frequencies.of_box(27, 7), (4, 7))


def test_coarse_errors_with_images_moved_in_real_space(case: Case) -> None:
    """Against ½‖C s - Y(t)‖² for every rotation and shift."""
    frequencies = Frequencies.of_box(32, 5)
    grid, particles = grid_of(case.volume(0), 5), np.arange(3)
    batch, base = load_batch(case.stack, frequencies, particles), plan(frequencies, (5,)).base
    assert base is not None
    references = whole_slices(grid, base.all_rotations(), frequencies.plane)
    found = coarse_search(batch, Parts.of_slices(grid, base.rotations, frequencies.plane[::2]), base, SHIFTS, keep=1)
    images, best = torch.from_numpy(case.stack.read_images(particles)), torch.full((3,), torch.inf)
    for tx, ty in SHIFTS[0].int().tolist():
        y = hartley(torch.roll(images, (-ty, -tx), (1, 2)), 2).flatten(1)[:, frequencies.pixels(32)] / 32
        difference = batch.ctf[:, None] * references - y[:, None]
        best = torch.minimum(best, 0.5 * difference.square().sum(-1).min(1).values)
    constant = 0.5 * batch.hartley.square().sum(1)
    torch.testing.assert_close(found.errors[:, 0] + constant, best, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("l", [1, 6, 15])
def test_slices_are_values_between_voxels(l: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of interpolating against the general one, in blocks, at the edge of the sphere and on voxels, too."""
    generator = torch.Generator().manual_seed(l)
    ball = frequency_radius(2 * l + 2, 3) <= l
    grid = slicing_grid(torch.randn(2 * l + 2, 2 * l + 2, 2 * l + 2, generator=generator) * ball)
    plane = Frequencies.of_box(2 * l + 1, l).plane[::2]
    assert plane.norm(dim=1).max() == l
    axes = torch.stack([torch.eye(3).roll(by, 0) for by in range(3)])  # on which every k is a voxel, the outermost too
    turned = rotation_from_vector(3 * torch.randn(21, 3, generator=generator))
    rotations = torch.cat([axes, -axes, turned]).view(3, 9, 3, 3)
    expected = slice_volume(grid.double(), PADDING * plane.double() @ rotations.double())
    monkeypatch.setattr(rendering, "_POINTS", 4 * len(plane) + 1)
    sampled = rendering._grid_sampled(grid, rotations.view(-1, 3, 3)[:, :2].mT, plane[:, :2].T)
    close = {"rtol": 0, "atol": 1e-5 * float(grid.abs().max())}
    for parts in (slices(grid, rotations, plane), sampled.view(2, 3, 9, -1)):
        torch.testing.assert_close(torch.stack(tuple(parts)).double(), expected, **close)


def test_a_pose_that_is_no_number_has_a_slice_that_is_none() -> None:
    """Fields that diverged are told of when their loss is no number: until then nothing may break."""
    plane = Frequencies.of_box(9, 4).plane[::2]
    rotations = torch.eye(3).repeat(3, 1, 1)
    rotations[1] = torch.nan
    found = torch.stack(slices(slicing_grid(torch.ones(10, 10, 10)), rotations, plane))
    assert found[:, 1].isnan().all()
    assert found[:, [0, 2]].isfinite().all()


def test_refinement_never_leaves_for_the_worse(case: Case) -> None:
    frequencies = Frequencies.of_box(32, 6)
    n, grid = len(frequencies), grid_of(case.volume(1), 6)
    batch = load_batch(case.stack, frequencies, np.arange(8))
    start = search(batch, grid, SHIFTS, plan(frequencies, (4, 6)))
    found = refine_candidates(batch, grid, start, n, 0.1, 0.5)
    assert (found.errors <= start.errors + 1e-3).all()
    assert (found.errors < start.errors - 1e-3).any()


@pytest.mark.parametrize("box", ["even", "odd"])
def test_search_finds_true_poses_in_the_true_map(case: Case, box: str, tmp_path: Path) -> None:
    stack, volume = case.stack, case.volume(0)
    if box == "odd":
        stack, (volume, _) = odd_case(tmp_path, case)
    frequencies = Frequencies.of_box(stack.box_px, 10)
    members = np.flatnonzero(case.truth.classes == 0)[:20]
    batch = load_batch(stack, frequencies, members)
    base = BaseGrid(torch.from_numpy(half_hopf_grid(2)).float(), frequencies.count(6))
    p = SearchPlan(np.radians(15), 1.0, (4, 2, 2), (frequencies.count(10),) * 3, 100, 100, base)
    found = search(batch, grid_of(volume, 10), shift_grid(2.0, 5, CPU)[None], p)
    errors = angular_distance_deg(found.rotations[:, 0].numpy(), case.truth.rotations[members])
    shifts = found.shifts[:, 0].numpy() - case.truth.shifts_A[members] / stack.pixel_size_A
    assert np.median(errors) < 5
    assert np.median(np.linalg.norm(shifts, axis=1)) < 0.3


def test_shifts_near_are_those_of_the_grid_around_where_an_image_was_seen() -> None:
    """By hand: of -12 to 12 px in steps of 4, those at most so many steps away, and at the edge as many."""
    seen = torch.tensor([[0.0, 0.0], [5.0, -9.5], [40.0, 3.0]])
    near = shifts_near(seen, 12.0, 7, 1, CPU)
    assert near.shape == (3, 9, 2)
    assert sorted(map(tuple, near[0].tolist())) == [(x, y) for x in (-4, 0, 4) for y in (-4, 0, 4)]
    assert sorted(map(tuple, near[1].tolist())) == [(x, y) for x in (0, 4, 8) for y in (-12, -8, -4)]
    assert sorted(map(tuple, near[2].tolist())) == [(x, y) for x in (4, 8, 12) for y in (0, 4, 8)]
    grid = set(map(tuple, shift_grid(9.0, 4, CPU).tolist()))
    for some in shifts_near(torch.randn(20, 2) * 9, 9.0, 4, 1, CPU):  # no point of an even grid is in the middle
        assert len(set(map(tuple, some.tolist())) & grid) == 9


def test_shifts_near_a_middle_that_is_all_there_is() -> None:
    assert shifts_near(torch.zeros(2, 2), 0.0, 7, 1, CPU).abs().max() == 0
    assert shifts_near(torch.zeros(2, 2), 3.0, 1, 1, CPU).shape == (1, 1, 2)


@pytest.mark.parametrize("steps", [None, 3, 4])
def test_shifts_near_are_all_where_nothing_is_left_out(steps: int | None) -> None:
    near = shifts_near(torch.full((2, 2), 5.0), 12.0, 7, steps, CPU)
    torch.testing.assert_close(near, shift_grid(12.0, 7, CPU)[None])


def test_each_image_is_searched_at_its_own_shifts(case: Case) -> None:
    """In parts, too: as if each had been searched alone."""
    frequencies = Frequencies.of_box(32, 7)
    grid, batch = grid_of(case.volume(0), 7), load_batch(case.stack, frequencies, np.arange(7))
    own = SHIFTS + 2 * torch.arange(7.0)[:, None, None]
    for size in (1, 3, 7):
        p = plan(frequencies, (4, 7), batch=size)
        found = search(batch, grid, own, p)
        for i in range(7):
            alone = search(batch.take(torch.tensor([i])), grid, own[i : i + 1], p)
            torch.testing.assert_close(found.shifts[i], alone.shifts[0])
            torch.testing.assert_close(found.errors[i], alone.errors[0], rtol=1e-5, atol=1e-3)
    assert (found.shifts[6] > 10).all()


def test_parts_that_memory_allows_find_the_same(case: Case) -> None:
    frequencies = Frequencies.of_box(32, 7)
    grid, batch = grid_of(case.volume(0), 7), load_batch(case.stack, frequencies, np.arange(7))
    whole = search(batch, grid, SHIFTS, plan(frequencies, (4, 7), batch=7))
    for size in (1, 3):
        p = plan(frequencies, (4, 7), batch=size)
        parts = search(batch, grid, SHIFTS, p)
        torch.testing.assert_close(parts.rotations, whole.rotations)
        torch.testing.assert_close(parts.shifts, whole.shifts)
        torch.testing.assert_close(parts.errors, whole.errors, rtol=1e-5, atol=1e-3)
        local = search_locally(batch, grid, whole, p)
        torch.testing.assert_close(
            local.errors, search_locally(batch, grid, whole, plan(frequencies, (4, 7))).errors, rtol=1e-5, atol=1e-3
        )


def test_errors_of_fixed_poses_are_brute_force(case: Case) -> None:
    frequencies, particles = Frequencies.of_box(32, 6), np.arange(5)
    grid, batch = grid_of(case.volume(0), 6), load_batch(case.stack, frequencies, particles)
    rotations = torch.from_numpy(case.truth.rotations[particles]).float()
    shifts = torch.from_numpy(case.truth.shifts_A[particles] / case.stack.pixel_size_A).float()
    given = Candidates.at(rotations, shifts)
    for size in (2, 100):
        found = pose_errors(batch, grid, given, plan(frequencies, (4, 6), batch=size))
        assert torch.equal(found.rotations, given.rotations)
        assert torch.equal(found.shifts, given.shifts)
        for i in particles:
            one = batch.take(torch.tensor([i]))
            expected = one_error(one, grid, rotations[i], shifts[i], len(frequencies))
            assert float(found.errors[i, 0]) == pytest.approx(expected, rel=1e-4, abs=1e-2)


def test_local_search_brings_disturbed_poses_back(case: Case) -> None:
    frequencies, members = Frequencies.of_box(32, 10), np.flatnonzero(case.truth.classes == 0)[:20]
    grid, batch = grid_of(case.volume(0), 10), load_batch(case.stack, frequencies, members)
    true = torch.from_numpy(case.truth.rotations[members]).float()
    true_shifts = torch.from_numpy(case.truth.shifts_A[members] / case.stack.pixel_size_A).float()
    generator = torch.Generator().manual_seed(1)
    axes = torch.nn.functional.normalize(torch.randn(20, 3, generator=generator), dim=1)
    disturbed = rotation_from_vector(axes * np.radians(8.0)) @ true
    moved = true_shifts + 0.7 * torch.nn.functional.normalize(torch.randn(20, 2, generator=generator), dim=1)
    start = Candidates.at(disturbed, moved)
    p = plan(frequencies, (10, 10, 10, 10), order=2)
    found = search_locally(batch, grid, start, p)
    errors = angular_distance_deg(found.rotations[:, 0].numpy(), true.numpy())
    assert np.median(errors) < 4
    assert (found.shifts[:, 0] - true_shifts).norm(dim=1).median() < 0.35
    assert (found.errors < pose_errors(batch, grid, start, p).errors).all()


def test_frequencies_of_odd_and_even_boxes_have_partners() -> None:
    for box in (8, 9, 31, 32):
        frequencies = Frequencies.of_box(box)
        plane = frequencies.plane
        torch.testing.assert_close(plane[torch.arange(len(plane)) ^ 1], -plane)
        assert (plane.norm(dim=1).diff() > -1e-5).all()
        indices = frequencies.pixels(box)
        assert len(indices.unique()) == len(indices)
        image = torch.randn(1, box, box, generator=torch.Generator().manual_seed(box))
        y = hartley(image, 2).flatten(1)[:, indices]
        # Moving an image in real space by a whole pixel, and its coefficients back.
        there = hartley(torch.roll(image, (1, -2), (1, 2)), 2).flatten(1)[:, indices]
        torch.testing.assert_close(centred_images(there, torch.tensor([[-2.0, 1.0]]), plane, box), y, rtol=0, atol=1e-3)


def test_a_source_reads_what_the_transform_says(case: Case) -> None:
    frequencies, particles = Frequencies.of_box(32, 9), np.array([7, 3, 3])
    y = hartley(torch.from_numpy(case.stack.read_images(particles)), 2).flatten(1) / 32
    loaded = source_of(case.stack, frequencies).load(particles, torch.tensor([4, 5, 20, 21]))
    torch.testing.assert_close(loaded.hartley, y[:, frequencies.pixels(32)[[4, 5, 20, 21]]])


def test_a_contrast_that_varies_is_marginalised(case: Case) -> None:
    """Against a sum over contrasts, for every particle at its true pose; what is found is the most likely one."""
    frequencies, particles = Frequencies.of_box(32, 6), np.arange(5)
    grid, batch = grid_of(case.volume(0), 6), load_batch(case.stack, frequencies, particles)
    rotations = torch.from_numpy(case.truth.rotations[particles]).float()
    shifts = torch.from_numpy(case.truth.shifts_A[particles] / case.stack.pixel_size_A).float()
    p = replace(plan(frequencies, (4, 6)), contrast=Contrast.of_deviation(0.3))
    found = pose_errors(batch, grid, Candidates.at(rotations, shifts), p)
    contrasts = torch.linspace(-2, 4, 6001)
    prior = torch.distributions.Normal(1.0, 0.3).log_prob(contrasts)
    for i in particles:
        alone = batch.take(torch.tensor([i]))
        errors = [
            one_error(alone.scaled(torch.tensor([a])), grid, rotations[i], shifts[i], len(frequencies)) for a in (0, 1)
        ]
        half_power = float(found.powers[i, 0]) / 2
        overlap = errors[0] + half_power - errors[1]
        log_joint = prior - (errors[0] - contrasts * overlap + contrasts**2 * half_power)
        expected = -torch.logsumexp(log_joint, 0) - np.log(6 / 6000)
        assert float(found.errors[i, 0]) == pytest.approx(float(expected), rel=1e-3, abs=2e-2)
        assert float(found.contrasts[i, 0]) == pytest.approx(float(contrasts[log_joint.argmax()]), abs=2e-3)


def test_the_prior_of_contrasts_is_learned() -> None:
    """From images of perfectly known maps, by steps of expectation maximisation."""
    generator = torch.Generator().manual_seed(0)
    true, power = 1 + 0.25 * torch.randn(4000, generator=generator), torch.full((4000,), 60.0)
    overlap = true * power + power.sqrt() * torch.randn(4000, generator=generator)
    prior = Contrast.of_deviation(0.1)
    for _ in range(30):
        prior = prior.learned(prior.most_likely(overlap, power / 2), power)
    assert prior.deviation == pytest.approx(0.25, rel=0.05)
    assert EVEN.learned(true, power) is EVEN
