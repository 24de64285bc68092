"""Back-projection at true poses: the ceiling of rigid species, what follows a true coordinate, and two older bounds.

Each class map is the Wiener-type estimate Σ CTF·image / (Σ CTF² + τ), summed over the particles' slices
with trilinear weights in the padded transform. τ is the noise-to-signal ratio of each shell, found from
the FSC of two half-sets as RELION does (Scheres, J. Mol. Biol. 415 (2012) 406, equations 5 and 6).

A map without a mask has noise in all of its box, where fields of a method may be confined to the particle by what they
are made of: it is no ceiling. In a soft mask made from the map itself it is one, for species that do not move. The map
of one that moves is made anew for each state that is looked at, from particles whose true coordinates are near it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import (
    FRAME,
    GIVEN,
    LABELS,
    POSES,
    TRUTH_FRAME,
    Assignments,
    sample_path,
    write_assignments,
)
from hydra_bench.contracts.stack import Stack
from hydra_bench.contracts.truth import Truth
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.mrc import write_map
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.maps.masks import SOFT_MASK_TEXT, soft_mask
from hydra_bench.methods.bounds.task import BoundTask
from hydra_bench.methods.recording import Outcome
from hydra_bench.physics.fourier import fft_centred, frequency_plane, frequency_radius, shift_factors
from hydra_bench.physics.projection import PADDING, map_from_padded

_CHUNK = 128
NEARBY = 0.25
"""Of the range of a true coordinate: how far from a state particles still count for its map, the less the farther."""


@dataclass
class Sums:
    """Running sums over slices in the padded transform, each (P³,): CTF·image (complex), CTF²."""

    data: torch.Tensor
    weight: torch.Tensor


def insert_slices(sums: Sums, values: torch.Tensor, weights: torch.Tensor, points: torch.Tensor) -> None:
    """Add values (n,) and weights (n,) at points (n, 3), in padded voxels (x, y, z), trilinearly."""
    size = round(len(sums.weight) ** (1 / 3))
    position = points + size // 2
    corner = position.floor()
    fraction = position - corner
    corner = corner.long()
    for offset in torch.cartesian_prod(*[torch.arange(2)] * 3):
        share = torch.where(offset.bool(), fraction, 1 - fraction).prod(1)
        x, y, z = (corner + offset).unbind(1)
        index = (z * size + y) * size + x
        sums.data.index_add_(0, index, values * share)
        sums.weight.index_add_(0, index, weights * share)


def accumulate(
    stack: Stack,
    members: IntArray,
    rotations: FloatArray,
    shifts_A: FloatArray,
    importance: FloatArray | None = None,
) -> Sums:
    """Sums over the given particles; rotations (N, 3, 3), shifts (N, 2) and what each counts (N,) are of all."""
    box = stack.box_px
    plane = frequency_plane(box)
    radius = plane.norm(dim=1)
    inside = (radius <= box // 2 - 1) & (radius > 0)
    frequencies = plane[inside] / (box * stack.pixel_size_A)
    size = (PADDING * box) ** 3
    sums = Sums(torch.zeros(size, dtype=torch.complex64), torch.zeros(size))
    for start in range(0, len(members), _CHUNK):
        part = members[start : start + _CHUNK]
        transforms = fft_centred(torch.from_numpy(stack.read_images(part)), 2).flatten(1)
        centred = transforms * shift_factors(torch.from_numpy(-shifts_A[part] / stack.pixel_size_A), plane, box)
        ctf = stack.transfer(part, frequencies)
        counts = torch.ones(len(part), 1) if importance is None else torch.from_numpy(importance[part]).float()[:, None]
        points = PADDING * plane[inside] @ torch.from_numpy(rotations[part]).float()
        values = (centred[:, inside] * ctf * counts).flatten()
        insert_slices(sums, values, (ctf.square() * counts).flatten(), points.reshape(-1, 3))
    return sums


def noise_to_signal(first: Sums, second: Sums, box: int) -> torch.Tensor:
    """τ of every padded voxel, (P³,), in units of the weights, from two half-sets."""
    size = PADDING * box
    shells = (frequency_radius(size, 3).flatten() / PADDING).round().long()
    a, b = (s.data / (s.weight + 1e-3) for s in (first, second))

    def shell_sum(x: torch.Tensor) -> torch.Tensor:
        return torch.bincount(shells, weights=x.double())

    power = (shell_sum(a.abs().square()) * shell_sum(b.abs().square())).sqrt().clamp(min=1e-30)
    fsc = (shell_sum((a * b.conj()).real) / power).clamp(0.01, 0.999)
    total = first.weight + second.weight
    mean_weight = shell_sum(total) / shell_sum(torch.ones_like(total))
    # SNR of the full set's shells is 2 FSC / (1 - FSC); τ = mean weight / SNR.
    return (mean_weight * (1 - fsc) / (2 * fsc)).float()[shells]


def back_project(
    stack: Stack,
    members: IntArray,
    rotations: FloatArray,
    shifts_A: FloatArray,
    importance: FloatArray | None = None,
) -> FloatArray:
    """The map (D, D, D) of the given particles of a stack, at the stack's box; see `accumulate`."""
    first, second = (accumulate(stack, members[h::2], rotations, shifts_A, importance) for h in range(2))
    tau = noise_to_signal(first, second, stack.box_px)
    size = PADDING * stack.box_px
    estimate = (first.data + second.data) / (first.weight + second.weight + tau + 1e-6)
    return map_from_padded(estimate.reshape(size, size, size), stack.box_px).numpy()


