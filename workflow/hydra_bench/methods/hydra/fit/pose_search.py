"""Hierarchical search of rotations and shifts against one rendered field.

The error of particle i at slice s and shift t is ½‖C_i s - Y_i(t)‖², of which ½‖Y_i‖² is left out: it is
the same for every candidate and class. What remains, ½⟨C_i², s²⟩ - ⟨C_i Y_i(t), s⟩, is two matrix
products over all candidates at the coarse stage. Later stages only look around the best candidates, with
rising resolution: halving the steps of rotation and shift each time.

Source: the hierarchy is cryoDRGN2's and the paper's (frequency marching, Hopf grid, subdivision); the split
of the error and the rendered grids are this implementation's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from hydra_bench.methods.hydra.data.images import ImageBatch, centred_images, swap_negatives
from hydra_bench.methods.hydra.model.rendering import slices
from hydra_bench.physics.fourier import hartley_moved_back, shift_phases
from hydra_bench.physics.rotations import rotation_from_vector


@dataclass(frozen=True)
class BaseGrid:
    """Every rotation (Q, 3, 3) at every shift (T, 2) in px, compared on the first `frequencies`."""

    rotations: torch.Tensor
    shifts: torch.Tensor
    frequencies: int


@dataclass(frozen=True)
class SearchPlan:
    """What is searched: around kept poses in steps that halve, and before that a base grid, or else from known poses.

    angle, shift_step : in radians and px, between the poses that the first subdivision divides.
    keep, frequencies : for each subdivision, the poses that go into it, and the frequencies that it uses.
    batch : particles searched at once, which memory limits.
    """

    angle: float
    shift_step: float
    keep: tuple[int, ...]
    frequencies: tuple[int, ...]
    batch: int
    base: BaseGrid | None = None


@dataclass(frozen=True)
class Candidates:
    """Poses kept for B particles: rotations (B, m, 3, 3), shifts (B, m, 2), errors (B, m)."""

    rotations: torch.Tensor
    shifts: torch.Tensor
    errors: torch.Tensor

    def take(self, rows: torch.Tensor) -> Candidates:
        return Candidates(self.rotations[rows], self.shifts[rows], self.errors[rows])

    @classmethod
    def joined(cls, parts: list[Candidates]) -> Candidates:
        return cls(*(torch.cat([getattr(p, name) for p in parts]) for name in ("rotations", "shifts", "errors")))

    def best(self, m: int) -> Candidates:
        """The m candidates of least error."""
        errors, order = self.errors.topk(min(m, self.errors.shape[1]), dim=1, largest=False)
        return Candidates(
            self.rotations.gather(1, order[..., None, None].expand(-1, -1, 3, 3)),
            self.shifts.gather(1, order[..., None].expand(-1, -1, 2)),
            errors,
        )


def shift_grid(extent_px: float, n_per_side: int, device: torch.device) -> torch.Tensor:
    """A square grid of shifts (n², 2) in px, from -extent to +extent."""
    line = torch.linspace(-extent_px, extent_px, n_per_side, device=device) if n_per_side > 1 else torch.zeros(1)
    return torch.cartesian_prod(line, line).to(device)


def axis_steps(device: torch.device) -> torch.Tensor:
    """Rotation vectors (7, 3): none, and one unit along ±x, ±y, ±z."""
    eye = torch.eye(3, device=device)
    return torch.cat([torch.zeros(1, 3, device=device), eye, -eye])


def coarse_search(batch: ImageBatch, references: torch.Tensor, base: BaseGrid, keep: int) -> Candidates:
    """The best base rotations of each particle, each at its best base shift; references (Q, n) are the slices."""
    n, B, T = base.frequencies, len(batch), len(base.shifts)
    y, c, plane = batch.hartley[:, :n], batch.ctf[:, :n], batch.plane[:n]
    phases = shift_phases(base.shifts, plane, batch.box_px)
    moved = hartley_moved_back((c * y)[:, None], (c * swap_negatives(y))[:, None], phases)
    overlap, shift = (moved.reshape(B * T, n) @ references.T).reshape(B, T, -1).max(1)
    errors = torch.addmm(-overlap, c.square(), references.square().T, alpha=0.5)
    errors, rotation = errors.topk(min(keep, errors.shape[1]), 1, largest=False)
    return Candidates(base.rotations[rotation], base.shifts[shift.gather(1, rotation)], errors)


def refine_candidates(
    batch: ImageBatch, grid: torch.Tensor, start: Candidates, n: int, angle: float, shift_step: float
) -> Candidates:
    """Each candidate replaced by the best of 7 rotations x 9 shifts around it, `angle` and `shift_step` apart.

    With A = C·Y and A' = C·Y(-k), both at the candidate's shift, the overlap with a slice s at a further
    shift δ is Σ cos φ_δ (A s) - sin φ_δ (A' s): one matrix product for all particles and shifts.
    """
    plane, device = batch.plane[:n], grid.device
    y, c = batch.hartley[:, None, :n], batch.ctf[:, None, :n]
    turns = rotation_from_vector(axis_steps(device) * angle)
    steps = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0], device=device) * shift_step] * 2)
    B, m, q, t = *start.errors.shape, len(turns), len(steps)
    rotations = turns @ start.rotations[:, :, None]
    reference = slices(grid, rotations, plane)
    moved = c * centred_images(y, start.shifts, plane, batch.box_px)
    step_phase = shift_phases(steps, plane, batch.box_px)
    along = (moved[:, :, None] * reference) @ torch.cos(step_phase).T
    # The coefficient at -k is moved with the opposite phase, which swapping the moved image does by itself.
    swapped = swap_negatives(moved)  # the CTF is even in k
    across = (swapped[:, :, None] * reference) @ torch.sin(step_phase).T
    power = 0.5 * (c.square()[:, :, None] * reference.square()).sum(-1)
    errors, best = (power[..., None] - along + across).reshape(B, m, q * t).min(-1)
    best_turn = (best // t)[..., None, None, None].expand(-1, -1, 1, 3, 3)
    return Candidates(rotations.gather(2, best_turn)[:, :, 0], start.shifts + steps[best % t], errors)


@torch.no_grad()
def search(batch: ImageBatch, grid: torch.Tensor, plan: SearchPlan) -> Candidates:
    """The best pose (one candidate) of each particle against a slicing grid, over all of SO(3)."""
    base = plan.base
    assert base is not None
    references = slices(grid, base.rotations, batch.plane[: base.frequencies])

    def work(part: ImageBatch, _: torch.Tensor) -> Candidates:
        return refine(part, grid, coarse_search(part, references, base, plan.keep[0]), plan)

    return in_parts(batch, plan, work)


@torch.no_grad()
def search_locally(batch: ImageBatch, grid: torch.Tensor, start: Candidates, plan: SearchPlan) -> Candidates:
    """The best pose of each particle near its given ones."""
    return in_parts(batch, plan, lambda part, rows: refine(part, grid, start.take(rows), plan))


def in_parts(batch: ImageBatch, plan: SearchPlan, work: Callable[[ImageBatch, torch.Tensor], Candidates]) -> Candidates:
    """`work` on parts of the batch that memory has room for, and their rows."""
    rows = torch.arange(len(batch), device=batch.hartley.device)
    parts = [work(batch if len(part) == len(batch) else batch.take(part), part) for part in rows.split(plan.batch)]
    return parts[0] if len(parts) == 1 else Candidates.joined(parts)


def refine(batch: ImageBatch, grid: torch.Tensor, start: Candidates, plan: SearchPlan) -> Candidates:
    """The best pose of each particle near the given candidates, in steps that halve each time."""
    angle, step = plan.angle / 2, plan.shift_step / 2
    found = start
    for kept, n in zip(plan.keep, plan.frequencies, strict=True):
        found = refine_candidates(batch, grid, found.best(kept), n, angle, step)
        angle, step = angle / 2, step / 2
    return found.best(1)


@torch.no_grad()
def pose_errors(batch: ImageBatch, grid: torch.Tensor, poses: Candidates, plan: SearchPlan) -> Candidates:
    """The given poses (one each) with their errors on the finest frequencies: nothing is searched."""
    n = plan.frequencies[-1]

    def work(part: ImageBatch, rows: torch.Tensor) -> Candidates:
        here, plane = poses.take(rows), part.plane[:n]
        reference = slices(grid, here.rotations[:, 0], plane)
        c = part.ctf[:, :n]
        moved = c * centred_images(part.hartley[:, :n], here.shifts[:, 0], plane, part.box_px)
        errors = (0.5 * (c * reference).square() - moved * reference).sum(1, keepdim=True)
        return Candidates(here.rotations, here.shifts, errors)

    return in_parts(batch, plan, work)
