"""The class bound: how well classes can be told when maps, shares and noise are known, and nothing else is.

Of each image the posterior of every class is p(k) Σ_states p(state) Σ_poses p(image | map, pose): Bayes' rule with true
shares of classes and states, uniform poses, and Gaussian noise whose power in each shell is what true projections leave
of the images. No classifier that is given the same images does better on average.

The sum over poses is taken where it has weight: a search over all rotations and shifts finds the best poses, in steps
that halve while resolution rises, and the last grids around the best of them are summed.

With `maps: stack` the maps are back-projected from the very stack, at true poses and classes and in masks of their own:
what the images, and not the structures, allow. Images are dealt into parts, and those of each part are judged by maps
that were made without it, so that no image helps its own map.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from hydra_bench.contracts.reconstruction import FRAME, TRUTH_FRAME, Assignments, write_assignments, write_class_map
from hydra_bench.core.mrc import read_map
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.maps.masks import soft_mask
from hydra_bench.methods.bounds.backprojection import back_project
from hydra_bench.methods.bounds.task import BoundTask
from hydra_bench.methods.hydra.data.images import Frequencies, ImageBatch, centred_images, largest_l, swap_negatives
from hydra_bench.methods.hydra.fit.pose_search import (
    BaseGrid,
    Candidates,
    axis_steps,
    coarse_search,
    refine_candidates,
    shift_grid,
)
from hydra_bench.methods.hydra.model.rendering import slices, slicing_grid
from hydra_bench.methods.recording import Outcome
from hydra_bench.physics.fourier import hartley, shift_phases
from hydra_bench.physics.rotations import grid_spacing_deg, hopf_grid, rotation_from_vector

_BASE_ORDER, _BASE_L, _KEEP = 2, 6, (8, 6, 4, 4)
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
class Search:
    """What all images are searched with: frequencies up to a radius, noise (n,) as a deviation, shifts up to extent."""

    frequencies: Frequencies
    noise: torch.Tensor
    extent_px: float

    @property
    def shift_points(self) -> int:
        """Along one axis, a quarter of a period of the coarsest comparison apart."""
        return max(3, 1 + 2 * int(np.ceil(4 * self.extent_px * _BASE_L / self.frequencies.box_px)))

    @property
    def shift_step(self) -> float:
        return 2 * self.extent_px / (self.shift_points - 1)

    @cached_property
    def base(self) -> BaseGrid:
        rotations = torch.from_numpy(hopf_grid(_BASE_ORDER)).float()
        shifts = shift_grid(self.extent_px, self.shift_points, torch.device("cpu"))
        return BaseGrid(rotations, shifts, self.frequencies.count(_BASE_L))

    def counts(self) -> list[int]:
        """Frequencies of each refinement: from the base's to all."""
        l_max = int(self.frequencies.plane.norm(dim=1).max())
        radii = [round(_BASE_L + (l_max - _BASE_L) * level / len(_KEEP)) for level in range(1, len(_KEEP) + 1)]
        return [self.frequencies.count(max(radius, 1)) for radius in radii]


def run_class_bound(task: BoundTask, folder: Path) -> Outcome:
    """Posteriors of all particles as a reconstruction; the maps written are those that were judged by.

    Raises NotApplicableError where there are no true maps, or no true poses to tell the noise by.
    """
    task.check_maps()
    stack, truth = task.stack, task.truth
    rotations, shifts_A = task.poses()
    frequencies = Frequencies.of_box(stack.box_px, min(task.parameters["radius"], largest_l(stack.box_px)))
    extent_px = float(np.abs(shifts_A).max() / stack.pixel_size_A)
    search = Search(frequencies, noise_deviation(task, frequencies), extent_px)
    posteriors = np.zeros((len(stack), truth.n_classes))
    for members, known in _judged_by(task):
        posteriors[members] = class_posteriors(task, members, known, search)
    classes = posteriors.argmax(1)
    none = np.zeros((len(stack), 0))
    write_assignments(folder, Assignments(classes, posteriors, rotations, shifts_A, none))
    for k in range(truth.n_classes):
        has_map = truth.has_map(k)
        volume = truth.class_volume(k) if has_map else np.zeros((stack.box_px,) * 3, dtype=np.float32)
        write_class_map(folder, k, volume, stack.pixel_size_A, task.evaluation[classes[task.evaluation] == k])
    return Outcome(images_seen=len(stack), notes={FRAME: TRUTH_FRAME})


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


