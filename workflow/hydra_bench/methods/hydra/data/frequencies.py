"""The order in which an image's Hartley coefficients are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hydra_bench.physics.fourier import frequency_plane, hartley_moved_back, shift_phases


@dataclass(frozen=True)
class Frequencies:
    """All frequencies with 0 < |k| <= l_max of a box, rising in |k|, each beside its negative.

    Rising order makes the disc |k| <= l the first `count(l)` entries, so that every resolution is a
    prefix and nothing is copied; pairs make the negative of entry j the entry j ^ 1.

    plane : (n, 3) as (kx, ky, 0), cycles per box. The box may be even or odd.
    """

    plane: torch.Tensor
    box_px: int

    @classmethod
    def of_box(cls, box_px: int, l_max: int | None = None) -> Frequencies:
        """Up to l_max, or to the last ring that is whole."""
        l_max = largest_l(box_px) if l_max is None else l_max
        plane = frequency_plane(box_px)
        radius2 = plane.square().sum(1)
        kx, ky = plane[:, 0], plane[:, 1]
        positive = (ky > 0) | ((ky == 0) & (kx > 0))
        half = (positive & (radius2 <= l_max**2)).nonzero()[:, 0]
        half = half[torch.argsort(radius2[half], stable=True)]
        return cls(torch.stack([plane[half], -plane[half]], 1).reshape(-1, 3), box_px)

    def __len__(self) -> int:
        return len(self.plane)

    def count(self, l: int) -> int:
        """The number of frequencies with 0 < |k| <= l."""
        return int((self.plane.square().sum(1) <= l * l).sum())

    def pixels(self, box_px: int) -> torch.Tensor:
        """Indices (n,) of the frequencies in a flattened centred transform of a box of this size or larger."""
        kx, ky = self.plane[:, 0].long(), self.plane[:, 1].long()
        return (ky + box_px // 2) * box_px + kx + box_px // 2

    def to(self, device: torch.device) -> Frequencies:
        return Frequencies(self.plane.to(device), self.box_px)


def largest_l(box_px: int) -> int:
    """The largest l whose frequencies all have a partner -k in a box, even or odd."""
    return (box_px - 1) // 2


def random_pairs(n: int, m: int, generator: torch.Generator) -> torch.Tensor:
    """Indices (about m,) of random frequencies of the first n, rising, each beside its negative; all n for m = 0."""
    if not 0 < m < n:
        return torch.arange(n)
    pairs = torch.randperm(n // 2, generator=generator)[: max(1, m // 2)].sort().values
    return torch.stack([2 * pairs, 2 * pairs + 1], 1).flatten()


def swap_negatives(x: torch.Tensor) -> torch.Tensor:
    """x (..., n) with each entry replaced by that of the negative frequency."""
    swapped: torch.Tensor = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return swapped


def centred_images(hartley: torch.Tensor, shifts_px: torch.Tensor, plane: torch.Tensor, box_px: int) -> torch.Tensor:
    """Hartley images (..., n) of particles displaced by shifts (..., 2), moved back to the centre: (..., n)."""
    return hartley_moved_back(hartley, swap_negatives(hartley), shift_phases(shifts_px, plane, box_px))