def run_backprojection(task: BoundTask, folder: Path) -> Outcome:
    """A bound as a reconstruction: true poses, with labels true or shuffled, and masks and coordinates as wanted."""
    stack, truth = task.stack, task.truth
    rotations, shifts_A = task.poses()
    true_labels, masked = task.parameters["labels"] == "true", task.parameters["mask"] == "own"
    follows = task.parameters["coordinates"] == "true"
    classes = truth.classes if true_labels else np.random.default_rng(task.seed).permutation(truth.classes)
    write_assignments(folder, Assignments.of_classes(classes, truth.n_classes, rotations, shifts_A))

    def finished(volume: FloatArray) -> FloatArray:
        return volume * soft_mask(volume, stack.pixel_size_A) if masked else volume

    for k in range(truth.n_classes):
        members = np.flatnonzero(classes == k)
        volume = finished(back_project(stack, members, rotations, shifts_A))
        write_map(class_volume_path(folder, k), volume, stack.pixel_size_A)
        made: dict[tuple[float, ...], FloatArray] = {}
        for particle in task.evaluation[classes[task.evaluation] == k]:
            own = volume
            if follows and (importance := nearness(truth, members, int(particle))) is not None:
                place = tuple(truth.conformations[particle])
                if place not in made:
                    near = members[importance[members] > 0]
                    made[place] = finished(back_project(stack, near, rotations, shifts_A, importance))
                own = made[place]
            write_map(sample_path(folder, int(particle)), own, stack.pixel_size_A)
    notes: JsonObject = {FRAME: TRUTH_FRAME, GIVEN: [LABELS, POSES] if true_labels else [POSES]}
    if masked:
        notes["mask"] = f"of each map itself: {SOFT_MASK_TEXT}"
    if masked and true_labels:
        notes["reference"] = "ceiling"
    return Outcome(images_seen=len(stack), notes=notes)


def nearness(truth: Truth, members: IntArray, particle: int) -> FloatArray | None:
    """What each particle (N,) counts for the state of one of them, by its true coordinates; None if it does not move.

    1 at the particle's own place, falling as a parabola to 0 at NEARBY of each coordinate's range (Epanechnikov).
    """
    coordinates = truth.conformations[members]
    moves = ~np.isnan(truth.conformations[particle])
    moves[moves] = np.ptp(coordinates[:, moves], axis=0) > 0
    if not moves.any():
        return None
    reach = NEARBY * np.ptp(coordinates[:, moves], axis=0)
    distance = (coordinates[:, moves] - truth.conformations[particle, moves]) / reach
    importance = np.zeros(len(truth))
    importance[members] = np.clip(1 - np.square(distance).sum(1), 0, None)
    return importance
