"""Hierarchical search of rotations and shifts against one rendered field.

The error of particle i at slice s and shift t is ½‖C_i s - Y_i(t)‖², of which ½‖Y_i‖² is left out: it is
the same for every candidate and class. What remains, ½⟨C_i², s²⟩ - ⟨C_i Y_i(t), s⟩, is two matrix
products over all candidates at the coarse stage. Later stages only look around the best candidates, with
rising resolution: halving the steps of rotation and shift each time.

Coefficients at k and -k are worked on as their even and odd parts, which a shift t mixes as a rotation by
φ = 2π k·t / D does, and of which a slice upside down, turned by 180° in the plane, has the odd ones negated. So
half of the frequencies and half of the base rotations say everything.

Source: the hierarchy is cryoDRGN2's and the paper's (frequency marching, Hopf grid, subdivision); the split
of the error, the rendered grids and the parts are this implementation's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from hydra_bench.methods.hydra.data.images import ImageBatch, even_and_odd
from hydra_bench.methods.hydra.fit.likelihood import EVEN, Contrast
from hydra_bench.methods.hydra.model.precision import product
from hydra_bench.methods.hydra.model.rendering import slices
from hydra_bench.physics.fourier import shift_phases
from hydra_bench.physics.rotations import rotation_from_vector


@dataclass(frozen=True)
class BaseGrid:
    """Rotations (Q, 3, 3), and each of them upside down, on the first `frequencies`."""

    rotations: torch.Tensor
    frequencies: int

    def all_rotations(self) -> torch.Tensor:
        """(2 Q, 3, 3): the rotations, then those turned by 180° in the plane."""
        in_plane, along = self.rotations.split([2, 1], 1)
        return torch.cat([self.rotations, torch.cat([-in_plane, along], 1)])


@dataclass(frozen=True)
class SearchPlan:
    """What is searched: around kept poses in steps that halve, and before that a base grid, or else from known poses.

    angle, shift_step : in radians and px, between the poses that the first subdivision divides.
    keep, frequencies : for each subdivision, the poses that go into it, and the frequencies that it uses.
    batch : particles searched at once, which memory limits. coarse_batch : on the base grid.
    """

    angle: float
    shift_step: float
    keep: tuple[int, ...]
    frequencies: tuple[int, ...]
    batch: int
    coarse_batch: int = 1
    base: BaseGrid | None = None
    contrast: Contrast = EVEN


@dataclass(frozen=True)
class Candidates:
    """Poses kept for B particles: rotations (B, m, 3, 3), shifts (B, m, 2), errors, contrasts, powers (B, m)."""

    rotations: torch.Tensor
    shifts: torch.Tensor
    errors: torch.Tensor
    contrasts: torch.Tensor
    powers: torch.Tensor

    @classmethod
    def at(cls, rotations: torch.Tensor, shifts: torch.Tensor) -> Candidates:
        """Poses of B particles, one each: rotations (B, 3, 3), shifts (B, 2); nothing else is known of them."""
        unknown = rotations.new_zeros(len(rotations), 1)
        return cls(rotations[:, None], shifts[:, None], unknown, unknown, unknown)

    def take(self, rows: torch.Tensor) -> Candidates:
        return Candidates(*(part[rows] for part in vars(self).values()))

    @classmethod
    def joined(cls, parts: list[Candidates]) -> Candidates:
        return cls(*(torch.cat([getattr(p, name) for p in parts]) for name in vars(parts[0])))

    def best(self, m: int) -> Candidates:
        """The m candidates of least error."""
        errors, order = self.errors.topk(min(m, self.errors.shape[1]), dim=1, largest=False)
        return Candidates(
            self.rotations.gather(1, order[..., None, None].expand(-1, -1, 3, 3)),
            self.shifts.gather(1, order[..., None].expand(-1, -1, 2)),
            errors,
            self.contrasts.gather(1, order),
            self.powers.gather(1, order),
        )


def shift_grid(extent_px: float, n_per_side: int, device: torch.device) -> torch.Tensor:
    """A square grid of shifts (n², 2) in px, from -extent to +extent."""
    line = torch.linspace(-extent_px, extent_px, n_per_side, device=device) if n_per_side > 1 else torch.zeros(1)
    return torch.cartesian_prod(line, line).to(device)


def shifts_near(
    seen_px: torch.Tensor, extent_px: float, n_per_side: int, steps: int | None, device: torch.device
) -> torch.Tensor:
    """Shifts of `shift_grid` for B images, (B, T, 2) in px, or (1, T, 2) where each has all of them.

    seen_px (B, 2) : where each was last seen; its shifts are those of the grid at most so many steps from there, or
    from the nearest point of the grid that has as many on every side.
    """
    if steps is None or 2 * steps + 1 >= n_per_side or extent_px == 0:
        return shift_grid(extent_px, n_per_side, device)[None]
    step = 2 * extent_px / (n_per_side - 1)
    middle = (seen_px / step + (n_per_side - 1) / 2).round().clamp(steps, n_per_side - 1 - steps)
    line = (middle - (n_per_side - 1) / 2)[:, :, None] + torch.arange(-steps, steps + 1, device=device)
    x, y = (step * line).unbind(1)
    t = 2 * steps + 1
    return torch.stack([x[:, :, None].expand(-1, -1, t), y[:, None].expand(-1, t, -1)], -1).flatten(1, 2)


def axis_steps(device: torch.device) -> torch.Tensor:
    """Rotation vectors (7, 3): none, and one unit along ±x, ±y, ±z."""
    eye = torch.eye(3, device=device)
    return torch.cat([torch.zeros(1, 3, device=device), eye, -eye])


@dataclass(frozen=True)
class Parts:
    """Even and odd parts, (..., h) each, of what is known at the frequencies k of `plane` (h, 3) and at -k.

    Of slices they are the halves of sum and difference, of images these themselves: so ⟨image, slice⟩ over both signs
    of k is the sum of the products of equal parts.
    """

    even: torch.Tensor
    odd: torch.Tensor
    plane: torch.Tensor

    @classmethod
    def of_images(cls, batch: ImageBatch, n: int) -> Parts:
        """Of C·Y on a batch's first n frequencies, (B, h)."""
        return cls(*even_and_odd(batch.ctf[:, :n] * batch.hartley[:, :n]), batch.plane[:n:2])

    @classmethod
    def of_slices(cls, grid: torch.Tensor, rotations: torch.Tensor, plane: torch.Tensor) -> Parts:
        """Of central slices of a slicing grid at rotations (..., 3, 3): (..., h)."""
        return cls(*slices(grid, rotations, plane), plane)

    def moved_back(self, shifts_px: torch.Tensor, box_px: int) -> Parts:
        """Images (B, h) displaced by shifts (B or 1, T, 2), moved back to the centre: (B, T, h)."""
        phases = shift_phases(shifts_px, self.plane, box_px)
        cos, sin, even, odd = torch.cos(phases), torch.sin(phases), self.even[:, None], self.odd[:, None]
        return Parts(cos * even + sin * odd, cos * odd - sin * even, self.plane)

    def power(self) -> torch.Tensor:
        """Of slices, half of the squares at k and -k together: (..., h)."""
        return self.even.square().addcmul_(self.odd, self.odd)


