"""The class bound: how well classes can be told when maps, shares and noise are known, and nothing else is.

Of each image the posterior of every class is p(k) Σ_states p(state) Σ_poses p(image | map, pose): Bayes' rule with true
shares of classes and states, uniform poses, and Gaussian noise whose power in each shell is what true projections, at
the scale that maps have in these images, leave of them. No classifier that is given the same images does better on
average.

The sum over poses is over all of them, finer where it has more weight. A grid of rotations and shifts is summed at low
resolution; the cells of greatest weight, that of the true pose always among them, are divided into smaller ones that
are compared at higher resolution, and so on, and what is not divided stays in the sum as it is. Frequencies that a cell
is not compared at count as noise would on average. At high SNR a few cells have all the weight; at low SNR, where no
pose stands out, thousands have some, and the best of them alone would be a matter of chance.

With `maps: stack` the maps are back-projected from the very stack, at true poses and classes and in masks of their own:
what the images, and not the structures, allow. Images are dealt into parts, and those of each part are judged by maps
that were made without it, so that no image helps its own map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from hydra_bench.contracts.reconstruction import (
    FRAME,
    GIVEN,
    MAPS,
    NO_MAPS,
    POSES,
    Assignments,
    write_assignments,
)
from hydra_bench.core.mrc import read_map
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.maps.masks import soft_mask
from hydra_bench.methods.bounds.backprojection import back_project
from hydra_bench.methods.bounds.task import BoundTask
from hydra_bench.methods.recording import Outcome
from hydra_bench.physics.fourier import fft_centred, fourier_crop, shift_factors
from hydra_bench.physics.projection import central_slices, slicing_transform
from hydra_bench.physics.rotations import grid_spacing_deg, hopf_grid, rotation_from_vector

_BASE_ORDER, _BASE_RADIUS, _KEEP = 2, 8, (16, 10, 6, 4)
"""Rotations 15° apart, compared up to 8 cycles per box; how many cells are divided, time after time."""
_TURN, _MOVE = np.sqrt(7 / 24), np.sqrt(1 / 8)
"""Of a cell's width: how far from its middle parts lie along each axis, 7 of rotation and 9 of shift, so that their
variance is that of the cell."""
_BATCH = 50
_NOISE_IMAGES = 500
_PARTS = 5
MOST_STATES = 8
"""Of a species that moves: states that are looked at, evenly through all."""


@dataclass(frozen=True)
class KnownMap:
    """A map (D, D, D) that an image may be of: its class, from 0, and the logarithm of its share of all particles."""

    volume: FloatArray
    class_number: int
    log_share: float


@dataclass(frozen=True)
class Images:
    """B images on n frequencies of a half plane: matched (B, n) complex, CTF·image / noise power; weight, CTF² / it.

    rotations (B, 3, 3) and shifts_px (B, 2): their true poses.
    """

    matched: torch.Tensor
    weight: torch.Tensor
    rotations: torch.Tensor
    shifts_px: torch.Tensor


@dataclass(frozen=True)
class Cells:
    """m cells of poses of each of B images: their middles, rotations (B, m, 3, 3) and shifts_px (B, m, 2)."""

    rotations: torch.Tensor
    shifts_px: torch.Tensor


@dataclass(frozen=True)
class Search:
    """What all images are searched with.

    plane (n, 3): frequencies of a half plane, rising; noise (n,): its power at each; extent_px: of shifts.
    """

    plane: torch.Tensor
    noise: torch.Tensor
    extent_px: float
    box_px: int

    @cached_property
    def base_rotations(self) -> torch.Tensor:
        return torch.from_numpy(hopf_grid(_BASE_ORDER)).float()

    @cached_property
    def base_shifts(self) -> torch.Tensor:
        """Shifts (T, 2), a quarter of a period of the coarsest comparison apart."""
        line = torch.linspace(-self.extent_px, self.extent_px, self._shift_points)
        return torch.cartesian_prod(line, line)

    @property
    def _shift_points(self) -> int:
        return max(3, 1 + 2 * int(np.ceil(4 * self.extent_px * _BASE_RADIUS / self.box_px)))

    @property
    def shift_step(self) -> float:
        return max(2 * self.extent_px / (self._shift_points - 1), 1e-3)

    def count(self, radius: float) -> int:
        """How many of the frequencies lie within a radius."""
        return int((self.plane.norm(dim=1) <= radius + 1e-3).sum())

    @property
    def counts(self) -> list[int]:
        """Frequencies of each division: from the base's to all."""
        finest, levels = float(self.plane[-1].norm()), len(_KEEP)
        return [self.count(_BASE_RADIUS + (finest - _BASE_RADIUS) * level / levels) for level in range(1, levels + 1)]


