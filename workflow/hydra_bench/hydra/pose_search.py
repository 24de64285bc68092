"""Hierarchical search of rotations and shifts against one rendered field.

The error of particle i at slice s and shift t is ½‖C_i s - Y_i(t)‖², of which ½‖Y_i‖² is left out: it is
the same for every candidate and class. What remains, ½⟨C_i², s²⟩ - ⟨C_i Y_i(t), s⟩, is two matrix
products over all candidates at the coarse stage. Later stages only look around the best candidates, with
rising resolution: halving the steps of rotation and shift each time.

Source: the hierarchy is cryoDRGN2's and the paper's (frequency marching, Hopf grid, subdivision); the split
of the error and the rendered grids are this implementation's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hydra_bench.hydra.frequencies import Frequencies, shift_phases, swap_negatives
from hydra_bench.hydra.images import ImageBatch
from hydra_bench.hydra.rendering import slices
from hydra_bench.rotations import rotation_from_vector


@dataclass(frozen=True)
class SearchPlan:
    """What is searched. Angles in radians, shifts in px of the stack's box.

    base : (Q, 3, 3) rotations of the coarse stage. base_shifts : (T, 2).
    n_coarse, n_fine : numbers of frequencies of the two stages.
    """

    base: torch.Tensor
    base_shifts: torch.Tensor
    base_angle: float
    base_shift_step: float
    keep: tuple[int, ...]
    n_coarse: int
    n_fine: int


@dataclass(frozen=True)
class Candidates:
    """Poses kept for B particles: rotations (B, m, 3, 3), shifts (B, m, 2), errors (B, m)."""

    rotations: torch.Tensor
    shifts: torch.Tensor
    errors: torch.Tensor

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


def coarse_search(
    batch: ImageBatch, grid: torch.Tensor, frequencies: Frequencies, plan: SearchPlan, keep: int
) -> Candidates:
    """The `keep` best base rotations of each particle, each at its best base shift."""
    n, (B, T) = plan.n_coarse, (len(batch.hartley), len(plan.base_shifts))
    y, c, plane = batch.hartley[:, :n], batch.ctf[:, :n], frequencies.plane[:n]
    references = slices(grid, plan.base, plane)
    phase = shift_phases(plan.base_shifts, plane, frequencies.box_px)
    moved = torch.cos(phase) * (c * y)[:, None] - torch.sin(phase) * (c * swap_negatives(y))[:, None]
    overlap, shift = (moved.reshape(B * T, n) @ references.T).reshape(B, T, -1).max(1)
    errors, rotation = torch.addmm(-overlap, c.square(), references.square().T, alpha=0.5).topk(keep, 1, largest=False)
    return Candidates(plan.base[rotation], plan.base_shifts[shift.gather(1, rotation)], errors)


def refine_candidates(
    batch: ImageBatch,
    grid: torch.Tensor,
    frequencies: Frequencies,
    start: Candidates,
    n: int,
    angle: float,
    shift_step: float,
) -> Candidates:
    """Each candidate replaced by the best of 7 rotations x 9 shifts around it, `angle` and `shift_step` apart.

    With A = C·Y and A' = C·Y(-k), both at the candidate's shift, the overlap with a slice s at a further
    shift δ is Σ cos φ_δ (A s) - sin φ_δ (A' s): one matrix product for all particles and shifts.
    """
    plane, device = frequencies.plane[:n], grid.device
    y, c = batch.hartley[:, None, :n], batch.ctf[:, None, :n]
    turns = rotation_from_vector(axis_steps(device) * angle)
    steps = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0], device=device) * shift_step] * 2)
    B, m, q, t = *start.errors.shape, len(turns), len(steps)
    rotations = turns @ start.rotations[:, :, None]
    reference = slices(grid, rotations, plane)
    phase = shift_phases(start.shifts, plane, frequencies.box_px)
    moved = c * (torch.cos(phase) * y - torch.sin(phase) * swap_negatives(y))
    step_phase = shift_phases(steps, plane, frequencies.box_px)
    along = (moved[:, :, None] * reference) @ torch.cos(step_phase).T
    # The coefficient at -k is moved with the opposite phase, which swapping the moved image does by itself.
    swapped = swap_negatives(moved)  # the CTF is even in k
    across = (swapped[:, :, None] * reference) @ torch.sin(step_phase).T
    power = 0.5 * (c.square()[:, :, None] * reference.square()).sum(-1)
    errors, place = (power[..., None] - along + across).reshape(B, m, q * t).min(-1)
    best_turn = (place // t)[..., None, None, None].expand(-1, -1, 1, 3, 3)
    return Candidates(rotations.gather(2, best_turn)[:, :, 0], start.shifts + steps[place % t], errors)


@torch.no_grad()
def search(batch: ImageBatch, grid: torch.Tensor, frequencies: Frequencies, plan: SearchPlan) -> Candidates:
    """The best pose (one candidate) of each particle against a slicing grid, over all of SO(3)."""
    found = coarse_search(batch, grid, frequencies, plan, plan.keep[0])
    return refine(batch, grid, frequencies, found, plan)


@torch.no_grad()
def refine(
    batch: ImageBatch, grid: torch.Tensor, frequencies: Frequencies, start: Candidates, plan: SearchPlan
) -> Candidates:
    """The best pose of each particle near the given candidates: a local search."""
    angle, step = plan.base_angle / 2, plan.base_shift_step / 2
    found = start
    for kept in plan.keep:
        found = refine_candidates(batch, grid, frequencies, found.best(kept), plan.n_fine, angle, step)
        angle, step = angle / 2, step / 2
    return found.best(1)
