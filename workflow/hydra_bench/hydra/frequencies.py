"""The order in which an image's Hartley coefficients are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hydra_bench.fourier import frequency_plane


@dataclass(frozen=True)
class Frequencies:
    """All frequencies with 0 < |k| <= l_max of a box, rising in |k|, each beside its negative.

    Rising order makes the disc |k| <= l the first `count(l)` entries, so that every resolution is a
    prefix and nothing is copied; pairs make the negative of entry j the entry j ^ 1.

    plane : (n, 3) as (kx, ky, 0), cycles per box. pixels : (n,) places in the flattened D x D transform.
    """

    plane: torch.Tensor
    pixels: torch.Tensor
    box_px: int

    @classmethod
    def of_box(cls, box_px: int, l_max: int) -> Frequencies:
        plane = frequency_plane(box_px)
        radius2 = plane.square().sum(1)
        kx, ky = plane[:, 0], plane[:, 1]
        positive = (ky > 0) | ((ky == 0) & (kx > 0))
        half = (positive & (radius2 <= l_max**2)).nonzero()[:, 0]
        half = half[torch.argsort(radius2[half], stable=True)]
        pairs = torch.stack([plane[half], -plane[half]], 1).reshape(-1, 3)
        pixels = (pairs[:, 1] + box_px // 2) * box_px + pairs[:, 0] + box_px // 2
        return cls(pairs, pixels.long(), box_px)

    def count(self, l: int) -> int:  # noqa: E741 - the paper's name for the resolution
        """The number of frequencies with 0 < |k| <= l."""
        return int((self.plane.square().sum(1) <= l * l).sum())

    def to(self, device: torch.device) -> Frequencies:
        return Frequencies(self.plane.to(device), self.pixels.to(device), self.box_px)


def swap_negatives(x: torch.Tensor) -> torch.Tensor:
    """x (..., n) with each entry replaced by that of the negative frequency."""
    return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


def shift_phases(shifts_px: torch.Tensor, plane: torch.Tensor, box_px: int) -> torch.Tensor:
    """2π k·t / D for shifts (..., 2) in px and frequencies (n, 3): (..., n)."""
    return (2 * torch.pi / box_px) * (shifts_px @ plane[:, :2].T)


def centred_images(hartley: torch.Tensor, shifts_px: torch.Tensor, plane: torch.Tensor, box_px: int) -> torch.Tensor:
    """Hartley images (B, n) of particles displaced by shifts (B, 2), moved back to the centre: (B, n)."""
    phase = shift_phases(shifts_px, plane, box_px)
    return torch.cos(phase) * hartley - torch.sin(phase) * swap_negatives(hartley)