def run_class_bound(task: BoundTask, folder: Path) -> Outcome:
    """Posteriors of all particles as a reconstruction; there are no maps, which were given.

    Raises NotApplicableError where there are no true maps, or no true poses to tell the noise by.
    """
    task.check_maps()
    stack, truth = task.stack, task.truth
    rotations, shifts_A = task.poses()
    plane = half_disc(min(task.parameters["radius"], stack.box_px // 2 - 1))
    extent_px = float(np.abs(shifts_A).max() / stack.pixel_size_A)
    of_images = brightness(task, plane)
    search = Search(plane, of_images.noise, extent_px, stack.box_px)
    posteriors = np.zeros((len(stack), truth.n_classes))
    for members, known in _judged_by(task, of_images.scale):
        posteriors[members] = class_posteriors(task, members, known, search)
    classes = posteriors.argmax(1)
    none = np.zeros((len(stack), 0))
    write_assignments(folder, Assignments(classes, posteriors, rotations, shifts_A, none))
    given = [POSES, MAPS] if task.parameters["maps"] == "true" else [POSES]
    return Outcome(images_seen=len(stack), notes={FRAME: NO_MAPS, GIVEN: given})


def _judged_by(task: BoundTask, scale: float) -> Iterator[tuple[IntArray, list[KnownMap]]]:
    """Particles, and the maps that they are judged by: all by true maps, or each part by maps of all other parts.

    scale: of true maps in images; maps made of images have it.
    """
    if task.parameters["maps"] == "true":
        yield np.arange(len(task.stack)), true_maps(task, scale)
        return
    parts = np.random.default_rng(task.seed).permutation(np.arange(len(task.stack)) % _PARTS)
    for part in range(_PARTS):
        yield np.flatnonzero(parts == part), maps_of_stack(task, np.flatnonzero(parts != part))


def true_maps(task: BoundTask, scale: float) -> list[KnownMap]:
    """True maps of all classes and of up to MOST_STATES of their states, times their scale in images.

    A class without a map, as junk, is empty.
    """
    truth, known = task.truth, []
    for k, share in enumerate(np.bincount(truth.classes, minlength=truth.n_classes) / len(truth)):
        if not share:
            continue
        if truth.states is None or not truth.state_paths[k]:
            empty = np.zeros((task.stack.box_px,) * 3, dtype=np.float32)
            volume = scale * truth.class_volume(k) if truth.has_map(k) else empty
            known.append(KnownMap(volume, k, float(np.log(share))))
            continue
        count = len(truth.state_paths[k])
        chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_STATES)).round().astype(int))
        # Each particle counts for the chosen state nearest to its own.
        nearest = np.abs(truth.states[truth.classes == k][:, None] - chosen).argmin(1)
        for n, state in enumerate(chosen):
            if inside := (nearest == n).mean():
                volume = scale * read_map(truth.state_paths[k][int(state)])[0]
                known.append(KnownMap(volume, k, float(np.log(share * inside))))
    return known


def maps_of_stack(task: BoundTask, members: IntArray) -> list[KnownMap]:
    """Maps of each class back-projected from the given particles at true poses and classes, in masks of their own."""
    truth, known = task.truth, []
    rotations, shifts_A = task.poses()
    for k in range(truth.n_classes):
        own = members[truth.classes[members] == k]
        if len(own) < 2:
            continue
        volume = back_project(task.stack, own, rotations, shifts_A)
        volume *= soft_mask(volume, task.stack.pixel_size_A)
        known.append(KnownMap(volume, k, float(np.log(len(own) / len(members)))))
    return known


def half_disc(radius: int) -> torch.Tensor:
    """Frequencies (n, 3) with 0 < |k| <= radius, one of each pair k and -k, rising in |k|."""
    k = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kx, ky = (axis.flatten() for axis in torch.meshgrid(k, k, indexing="ij"))
    length = torch.hypot(kx, ky)
    chosen = torch.nonzero(((kx > 0) | ((kx == 0) & (ky > 0))) & (length <= radius))[:, 0]
    chosen = chosen[torch.argsort(length[chosen], stable=True)]
    return torch.stack([kx[chosen], ky[chosen], torch.zeros(len(chosen))], 1)


