"""The class bound: how well classes can be told when maps, shares and noise are known, and nothing else is.

Of each image the posterior of every class is p(k) Σ_states p(state) Σ_poses p(image | map, pose): Bayes' rule with true
shares of classes and states, uniform poses, and Gaussian noise whose power in each shell is what true projections leave
of the images. No classifier that is given the same images does better on average.

The sum over poses is taken where it has weight: a search over all rotations and shifts finds the best poses, in steps
that halve while resolution rises, and the last grids around the best of them are summed. The true pose is among those
that the search goes on from, for every map, so that no image is misjudged for want of a search: what the search misses
makes the bound too high, never too low.

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

_BASE_ORDER, _BASE_RADIUS, _KEEP = 2, 6, (16, 10, 6, 4)
"""Rotations 15° apart, compared up to 6 cycles per box; how many are kept before each halving of the steps."""
_BATCH = 100
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
class Poses:
    """m poses of each of B images: rotations (B, m, 3, 3), shifts_px (B, m, 2), errors (B, m), -log likelihood."""

    rotations: torch.Tensor
    shifts_px: torch.Tensor
    errors: torch.Tensor

    def best(self, m: int) -> Poses:
        errors, order = self.errors.topk(min(m, self.errors.shape[1]), dim=1, largest=False)
        return Poses(
            self.rotations.gather(1, order[..., None, None].expand(-1, -1, 3, 3)),
            self.shifts_px.gather(1, order[..., None].expand(-1, -1, 2)),
            errors,
        )


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
        """Frequencies of each refinement: from the base's to all."""
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
    search = Search(plane, noise_power(task, plane), extent_px, stack.box_px)
    posteriors = np.zeros((len(stack), truth.n_classes))
    for members, known in _judged_by(task):
        posteriors[members] = class_posteriors(task, members, known, search)
    classes = posteriors.argmax(1)
    none = np.zeros((len(stack), 0))
    write_assignments(folder, Assignments(classes, posteriors, rotations, shifts_A, none))
    given = [POSES, MAPS] if task.parameters["maps"] == "true" else [POSES]
    return Outcome(images_seen=len(stack), notes={FRAME: NO_MAPS, GIVEN: given})


def _judged_by(task: BoundTask) -> Iterator[tuple[IntArray, list[KnownMap]]]:
    """Particles, and the maps that they are judged by: all by true maps, or each part by maps of all other parts."""
    if task.parameters["maps"] == "true":
        yield np.arange(len(task.stack)), true_maps(task)
        return
    parts = np.random.default_rng(task.seed).permutation(np.arange(len(task.stack)) % _PARTS)
    for part in range(_PARTS):
        yield np.flatnonzero(parts == part), maps_of_stack(task, np.flatnonzero(parts != part))


def true_maps(task: BoundTask) -> list[KnownMap]:
    """True maps of all classes and of up to MOST_STATES of their states; a class without a map, as junk, is empty."""
    truth, known = task.truth, []
    for k, share in enumerate(np.bincount(truth.classes, minlength=truth.n_classes) / len(truth)):
        if not share:
            continue
        if truth.states is None or not truth.state_paths[k]:
            empty = np.zeros((task.stack.box_px,) * 3, dtype=np.float32)
            known.append(KnownMap(truth.class_volume(k) if truth.has_map(k) else empty, k, float(np.log(share))))
            continue
        count = len(truth.state_paths[k])
        chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_STATES)).round().astype(int))
        # Each particle counts for the chosen state nearest to its own.
        nearest = np.abs(truth.states[truth.classes == k][:, None] - chosen).argmin(1)
        for n, state in enumerate(chosen):
            if inside := (nearest == n).mean():
                volume = read_map(truth.state_paths[k][int(state)])[0]
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


