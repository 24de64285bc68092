"""Maps by expectation maximisation: what images add to them, how likely these are, and what fields learn of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra_cases import CPU, Case, correlation, hartley_of, load_batch, run, tiny
from sklearn.metrics import adjusted_rand_score

from hydra_bench.core.types import IntArray
from hydra_bench.methods.hydra.data.images import Frequencies, ImageBatch, centred_images
from hydra_bench.methods.hydra.fit import chunks, first_maps
from hydra_bench.methods.hydra.fit import train as training
from hydra_bench.methods.hydra.fit.first_maps import FirstMaps, centred, expect, insert, teach, zeros_of_slices
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.pose_search import BaseGrid, Candidates, Parts, SearchPlan, pose_errors, shift_grid
from hydra_bench.methods.hydra.fit.run_state import Run
from hydra_bench.methods.hydra.fit.train import start
from hydra_bench.methods.hydra.fit.training_input import TrainingInput, images_of, make_schedule
from hydra_bench.methods.hydra.model.rendering import slicing_grid
from hydra_bench.physics.fourier import frequency_radius, hartley, real_from_hartley
from hydra_bench.physics.rotations import half_hopf_grid, random_rotations

L = 5
SHIFTS = shift_grid(1.0, 3, CPU)[None]
MAPS = {"map_schedule": (4, 5), "pretrain_images": 0}


def images_at(case: Case, n: int) -> ImageBatch:
    return load_batch(case.stack, Frequencies.of_box(case.stack.box_px, L), np.arange(n))


def seen_at(images: Parts, squares: torch.Tensor, rotations: torch.Tensor) -> FirstMaps:
    """Maps (K=1) from images (B, h) at rotations that are known."""
    maps = FirstMaps.none(1, L, CPU)
    seen = torch.zeros_like(maps.sums)
    insert(seen[0], images.plane @ rotations, torch.stack([images.even, images.odd, squares]))
    maps.add(seen, torch.zeros(0, 1))
    return maps


def test_slices_at_known_poses_give_the_map_and_its_scale(case: Case) -> None:
    truth = hartley_of(case, 0, L)
    plane = Frequencies.of_box(case.stack.box_px, L).plane[::2]
    rotations = torch.from_numpy(random_rotations(400, np.random.default_rng(1))).float()
    slices = Parts.of_slices(slicing_grid(truth), rotations, plane)
    transfer = 0.5 + 0.5 * torch.rand(400, 1)
    images = Parts(2 * transfer * transfer * slices.even, 2 * transfer * transfer * slices.odd, plane)
    maps = seen_at(images, transfer.square().expand(-1, len(plane)), rotations)
    found = maps.hartleys(L, torch.full((L + 1,), 1e3), 0.5)[0]
    assert correlation(found, truth) > 0.98
    assert float((found * truth).sum() / truth.square().sum()) == pytest.approx(1, abs=0.06)


def test_without_images_there_is_nothing_and_few_are_held_back_by_the_prior(case: Case) -> None:
    signal = torch.full((L + 1,), 2.0)
    assert float(FirstMaps.none(2, L, CPU).hartleys(L, signal, 0.5).abs().max()) == 0
    batch = images_at(case, 4)
    rotations = torch.from_numpy(case.truth.rotations[:4]).float()
    images = Parts.of_images(batch, len(batch.plane))
    strong, weak = (
        seen_at(images, batch.ctf[:, ::2].square(), rotations).hartleys(L, size * signal, 0.5).square().sum()
        for size in (1.0, 0.01)
    )
    assert float(weak) < 0.01 * float(strong)


def test_nothing_lies_beyond_the_resolution_or_the_radius(case: Case) -> None:
    batch = images_at(case, 30)
    images = Parts.of_images(batch, len(batch.plane))
    maps = seen_at(images, batch.ctf[:, ::2].square(), torch.from_numpy(case.truth.rotations[:30]).float())
    found = maps.hartleys(4, torch.full((L + 1,), 1.0), 0.3)[0]
    assert float(found[frequency_radius(2 * L + 2, 3) > 4].abs().max()) == 0
    assert float(found.abs().max()) > 0


def test_evidence_is_the_mean_likelihood_over_all_poses(case: Case) -> None:
    """Against every pose of the grid, one at a time; and posteriors are what images add to the maps by."""
    batch = images_at(case, 5)
    grids = [slicing_grid(hartley_of(case, k, L)) for k in range(2)]
    base = BaseGrid(torch.from_numpy(half_hopf_grid(0)).float(), len(batch.plane))
    slices = [Parts.of_slices(grid, base.rotations, batch.plane[::2]) for grid in grids]
    found = [zeros_of_slices(part) for part in slices]
    errors = expect(batch, slices, base, SHIFTS.expand(5, -1, -1), torch.zeros(2), found)[0]

    plan = SearchPlan(0.1, 1.0, (1,), (len(batch.plane),), 100)
    by_hand = []
    for grid in grids:
        at_poses = [
            pose_errors(batch, grid, Candidates.at(rotation.expand(5, 3, 3), shift.expand(5, 2)), plan).errors[:, 0]
            for rotation in base.all_rotations()
            for shift in SHIFTS[0]
        ]
        by_hand.append(-(torch.logsumexp(-torch.stack(at_poses), 0) - np.log(len(at_poses))))
    torch.testing.assert_close(errors, torch.stack(by_hand, 1), rtol=1e-4, atol=1e-3)
    # Each image adds its CTF² once in all, but for classes that are out of the question.
    added = sum(float(part[2].sum()) for part in found)
    assert added == pytest.approx(float(batch.ctf[:, ::2].square().sum()), rel=0.02)


def test_each_image_is_softened_by_its_own_evidence(case: Case) -> None:
    """All of its classes alike: who has more at the best pose than is allowed is divided by that; others are not."""
    batch = images_at(case, 5)
    grids = [slicing_grid(hartley_of(case, k, L)) for k in range(2)]
    base = BaseGrid(torch.from_numpy(half_hopf_grid(0)).float(), len(batch.plane))
    slices = [Parts.of_slices(grid, base.rotations, batch.plane[::2]) for grid in grids]

    def evidence(batch: ImageBatch, most: float) -> torch.Tensor:
        found = [zeros_of_slices(part) for part in slices]
        return -expect(batch, slices, base, SHIFTS.expand(5, -1, -1), torch.zeros(2), found, most)[0]

    whole = evidence(batch, math.inf)
    between = float(whole.amax(1).sort().values[2])
    softened = evidence(batch, between)
    few = whole.amax(1) < between - 10
    torch.testing.assert_close(softened[few], whole[few])
    assert few.any()
    # Both classes of one that has more, also that in which it has not.
    more = whole.amax(1) > between
    assert more.any()
    assert ((softened - whole)[more].abs() > 1e-3).all()
    assert float(softened.amax()) < between < float(whole.amax())
    # A constant evidence for all poses, divided, is what the mean likelihood comes to when softened without end.
    assert float(evidence(batch, 1e-3).abs().max()) < 1e-2


def test_a_step_forgets_what_came_before(case: Case) -> None:
    maps, step = FirstMaps.none(2, 4, CPU), torch.ones(2, 3, 20, 20, 20)
    for _ in range(60):
        maps.add(step, torch.zeros(7, 2))
    assert float(maps.sums.mean()) == pytest.approx(5, abs=1e-3)
    assert len(maps.errors) == 35


def started(case: Case, **changes: object) -> Run:
    return start(TrainingInput(case.stack, tiny(**{**MAPS, **changes}), 5), CPU, Parallel())


def test_fields_learn_the_maps(case: Case) -> None:
    found = started(case, spare_fields=0)
    maps = torch.stack([hartley_of(case, k, L) for k in range(2)])
    teach(found, L, maps)
    for field, target in zip(found.model.fields, maps, strict=True):
        inside, points = first_maps.ball(L, CPU)
        with torch.no_grad():
            assert correlation(field(points[None])[0], target.flatten()[inside]) > 0.9


def blob(at: tuple[float, float, float], l: int = 8) -> torch.Tensor:
    """A round particle with its centre of mass at (x, y, z) voxels from the middle, up to |k| = l, without its sum."""
    axis = torch.arange(2 * l + 2, dtype=torch.float64) - (l + 1)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    distance2 = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2
    radius = frequency_radius(2 * l + 2, 3)
    return hartley(torch.exp(-distance2 / 8), 3) * ((radius <= l) & (radius > 0))


def place_of(grid: torch.Tensor) -> torch.Tensor:
    """The centre of mass (x, y, z) of what is positive in a map, in voxels from its middle."""
    density = real_from_hartley(grid, 3).clamp(min=0)[1:, 1:, 1:]
    axis = torch.arange(1 - len(grid) // 2, len(grid) // 2, dtype=density.dtype)
    sums = [density.sum(others) @ axis for others in ((0, 1), (0, 2), (1, 2))]
    return torch.stack(sums) / density.sum()


def test_maps_are_moved_to_the_middle_each_by_its_own_way() -> None:
    places = [(1.5, -2.25, 0.75), (0.0, 3.0, -1.0)]
    moved = centred(torch.stack([blob(place) for place in places]))
    for grid in moved:
        assert float(place_of(grid).abs().max()) < 0.02
        assert correlation(grid, blob((0, 0, 0))) > 0.999
    # Before, they were beside it.
    assert float(place_of(blob(places[0])).abs().max()) > 1.5


def test_a_map_in_the_middle_stays_as_it_is() -> None:
    grids = torch.stack([blob((0, 0, 0)), 0 * blob((0, 0, 0))])
    torch.testing.assert_close(centred(grids), grids, rtol=0, atol=1e-5 * float(grids.abs().max()))


def test_fields_are_taught_maps_in_the_middle(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the first map has come to lie beside it."""
    taught: list[torch.Tensor] = []
    whole = chunks.maps_of

    def beside(found: Run, maps: FirstMaps, l: int) -> torch.Tensor:
        grids = whole(found, maps, l).clone()
        box = grids.shape[-1]
        grids[0] = blob((1.0, -1.0, 0.5), box // 2 - 1).float() * (frequency_radius(box, 3) <= l)
        return grids

    monkeypatch.setattr(training, "maps_of", beside)
    monkeypatch.setattr(training, "teach", lambda found, l, grids: taught.append(grids))
    run(case.stack, tiny(**{**MAPS, "spare_fields": 0, "decode_epochs": 0}))
    (grids,) = taught
    assert float(place_of(grids[0]).abs().max()) < 0.05


def test_the_schedule_has_maps_in_place_of_random_poses() -> None:
    settings = tiny(map_schedule=(4, 5, 5), pretrain_images=20)
    phases = [(epoch.phase, epoch.l) for epoch in make_schedule(settings, 60, 10)]
    assert phases[:4] == [("maps", 4), ("maps", 5), ("maps", 5), ("search", 4)]
    first = make_schedule(settings, 60, 10)[0]
    assert images_of(first, settings, 60) == 60
    assert images_of(first, settings, 10**6) == 10 * 25 * 3
    given = make_schedule(replace(settings, poses="fixed"), 60, 10)
    assert given[0].phase == "pretrain"


def test_a_run_goes_from_maps_to_fields(case: Case) -> None:
    found = run(case.stack, tiny(**{**MAPS, "map_schedule": (4,) * 12, "spare_fields": 0}))
    assert found.maps is None
    assert [row["phase"] for row in found.history.rows] == ["search", "search", "decode"]
    assert found.history.images_seen == 15 * 60
    assert adjusted_rand_score(case.truth.classes, found.model.tables.hard_classes()) > 0.8


def test_maps_come_to_explain_the_images(case: Case) -> None:
    """Of one species, from round maps on: better than these by far, and by a good part of what its true map gains."""
    found = started(case, classes=1, map_schedule=(L,) * 15)
    own = np.flatnonzero(case.truth.classes == 0)
    batch = found.source.load(own, slice(None, found.frequencies.count(L)))
    chunk = chunks.Chunk.of(found, own)
    base, shifts = chunks.base_grid(found, L, chunk), chunks.base_shifts(found, chunk.members)

    def evidence(grid: torch.Tensor) -> float:
        part = Parts.of_slices(slicing_grid(grid), base.rotations, batch.plane[::2])
        return -float(expect(batch, [part], base, shifts, torch.zeros(1), [zeros_of_slices(part)])[0].mean())

    steps = []
    for epoch in found.schedule[:15]:
        chunks.maps_chunk(found, epoch, chunks.Chunk.of(found, own))
        found.progress.epoch += 1
        assert found.maps is not None
        steps.append(evidence(chunks.maps_of(found, found.maps, L)[0]))
    at_truth = evidence(hartley_of(case, 0, L))
    assert steps[-1] - steps[0] > 0.5 * (at_truth - steps[0]) > 0


def test_maps_of_one_class_need_no_shares(case: Case) -> None:
    found = started(case, classes=1)
    chunk = chunks.Chunk.of(found, np.arange(60))
    for epoch in found.schedule[:2]:
        assert torch.isfinite(chunks.maps_chunk(found, epoch, chunk))
    assert found.maps is not None
    assert found.maps.state()["sums"].isfinite().all()


def test_images_are_followed_beyond_the_shifts_that_are_searched_at_once(case: Case) -> None:
    """Images seen in their true map 6 px away from the middle, though 2 px each way are searched at a time."""
    settings = {"classes": 1, "shift_extent": 8 / 32, "shift_points": 9, "shift_near": 1, "map_schedule": (L,) * 8}
    found = started(case, **settings)
    own = np.flatnonzero(case.truth.classes == 0)
    chunk = chunks.Chunk.of(found, own)
    load, there = found.source.load, torch.tensor([6.0, -6.0])

    def displaced(particles: IntArray, kept: slice) -> ImageBatch:
        batch = load(particles, kept)
        moved = centred_images(batch.hartley, -there.expand(len(batch), 2), batch.plane, batch.box_px)
        return replace(batch, hartley=moved)

    maps = hartley_of(case, 0, L)[None]
    found.maps = FirstMaps.none(1, L, CPU)
    found.source.load = displaced
    off = []
    for _ in range(4):
        base, shifts = chunks.base_grid(found, L, chunk), chunks.base_shifts(found, chunk.members)
        assert shifts.shape == (len(own), 9, 2)
        first_maps.improve(found, found.maps, maps, base, shifts, chunk, 0.0)
        seen = found.model.tables.shifts_px[chunk.members, 0]
        true = there + torch.from_numpy(case.truth.shifts_A[own] / case.stack.pixel_size_A).float()
        off.append(float((seen - true).norm(dim=1).median()))
    assert off[0] > 4
    assert off[-1] < 1.5