def transform_of(volume: FloatArray, plane: torch.Tensor) -> torch.Tensor:
    """The padded transform of a map (D, D, D), cropped to what slices at frequencies of `plane` need."""
    box = len(volume)
    needed = min(box, 2 * int(torch.ceil(plane[-1].norm())) + 4)
    cropped = fourier_crop(torch.from_numpy(volume).float(), needed, 3) * (box / needed) ** 3
    return slicing_transform(cropped)


@dataclass(frozen=True)
class Brightness:
    """What an image is made of beside a map's projection.

    scale: what true maps are multiplied by in images, which have units of their own; noise (n,): its power at each
    frequency, alike on a shell.
    """

    scale: float
    noise: torch.Tensor


def brightness(task: BoundTask, plane: torch.Tensor) -> Brightness:
    """By least squares from up to 500 images beside projections of their true maps at their true poses.

    With c an image's coefficients and s the projection's, the scale is Σ Re(c s*) / Σ |s|², and the noise is what is
    left of c when that much of s is taken away.
    """
    stack, truth = task.stack, task.truth
    rotations, shifts_A = task.poses()
    chosen = np.flatnonzero([truth.has_map(int(k)) for k in truth.classes])
    chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:_NOISE_IMAGES])
    shells = plane.norm(dim=1).round().long()
    sums = torch.zeros(3, int(shells.max()) + 1, dtype=torch.float64)
    paths = {int(i): truth.particle_volume_path(int(i)) for i in chosen}
    for path in sorted(set(paths.values())):
        transform = transform_of(read_map(path)[0], plane)
        members = np.array([i for i in chosen if paths[int(i)] == path])
        for part in np.array_split(members, -(-len(members) // _BATCH)):
            coefficients, ctf = read(task, part, plane)
            slices = central_slices(transform, torch.from_numpy(rotations[part]), plane)
            moved = shift_factors(torch.from_numpy(shifts_A[part] / stack.pixel_size_A), plane, stack.box_px)
            predicted = ctf * slices * moved
            products = coefficients.abs().square(), (coefficients * predicted.conj()).real, predicted.abs().square()
            for total, product in zip(sums, products, strict=True):
                total += torch.bincount(shells, product.double().sum(0), minlength=len(total))
    scale = float(sums[1].sum() / sums[2].sum().clamp(min=1e-30))
    counts = torch.bincount(shells, minlength=sums.shape[1]).clamp(min=1)
    power = (sums[0] - 2 * scale * sums[1] + scale**2 * sums[2]) / (counts * len(chosen))
    return Brightness(scale, power.clamp(min=1e-20).float()[shells])


def read(task: BoundTask, members: IntArray, plane: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Transforms (B, n), complex, of the given particles at frequencies (n, 3), and their CTF (B, n)."""
    stack, box = task.stack, task.stack.box_px
    transforms = fft_centred(torch.from_numpy(stack.read_images(members)), 2).flatten(1)
    pixels = (plane[:, 1].long() + box // 2) * box + plane[:, 0].long() + box // 2
    return transforms[:, pixels], stack.transfer(members, plane / (box * stack.pixel_size_A))


@torch.no_grad()
def class_posteriors(task: BoundTask, members: IntArray, known: list[KnownMap], search: Search) -> FloatArray:
    """Posteriors (M, K) of the given particles."""
    rotations, shifts_A = task.poses()
    plane, coarse = search.plane, search.plane[: search.count(_BASE_RADIUS)]
    transforms = [transform_of(entry.volume, plane) for entry in known]
    references = [central_slices(transform, search.base_rotations, coarse) for transform in transforms]
    result: FloatArray = np.zeros((len(members), task.truth.n_classes))
    for rows in np.array_split(np.arange(len(members)), -(-len(members) // _BATCH)):
        coefficients, ctf = read(task, members[rows], plane)
        here = members[rows]
        images = Images(
            matched=coefficients * ctf / search.noise,
            weight=ctf.square() / search.noise,
            rotations=torch.from_numpy(rotations[here]).float(),
            shifts_px=torch.from_numpy(shifts_A[here] / task.stack.pixel_size_A).float(),
        )
        evidence = torch.full((len(rows), task.truth.n_classes), -torch.inf, dtype=torch.float64)
        for entry, transform, reference in zip(known, transforms, references, strict=True):
            added = log_evidence(images, transform, reference, search) + entry.log_share
            evidence[:, entry.class_number] = torch.logaddexp(evidence[:, entry.class_number], added)
        result[rows] = torch.softmax(evidence, 1).numpy()
    return result


def log_evidence(images: Images, transform: torch.Tensor, references: torch.Tensor, search: Search) -> torch.Tensor:
    """The logarithm of Σ over poses of the likelihood of each image (B,), up to what is the same for every map.

    The likelihood of a pose is exp(-Σ |image - CTF·slice|² / noise power), of which |image|² is left out.
    """
    cells, undivided = _base_cells(images, references, search)
    sums, share = [undivided], 0.0
    width, length = np.radians(grid_spacing_deg(_BASE_ORDER)), search.shift_step
    for kept, n in zip((*_KEEP[1:], 0), search.counts, strict=True):
        parts, errors = _divided(images, transform, cells, (n, _TURN * width, _MOVE * length), search)
        share -= float(np.log(errors.shape[2] * errors.shape[3]))
        cells, undivided = _heaviest(parts, errors.flatten(1), kept)
        sums.append(undivided + share)
        width, length = width / 2, length / 2
    return torch.logsumexp(torch.stack(sums), 0)


def _base_cells(images: Images, references: torch.Tensor, search: Search) -> tuple[Cells, torch.Tensor]:
    """The cells of the base grid that are divided, and the logarithm of the sum (B,) over the others.

    references (Q, n): the slices at the base rotations.
    """
    n, shifts, rotations = references.shape[1], search.base_shifts, search.base_rotations
    back = shift_factors(-shifts, search.plane[:n], search.box_px)
    moved = images.matched[:, None, :n] * back
    sides = torch.cat([moved.real, moved.imag], -1).flatten(0, 1), torch.cat([references.real, references.imag], -1)
    overlap = (sides[0] @ sides[1].T).reshape(len(moved), len(shifts), -1)
    errors = ((images.weight[:, :n] @ references.abs().square().T)[:, None] - 2 * overlap).flatten(1)
    turn = torch.einsum("bij,qij->bq", images.rotations, rotations).argmax(1)
    true_cell = torch.cdist(images.shifts_px, shifts).argmin(1) * len(rotations) + turn
    order = errors.scatter(1, true_cell[:, None], -torch.inf).topk(_KEEP[0], 1, largest=False).indices
    cells = Cells(rotations[order % len(rotations)], shifts[order // len(rotations)])
    return cells, _sum_without(errors, order)


def _heaviest(parts: Cells, errors: torch.Tensor, kept: int) -> tuple[Cells, torch.Tensor]:
    """Of all parts (B, p) of cells the so many of least error, and the logarithm of the sum (B,) over the others."""
    order = errors.topk(kept, 1, largest=False).indices
    rows = torch.arange(len(order))[:, None]
    return Cells(parts.rotations[rows, order], parts.shifts_px[rows, order]), _sum_without(errors, order)


def _sum_without(errors: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
    """log Σ exp(-errors) of all (B, p) but those taken (B, m): (B,)."""
    return torch.logsumexp(-errors.scatter(1, taken, torch.inf), 1).double()


def _divided(
    images: Images, transform: torch.Tensor, cells: Cells, steps: tuple[int, float, float], search: Search
) -> tuple[Cells, torch.Tensor]:
    """The parts (B, m · 7 · 9) of m cells, each of 7 rotations with each of 9 shifts, and their errors (B, m, 7, 9).

    steps: the number of frequencies, the angle in radians and the shift in px between parts.
    """
    n, angle, shift_step = steps
    plane = search.plane[:n]
    axes = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)])
    rotations = rotation_from_vector(axes * angle) @ cells.rotations[:, :, None]
    nearby = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0]) * shift_step] * 2)
    slices = central_slices(transform, rotations.flatten(0, 2), plane).reshape(*rotations.shape[:3], n)
    back = shift_factors(-cells.shifts_px.flatten(0, 1), plane, search.box_px).reshape(*cells.shifts_px.shape[:2], n)
    product = (images.matched[:, None, :n] * back)[:, :, None] * slices.conj()
    further = shift_factors(-nearby, plane, search.box_px).T
    power = (images.weight[:, None, None, :n] * slices.abs().square()).sum(-1)
    errors = power[..., None] - 2 * (product.real @ further.real - product.imag @ further.imag)
    shape = errors.shape
    shifts_px = (cells.shifts_px[:, :, None] + nearby)[:, :, None].expand(*shape, 2)
    parts = Cells(rotations[:, :, :, None].expand(*shape, 3, 3).flatten(1, 3), shifts_px.flatten(1, 3))
    return parts, errors