def noise_power(task: BoundTask, plane: torch.Tensor) -> torch.Tensor:
    """The noise's power at each frequency (n,), by shells: what true projections leave of up to 500 images."""
    stack, truth = task.stack, task.truth
    rotations, shifts_A = task.poses()
    chosen = np.flatnonzero([truth.has_map(int(k)) for k in truth.classes])
    chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:_NOISE_IMAGES])
    shells = plane.norm(dim=1).round().long()
    power = torch.zeros(int(shells.max()) + 1, dtype=torch.float64)
    paths = {int(i): truth.particle_volume_path(int(i)) for i in chosen}
    for path in sorted(set(paths.values())):
        transform = transform_of(read_map(path)[0], plane)
        members = np.array([i for i in chosen if paths[int(i)] == path])
        for part in np.array_split(members, -(-len(members) // _BATCH)):
            coefficients, ctf = read(task, part, plane)
            slices = central_slices(transform, torch.from_numpy(rotations[part]), plane)
            moved = shift_factors(torch.from_numpy(shifts_A[part] / stack.pixel_size_A), plane, stack.box_px)
            left = coefficients - ctf * slices * moved
            power += torch.bincount(shells, left.abs().double().square().sum(0), minlength=len(power))
    counts = torch.bincount(shells, minlength=len(power)).clamp(min=1)
    return (power / (counts * len(chosen))).clamp(min=1e-20).float()[shells]


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
    found = _coarse(images, references, search)
    angle, step = np.radians(grid_spacing_deg(_BASE_ORDER)) / 2, search.shift_step / 2
    for kept, n in zip(_KEEP, search.counts, strict=True):
        start = found.best(kept)
        rotations, shifts_px, errors = _around(images, transform, start, (n, angle, step), search)
        lowest, place = errors.flatten(2).min(2)
        turn, moved = place // errors.shape[3], place % errors.shape[3]
        found = Poses(
            rotations.gather(2, turn[..., None, None, None].expand(-1, -1, 1, 3, 3))[:, :, 0],
            shifts_px.gather(2, moved[..., None, None].expand(-1, -1, 1, 2))[:, :, 0],
            lowest,
        )
        angle, step = angle / 2, step / 2
    _, _, errors = _around(images, transform, found, (len(search.plane), angle, step), search)
    return torch.logsumexp(-errors.double().flatten(1), 1)


def _coarse(images: Images, references: torch.Tensor, search: Search) -> Poses:
    """The best base rotations of each image, each at its best base shift; references (Q, n) are the slices."""
    n, shifts = references.shape[1], search.base_shifts
    back = shift_factors(-shifts, search.plane[:n], search.box_px)
    moved = images.matched[:, None, :n] * back
    sides = torch.cat([moved.real, moved.imag], -1).flatten(0, 1), torch.cat([references.real, references.imag], -1)
    overlap, shift = (sides[0] @ sides[1].T).reshape(len(moved), len(shifts), -1).max(1)
    errors = images.weight[:, :n] @ references.abs().square().T - 2 * overlap
    errors, rotation = errors.topk(_KEEP[0], 1, largest=False)
    # The true pose goes first, whatever its error on so few frequencies is.
    return Poses(
        torch.cat([images.rotations[:, None], search.base_rotations[rotation]], 1),
        torch.cat([images.shifts_px[:, None], shifts[shift.gather(1, rotation)]], 1),
        torch.cat([errors[:, :1] - 1, errors], 1),
    )


def _around(
    images: Images, transform: torch.Tensor, start: Poses, steps: tuple[int, float, float], search: Search
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rotations (B, m, 7, 3, 3) and shifts (B, m, 9, 2) around each of the poses, and errors (B, m, 7, 9) of all pairs.

    steps: the number of frequencies, the angle in radians and the shift in px.
    """
    n, angle, shift_step = steps
    plane = search.plane[:n]
    axes = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)])
    rotations = rotation_from_vector(axes * angle) @ start.rotations[:, :, None]
    nearby = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0]) * shift_step] * 2)
    slices = central_slices(transform, rotations.flatten(0, 2), plane).reshape(*rotations.shape[:3], n)
    back = shift_factors(-start.shifts_px.flatten(0, 1), plane, search.box_px).reshape(*start.errors.shape, n)
    product = (images.matched[:, None, :n] * back)[:, :, None] * slices.conj()
    further = shift_factors(-nearby, plane, search.box_px).T
    power = (images.weight[:, None, None, :n] * slices.abs().square()).sum(-1)
    errors = power[..., None] - 2 * (product.real @ further.real - product.imag @ further.imag)
    return rotations, start.shifts_px[:, :, None] + nearby, errors
