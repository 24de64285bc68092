"""Maps at low resolution by expectation maximisation, which fields start from where no single image tells its pose.

Every rotation and shift of the base grid counts by its posterior, so that an image that leaves its pose open pulls at
none; the best pose alone, taken early, freezes what is wrong. Steps are small and memory is short: maps made from a
whole pass over the stack stay round, as they all begin. Classes have equal shares at first, or the first that is no
longer round takes the images of the others; then less and less, so that rare species come to maps of their own.

Source: Scheres, J. Mol. Biol. 415, 406 (2012), for expectation maximisation over poses with a prior by shell; Punjani
et al., Nat. Methods 14, 290 (2017), for small steps from nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from hydra_bench.core.on_device import on_device
from hydra_bench.core.types import BoolArray
from hydra_bench.methods.hydra.data.images import ImageBatch
from hydra_bench.methods.hydra.fit.likelihood import balancing
from hydra_bench.methods.hydra.fit.pose_search import BaseGrid, Parts
from hydra_bench.methods.hydra.model.precision import product
from hydra_bench.methods.hydra.model.rendering import ball, slicing_grid
from hydra_bench.physics.fourier import (
    centre_crop,
    frequency_radius,
    hartley,
    hartley_moved_back,
    ifft_centred,
    real_from_hartley,
    shift_phases,
)
from hydra_bench.physics.preparation import soft_ball
from hydra_bench.physics.projection import PADDING
from hydra_bench.physics.rotations import random_rotations

if TYPE_CHECKING:
    from hydra_bench.methods.hydra.fit.run_state import Chunk, Run

_REMEMBERED = 5
"""Steps that maps are made from: sums of earlier ones fade as (1 - 1/5)^n."""
_NEGLIGIBLE = 1e-2
"""Posterior of a class below which an image adds nothing to its map."""
_MOST_EVIDENCE = 45.0
"""What an image's logarithms are softened to, in nats at its best pose, where that has more: the base grid's steps are
too wide for likelihoods so sharp, and the first poses and classes that come near would be frozen. Each image has its
own softening, since what the steps miss grows with its evidence: large species need it, small ones do not. The best of
three values that were tried (docs/explanation/benchmarks.md, many species)."""
_CENTRINGS = 3
"""Times that a map is moved by its centre of mass: what is positive changes a little with where voxels fall in it."""
_LESSONS, _POINTS_A_LESSON = 800, 1024
"""Gradient steps in which fields learn the maps, each at so many of their frequencies, drawn at random."""
_LESSON_RATE, _LAST_LESSON_RATE = 4e-3, 5e-4


@dataclass
class FirstMaps:
    """Running sums from which the maps of K classes follow, up to a resolution l_max.

    sums (K, 3, P, P, P) : even and odd parts of CTF x image, and of CTF², inserted into a transform of box
    P = PADDING (2 l_max + 2). errors (M, K) : -log of the evidence of the images of the last steps, poses summed over.
    """

    sums: torch.Tensor
    errors: torch.Tensor

    @classmethod
    def none(cls, classes: int, l_max: int, device: torch.device) -> FirstMaps:
        padded = PADDING * (2 * l_max + 2)
        sums = torch.zeros(classes, 3, padded, padded, padded, device=device)
        return cls(sums, torch.zeros(0, classes, device=device))

    def add(self, seen: torch.Tensor, errors: torch.Tensor) -> None:
        """A step's sums, and the errors of its images, if this process has any of them; those of earlier steps fade."""
        self.sums = (1 - 1 / _REMEMBERED) * self.sums + seen
        if len(errors):
            self.errors = torch.cat([self.errors, errors])[-_REMEMBERED * len(errors) :]

    def hartleys(self, l: int, signal: torch.Tensor, radius: float) -> torch.Tensor:
        """The likeliest maps as Hartley transforms (K, D, D, D), D = 2 l_max + 2, zero beyond l and `radius` boxes.

        signal (l + 1, or longer) : standard deviation of their prior on each shell.
        """
        padded = self.sums.shape[-1]
        box = padded // PADDING
        mirrored = self.sums.flip(2, 3, 4).roll((1, 1, 1), (2, 3, 4))
        even, odd, squares = (self.sums + mirrored * self.sums.new_tensor([1, -1, 1])[:, None, None, None]).unbind(1)
        shell, weight = _shape(padded, box, radius, self.sums.device)
        # An inserted coefficient is one of PADDING³ voxels for each that is independent, and stands for k and -k.
        prior = 2 / PADDING**3 / signal[shell.clamp(max=len(signal) - 1)].square()
        whole = torch.complex(even, -odd) / (2 * squares + prior) * (shell <= l)
        volumes = [centre_crop(ifft_centred(transform, 3).real, box, 3) * weight for transform in whole]
        inside = (frequency_radius(box, 3) <= l).to(weight.device)
        return torch.stack([hartley(volume, 3) * inside for volume in volumes])

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint."""
        return {"sums": self.sums, "errors": self.errors}


@lru_cache(maxsize=2)
def _shape(padded: int, box: int, radius: float, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The shell (P, P, P) of each voxel of the padded transform, and what a map (D, D, D) is multiplied by.

    That is a soft ball, over what inserting into the nearest voxel does to a map: sinc(x/P) along each axis.
    """
    shell = (frequency_radius(padded, 3) / PADDING).round().long()
    line = torch.sinc((torch.arange(box) - box // 2) / padded)
    insertion = line[:, None, None] * line[:, None] * line
    return on_device(shell, device), on_device(soft_ball(box, radius) / insertion, device)


def begin(run: Run, l: int, l_max: int, chunk: Chunk) -> FirstMaps:
    """Maps of images at random poses, each image in a class drawn at random: round, and no two alike."""
    K = run.model.tables.classes
    maps = FirstMaps.none(K, l_max, run.device)
    rotations = random_rotations(len(chunk.particles), chunk.rng)[chunk.mine]
    classes = chunk.rng.integers(K, size=len(chunk.particles))[chunk.mine]
    turned = on_device(torch.from_numpy(rotations).float(), run.device)
    seen = inserted(run, maps, l, chunk, turned, turned.new_zeros(len(turned), 2), classes[:, None] == np.arange(K))
    maps.add(seen, turned.new_zeros(0, K))
    return maps


def add_known(run: Run, maps: FirstMaps, l: int, chunk: Chunk) -> None:
    """A chunk's images added at the poses and to the classes that they begin in; what came before does not fade.

    A field that no class is given to begins from some of these images, whichever their classes, as many as the fields
    have on average. So it is a blend of all species: it explains images that no given class does better than nothing
    would, which no image would come to, and images of a given class worse than that one's own map. An image of no
    class, as of junk, goes into no map.
    """
    tables = run.model.tables
    assert run.begin_in is not None
    given, K = int(run.begin_in.max()) + 1, tables.classes
    own = run.begin_in[chunk.own]
    drawn = chunk.rng.integers(K, size=len(chunk.particles))[chunk.mine]
    also = np.where((own >= 0) & (drawn >= given), drawn, -1)
    numbers = np.arange(K)
    belongs = (own[:, None] == numbers) | (also[:, None] == numbers)
    # Poses are the same in every class.
    rotations, shifts_px = tables.rotations[chunk.members, 0], tables.shifts_px[chunk.members, 0]
    maps.sums += inserted(run, maps, l, chunk, rotations, shifts_px, belongs)


def inserted(
    run: Run,
    maps: FirstMaps,
    l: int,
    chunk: Chunk,
    rotations: torch.Tensor,
    shifts_px: torch.Tensor,
    belongs: BoolArray,
) -> torch.Tensor:
    """What a chunk's images add to the sums of the maps, those of all processes together; as `FirstMaps.sums`.

    rotations (B, 3, 3), shifts_px (B, 2) : poses of this process's images. belongs (B, K) : in which classes they are.
    """
    n = run.frequencies.count(l)
    batch = run.source.load(chunk.own, slice(None, n))
    images = Parts.of_images(batch, n).moved_back(shifts_px[:, None], batch.box_px)
    values = torch.stack([images.even[:, 0], images.odd[:, 0], batch.ctf[:, :n:2].square()])
    points = images.plane @ rotations
    seen = torch.zeros_like(maps.sums)
    for k, of_class in enumerate(belongs.T):
        rows = on_device(torch.from_numpy(np.flatnonzero(of_class)), run.device)
        insert(seen[k], points[rows], values[:, rows])
    return run.parallel.sum(seen)


@torch.no_grad()
def improve(
    run: Run, maps: FirstMaps, grids: torch.Tensor, base: BaseGrid, shifts: torch.Tensor, chunk: Chunk, pull: float
) -> torch.Tensor:
    """One step: the evidence of a chunk's images, and what they add to the maps; the summed error, on the device.

    grids : the maps, as `FirstMaps.hartleys` gives them. shifts (B, T, 2) : in px, of each of this process's images.
    pull : to equal shares, from 1, whole, to 0, none.
    """
    n, tables = base.frequencies, run.model.tables
    batch = run.source.load(chunk.own, slice(None, n))
    plane = batch.plane[:n:2]
    slices = [Parts.of_slices(slicing_grid(grid), base.rotations, plane) for grid in grids]
    found = [zeros_of_slices(part) for part in slices]
    weights = batch.hartley.new_zeros(tables.classes)
    if run.parallel.any(len(maps.errors) > 0):  # every process takes part, also one that had no image yet
        weights = pull * balancing(-maps.errors, run.parallel)
    errors = batch.hartley.new_zeros(len(batch), tables.classes)
    seen_at = batch.hartley.new_zeros(len(batch), tables.classes, 2)
    for rows in torch.arange(len(batch), device=run.device).split(run.maps_batch):
        of_part = expect(batch.take(rows), slices, base, shifts[rows], weights, found, _MOST_EVIDENCE)
        errors[rows], seen_at[rows] = of_part
    tables.errors[chunk.members], tables.shifts_px[chunk.members] = errors, seen_at
    tables.posteriors[chunk.members] = torch.softmax(weights - errors, 1)
    seen = torch.zeros_like(maps.sums)
    points = plane @ base.rotations
    for sums, values in zip(seen, found, strict=True):
        insert(sums, points, values)
    maps.add(run.parallel.sum(seen), errors)
    return errors.amin(1).sum().double()


def zeros_of_slices(slices: Parts) -> torch.Tensor:
    """(3, Q, h): of even and odd parts, and of CTF²."""
    return slices.even.new_zeros(3, *slices.even.shape)


def expect(
    batch: ImageBatch,
    slices: list[Parts],
    base: BaseGrid,
    shifts: torch.Tensor,
    weights: torch.Tensor,
    found: list[torch.Tensor],
    most: float = math.inf,
) -> tuple[torch.Tensor, torch.Tensor]:
    """-log of the evidence of B images in every class, (B, K), and where they are seen in it, (B, K, 2) in px.

    Likelihoods are averaged over the poses of the base grid, at the shifts (B, T, 2) in px of each image.

    slices : of each class, at the base rotations. weights (K,) : log of the classes' shares. found : of each class
    (3, Q, h), to which is added, by the posterior of each pose, what an image has at it: see FirstMaps.sums.
    most : what an image has at its best pose in any class; all its logarithms are divided alike where it has more.
    """
    B, T, Q, n = len(batch), shifts.shape[1], len(base.rotations), base.frequencies
    moved = Parts.of_images(batch, n).moved_back(shifts, batch.box_px)
    flat_even, flat_odd, squares = moved.even.flatten(0, 1), moved.odd.flatten(0, 1), batch.ctf[:, :n:2].square()
    likelihoods = []
    for part in slices:
        even = product(flat_even, part.even.T).view(B, T, Q)
        odd = product(flat_odd, part.odd.T).view(B, T, Q)
        even -= product(squares, part.power().T)[:, None]
        # The second half of the rotations are the first upside down.
        likelihoods.append(torch.stack([even + odd, even - odd], 2))
    largest = torch.stack([logs.amax((1, 2, 3)) for logs in likelihoods], 1)
    softening = (largest.amax(1) / most).clamp(min=1)
    evidence = largest / softening[:, None]
    seen_at = evidence.new_zeros(B, len(slices), 2)
    for k, logs in enumerate(likelihoods):
        logs.sub_(largest[:, k, None, None, None]).div_(softening[:, None, None, None]).exp_()
        at_shifts = logs.sum((2, 3))
        whole = at_shifts.sum(1)
        evidence[:, k] += (whole / (2 * T * Q)).log()
        seen_at[:, k] = (at_shifts[..., None] * shifts).sum(1) / whole[:, None]
    posteriors = torch.softmax(evidence + weights, 1)
    belongs = (posteriors > _NEGLIGIBLE).cpu()
    for k, sums in enumerate(found):
        rows = on_device(belongs[:, k].nonzero()[:, 0], evidence.device)
        here = likelihoods[k][rows]
        here *= (posteriors[rows, k] / here.sum((1, 2, 3)))[:, None, None, None]
        upright, turned = here.unbind(2)
        both = upright + turned
        sums[0] += product(both.flatten(0, 1).T, moved.even[rows].flatten(0, 1))
        sums[1] += product((upright - turned).flatten(0, 1).T, moved.odd[rows].flatten(0, 1))
        sums[2] += product(both.sum(1).T, squares[rows])
    return -evidence, seen_at


def insert(sums: torch.Tensor, points: torch.Tensor, values: torch.Tensor) -> None:
    """Add values (3, ...) at frequencies (..., 3) to the nearest voxels of sums (3, P, P, P)."""
    padded = sums.shape[-1]
    x, y, z = ((PADDING * points).round().long() + padded // 2).reshape(-1, 3).unbind(1)
    sums.flatten(1).index_add_(1, (z * padded + y) * padded + x, values.flatten(1))


def centred(grids: torch.Tensor) -> torch.Tensor:
    """Maps as Hartley transforms (K, D, D, D), zero beyond |k| = D/2 - 1, moved so that their density is in the middle.

    Nothing but the range of the shifts holds a map there, and beside it the range is lopsided. Its place is the centre
    of mass of what is positive, since images say nothing of a map's sum.
    """
    box = grids.shape[-1]
    axis = torch.arange(box, dtype=grids.dtype, device=grids.device) - box // 2
    inside = (axis > -box // 2).to(grids.dtype)  # the first voxels have no partner on the other side
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).flip(-1).reshape(-1, 3)
    for _ in range(_CENTRINGS):
        density = real_from_hartley(grids, 3).clamp(min=0) * inside[:, None, None] * inside[:, None] * inside
        mass = density.flatten(1).sum(1).clamp(min=torch.finfo(grids.dtype).tiny)
        places = density.flatten(1) @ points / mass[:, None]
        at_minus_k = grids.flip(1, 2, 3).roll((1, 1, 1), (1, 2, 3))
        phases = shift_phases(places, points, box).view_as(grids)
        grids = hartley_moved_back(grids, at_minus_k, phases)
    return grids


def teach(run: Run, l: int, grids: torch.Tensor) -> None:
    """Fields learn the maps: gradient steps on their values at frequencies up to l, at a rate that falls."""
    model = run.model
    inside, points = ball(grids.shape[-1] // 2 - 1, run.device)
    near = points.norm(dim=1) <= l
    points, targets = points[near], grids.flatten(1)[:, inside[near]]
    unit = targets.square().mean().sqrt().clamp(min=1e-9)
    everyone = torch.ones(len(targets), dtype=torch.bool, device=run.device)
    rng = np.random.default_rng([run.seed, 4])
    lessons = rng.integers(len(points), size=(_LESSONS, min(_POINTS_A_LESSON, len(points))))
    for lesson, some in enumerate(on_device(torch.from_numpy(lessons), run.device)):
        model.set_learning_rate(_LESSON_RATE * (_LAST_LESSON_RATE / _LESSON_RATE) ** (lesson / (_LESSONS - 1)))
        model.zero_gradients()
        for field, target in zip(model.fields, targets, strict=True):
            ((field(points[some][None])[0] - target[some]) / unit).square().mean().backward()
        model.field_optimiser.step(model.stack.gradients()[0], everyone)
    model.zero_gradients()
