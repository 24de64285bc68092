"""The bounds: back-projection with true poses, and true (ceiling) or shuffled (floor) classes.

Each class map is the Wiener-type estimate Σ CTF·image / (Σ CTF² + τ), summed over the particles' slices
with trilinear weights in the padded transform. τ is the noise-to-signal ratio of each shell, found from
the FSC of two half-sets as RELION does (Scheres, J. Mol. Biol. 415 (2012) 406, equations 5 and 6).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hydra_bench.contracts.reconstruction import Assignments, write_assignments, write_class_map
from hydra_bench.contracts.stack import Stack
from hydra_bench.contracts.truth import Truth
from hydra_bench.core.errors import InputError, RunFailedError
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.methods.recording import Outcome
from hydra_bench.physics.fourier import fft_centred, frequency_plane, frequency_radius, shift_factors
from hydra_bench.physics.projection import PADDING, map_from_padded

_CHUNK = 128


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


def accumulate(stack: Stack, members: IntArray, rotations: FloatArray, shifts_A: FloatArray) -> Sums:
    """Sums over the given particles; rotations (N, 3, 3) and shifts (N, 2) are of the whole stack."""
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
        points = PADDING * plane[inside] @ torch.from_numpy(rotations[part]).float()
        values = (centred[:, inside] * ctf).flatten()
        insert_slices(sums, values, ctf.square().flatten(), points.reshape(-1, 3))
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


def back_project(stack: Stack, members: IntArray, rotations: FloatArray, shifts_A: FloatArray) -> FloatArray:
    """The map (D, D, D) of the given particles of a stack, at the stack's box."""
    first, second = (accumulate(stack, members[h::2], rotations, shifts_A) for h in range(2))
    tau = noise_to_signal(first, second, stack.box_px)
    size = PADDING * stack.box_px
    estimate = (first.data + second.data) / (first.weight + second.weight + tau + 1e-6)
    return map_from_padded(estimate.reshape(size, size, size), stack.box_px).numpy()


def run_backprojection(
    stack: Stack, truth: Truth, evaluation: IntArray, labels: str, seed: int, folder: Path
) -> Outcome:
    """A bound as a reconstruction: true poses, with `labels` true (the ceiling) or shuffled (the floor)."""
    if labels not in ("true", "shuffled"):
        raise InputError(f"parameters.labels: {labels!r}; true or shuffled is allowed")
    if truth.rotations is None or truth.shifts_A is None:
        raise RunFailedError("the reference of these particles has no poses, so there is nothing to back-project at")
    classes = truth.classes if labels == "true" else np.random.default_rng(seed).permutation(truth.classes)
    write_assignments(folder, Assignments.of_classes(classes, truth.n_classes, truth.rotations, truth.shifts_A))
    for k in range(truth.n_classes):
        volume = back_project(stack, np.flatnonzero(classes == k), truth.rotations, truth.shifts_A)
        write_class_map(folder, k, volume, stack.pixel_size_A, evaluation[classes[evaluation] == k])
    return Outcome(images_seen=len(stack))