def noise_deviation(task: BoundTask, frequencies: Frequencies) -> torch.Tensor:
    """The noise's standard deviation at each frequency (n,), by shells, in units of Hartley coefficients over the box.

    It is what projections of true maps at true poses leave of up to 500 images.
    """
    stack, truth = task.stack, task.truth
    rotations, shifts_A = task.poses()
    chosen = np.flatnonzero([truth.has_map(int(k)) for k in truth.classes])
    chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:_NOISE_IMAGES])
    shells = frequencies.plane.norm(dim=1).round().long()
    power = torch.zeros(int(shells.max()) + 1, dtype=torch.float64)
    paths = {int(i): truth.particle_volume_path(int(i)) for i in chosen}
    for path in sorted(set(paths.values())):
        members = np.array([i for i in chosen if paths[int(i)] == path])
        grid = slicing_grid_of(read_map(path)[0], frequencies)
        for part in np.array_split(members, -(-len(members) // _BATCH)):
            batch = load(task, part, frequencies, None)
            shifts_px = torch.from_numpy(shifts_A[part] / stack.pixel_size_A).float()
            projected = slices(grid, torch.from_numpy(rotations[part]).float(), batch.plane)
            left = centred_images(batch.hartley, shifts_px, batch.plane, batch.box_px) - batch.ctf * projected
            power += torch.bincount(shells, left.double().square().sum(0), minlength=len(power))
    counts = torch.bincount(shells, minlength=len(power)).clamp(min=1)
    return (power / (counts * len(chosen))).clamp(min=1e-20).sqrt().float()[shells]


def slicing_grid_of(volume: FloatArray, frequencies: Frequencies) -> torch.Tensor:
    """The padded Hartley grid that slices of a map (D, D, D) are cut from, in the units of `load`."""
    return slicing_grid(hartley(torch.from_numpy(volume).float(), 3) / frequencies.box_px)


def load(task: BoundTask, members: IntArray, frequencies: Frequencies, noise: torch.Tensor | None) -> ImageBatch:
    """Particles (B,) as Hartley coefficients over the box size; both images and CTF divided by the noise (n,)."""
    stack = task.stack
    transform = hartley(torch.from_numpy(stack.read_images(members)), 2).flatten(1) / stack.box_px
    coefficients = transform[:, frequencies.pixels(stack.box_px)]
    ctf = stack.transfer(members, frequencies.plane / (stack.box_px * stack.pixel_size_A))
    if noise is not None:
        coefficients, ctf = coefficients / noise, ctf / noise
    return ImageBatch(coefficients, ctf, frequencies.plane, stack.box_px)


@torch.no_grad()
def class_posteriors(task: BoundTask, members: IntArray, known: list[KnownMap], search: Search) -> FloatArray:
    """Posteriors (M, K) of the given particles."""
    grids = [slicing_grid_of(entry.volume, search.frequencies) for entry in known]
    coarse = search.frequencies.plane[: search.base.frequencies]
    references = [slices(grid, search.base.rotations, coarse) for grid in grids]
    result = np.zeros((len(members), task.truth.n_classes))
    for rows in np.array_split(np.arange(len(members)), -(-len(members) // _BATCH)):
        batch = load(task, members[rows], search.frequencies, search.noise)
        evidence = torch.full((len(rows), task.truth.n_classes), -torch.inf, dtype=torch.float64)
        for entry, grid, reference in zip(known, grids, references, strict=True):
            here = log_evidence(batch, grid, reference, search) + entry.log_share
            evidence[:, entry.class_number] = torch.logaddexp(evidence[:, entry.class_number], here)
        result[rows] = torch.softmax(evidence, 1).numpy()
    return result


def log_evidence(batch: ImageBatch, grid: torch.Tensor, references: torch.Tensor, search: Search) -> torch.Tensor:
    """The logarithm of Σ over poses of the likelihood of each image (B,), up to what is the same for every map."""
    found = coarse_search(batch, references, search.base, _KEEP[0])
    angle, step = np.radians(grid_spacing_deg(_BASE_ORDER)) / 2, search.shift_step / 2
    for kept, n in zip(_KEEP, search.counts(), strict=True):
        found = refine_candidates(batch, grid, found.best(kept), n, angle, step)
        angle, step = angle / 2, step / 2
    return _summed_around(batch, grid, found, angle, step)


def _summed_around(
    batch: ImageBatch, grid: torch.Tensor, found: Candidates, angle: float, shift_step: float
) -> torch.Tensor:
    """log Σ exp(-error) over 7 rotations x 9 shifts around each of the found poses, on all frequencies: (B,)."""
    plane = batch.plane
    turns = rotation_from_vector(axis_steps(grid.device) * angle)
    steps = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0]) * shift_step] * 2)
    reference = slices(grid, turns @ found.rotations[:, :, None], plane)
    c = batch.ctf[:, None]
    moved = c * centred_images(batch.hartley[:, None], found.shifts, plane, batch.box_px)
    phases = shift_phases(steps, plane, batch.box_px)
    along = (moved[:, :, None] * reference) @ torch.cos(phases).T
    across = (swap_negatives(moved)[:, :, None] * reference) @ torch.sin(phases).T
    power = 0.5 * (c.square()[:, :, None] * reference.square()).sum(-1)
    return torch.logsumexp(-(power[..., None] - along + across).double().flatten(1), 1)