def coarse_search(
    batch: ImageBatch, references: Parts, base: BaseGrid, shifts: torch.Tensor, keep: int, contrast: Contrast = EVEN
) -> Candidates:
    """The best base rotations of each of B particles, each at the best of its shifts (B or 1, T, 2) in px.

    references : the Q slices.
    """
    B, T, Q, n = len(batch), shifts.shape[1], len(base.rotations), base.frequencies
    moved = Parts.of_images(batch, n).moved_back(shifts, batch.box_px)
    even = product(moved.even.flatten(0, 1), references.even.T).view(B, T, Q)
    odd = product(moved.odd.flatten(0, 1), references.odd.T).view(B, T, Q)
    best = torch.cat([(even + odd).amax(1), (even - odd).amax(1)], 1)  # the second half upside down
    power = product(batch.ctf[:, :n:2].square(), references.power().T)
    errors, rotation = contrast.error(best, power.repeat(1, 2)).topk(min(keep, 2 * Q), 1, largest=False)
    column = (rotation % Q)[:, None].expand(-1, T, -1)
    sign = torch.where(rotation < Q, 1.0, -1.0)[:, None]
    shift = (even.gather(2, column) + sign * odd.gather(2, column)).argmax(1)
    best_shifts = shifts.expand(B, -1, -1).gather(1, shift[..., None].expand(-1, -1, 2))
    none = torch.zeros_like(errors)
    return Candidates(base.all_rotations()[rotation], best_shifts, errors, none, none)


def refine_candidates(
    batch: ImageBatch,
    grid: torch.Tensor,
    start: Candidates,
    n: int,
    angle: float,
    shift_step: float,
    contrast: Contrast = EVEN,
) -> Candidates:
    """Each candidate replaced by the best of 7 rotations x 9 shifts around it, `angle` and `shift_step` apart.

    With A and A' the even and odd part of C·Y at the candidate's shift, and s, s' those of a slice, the overlap at a
    further shift δ is Σ cos φ_δ (A s + A' s') + sin φ_δ (A' s - A s'): one matrix product for all particles and shifts.
    """
    device = grid.device
    turns = rotation_from_vector(axis_steps(device) * angle)
    steps = torch.cartesian_prod(*[torch.arange(-1.0, 2.0, device=device) * shift_step] * 2)
    B, m, q, t = *start.errors.shape, len(turns), len(steps)
    rotations = turns @ start.rotations[:, :, None]
    image = Parts.of_images(batch, n).moved_back(start.shifts, batch.box_px)
    here = Parts.of_slices(grid, rotations, image.plane)
    even, odd = image.even[:, :, None], image.odd[:, :, None]
    phases = shift_phases(steps, image.plane, batch.box_px)
    along = product((even * here.even).addcmul_(odd, here.odd), torch.cos(phases).T)
    across = product((odd * here.even).addcmul_(even, here.odd, value=-1), torch.sin(phases).T)
    power = product(here.power().view(B, m * q, -1), batch.ctf[:, :n:2].square()[..., None]).view(B, m, q, 1)
    overlap = along + across
    errors = power - along - across if contrast is EVEN else contrast.error(overlap, power)
    errors, best = errors.view(B, m, q * t).min(-1)
    of_best = overlap.view(B, m, q * t).gather(2, best[..., None])[..., 0]
    half = power[..., 0].gather(2, (best // t)[..., None])[..., 0]
    contrasts = contrast.most_likely(of_best, half)
    best_turn = (best // t)[..., None, None, None].expand(-1, -1, 1, 3, 3)
    return Candidates(
        rotations.gather(2, best_turn)[:, :, 0], start.shifts + steps[best % t], errors, contrasts, 2 * half
    )


@torch.no_grad()
def search(batch: ImageBatch, grid: torch.Tensor, shifts: torch.Tensor, plan: SearchPlan) -> Candidates:
    """The best pose (one candidate) of each of B particles against a slicing grid, over all of SO(3).

    shifts (B or 1, T, 2) : in px, those of each particle, or of all, on the base grid.
    """
    base = plan.base
    assert base is not None
    references = Parts.of_slices(grid, base.rotations, batch.plane[: base.frequencies : 2])

    def work(part: ImageBatch, rows: torch.Tensor) -> Candidates:
        own = shifts.expand(len(batch), -1, -1)[rows]

        def coarse(few: ImageBatch, of_part: torch.Tensor) -> Candidates:
            return coarse_search(few, references, base, own[of_part], plan.keep[0], plan.contrast)

        return refine(part, grid, in_parts(part, plan.coarse_batch, coarse), plan)

    return in_parts(batch, plan.batch, work)


@torch.no_grad()
def search_locally(batch: ImageBatch, grid: torch.Tensor, start: Candidates, plan: SearchPlan) -> Candidates:
    """The best pose of each particle near its given ones."""
    return in_parts(batch, plan.batch, lambda part, rows: refine(part, grid, start.take(rows), plan))


def in_parts(batch: ImageBatch, most: int, work: Callable[[ImageBatch, torch.Tensor], Candidates]) -> Candidates:
    """`work` on parts of the batch, of at most so many particles, and their rows."""
    rows = torch.arange(len(batch), device=batch.hartley.device)
    parts = [work(batch if len(part) == len(batch) else batch.take(part), part) for part in rows.split(most)]
    return parts[0] if len(parts) == 1 else Candidates.joined(parts)


def refine(batch: ImageBatch, grid: torch.Tensor, start: Candidates, plan: SearchPlan) -> Candidates:
    """The best pose of each particle near the given candidates, in steps that halve each time."""
    angle, step = plan.angle / 2, plan.shift_step / 2
    found = start
    for kept, n in zip(plan.keep, plan.frequencies, strict=True):
        found = refine_candidates(batch, grid, found.best(kept), n, angle, step, plan.contrast)
        angle, step = angle / 2, step / 2
    return found.best(1)


@torch.no_grad()
def pose_errors(batch: ImageBatch, grid: torch.Tensor, poses: Candidates, plan: SearchPlan) -> Candidates:
    """The given poses (one each) with their errors on the finest frequencies: nothing is searched."""
    n = plan.frequencies[-1]

    def work(part: ImageBatch, rows: torch.Tensor) -> Candidates:
        here = poses.take(rows)
        image = Parts.of_images(part, n).moved_back(here.shifts, part.box_px)
        reference = Parts.of_slices(grid, here.rotations, image.plane)
        overlap = (image.even * reference.even + image.odd * reference.odd).sum(2)
        power = (part.ctf[:, None, :n:2].square() * reference.power()).sum(2)
        found = plan.contrast.error(overlap, power), plan.contrast.most_likely(overlap, power), 2 * power
        return Candidates(here.rotations, here.shifts, *found)

    return in_parts(batch, plan.batch, work)
