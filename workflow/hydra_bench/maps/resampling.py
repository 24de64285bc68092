"""Sampling a map's transform anywhere: rotations and mirrors of it, as the alignment tries them.

The map is padded twofold, so that trilinear interpolation between its Fourier samples is accurate, and
divided beforehand by the sinc² that this interpolation multiplies it with. Only the half kx >= 0 of the
transform is kept: the map is real, so F(-k) is the conjugate of F(k).
"""

from __future__ import annotations

import math

import torch

from hydra_bench.physics.fourier import centre_pad
from hydra_bench.physics.projection import PADDING, interpolation_falloff


def half_ball(limit: float, device: torch.device | None = None) -> torch.Tensor:
    """Frequencies (P, 3) as (kx, ky, kz), kx >= 0 and 0 < |k| < limit, in cycles per box; int64.

    On the plane kx = 0 both k and -k are listed.
    """
    reach = math.ceil(limit)
    k = torch.arange(-reach, reach + 1, device=device)
    kz, ky, kx = torch.meshgrid(k, k, k[reach:], indexing="ij")
    points = torch.stack([kx, ky, kz], -1).reshape(-1, 3)
    squared = points.square().sum(-1)
    return points[(squared > 0) & (squared < limit**2)]


class HalfTransform:
    """The transform of a map (D, D, D) up to |k| = radius, ready to be sampled at any frequency."""

    def __init__(self, volume: torch.Tensor, radius: int) -> None:
        self.box, self.radius = volume.shape[-1], radius
        self._reach = PADDING * radius + 2
        padded = centre_pad(
            volume / interpolation_falloff(self.box, PADDING * self.box).to(volume.device), PADDING * self.box, 3
        )
        f = torch.fft.rfftn(torch.fft.ifftshift(padded))
        index = torch.arange(-self._reach, self._reach + 1, device=volume.device)
        inside = (index.abs() <= self.box * PADDING // 2).float()
        f = f[index[:, None] % f.shape[0], index % f.shape[1]][:, :, : self._reach + 1]
        f = f * (inside[:, None, None] * inside[:, None])
        self._samples = torch.view_as_real(f).permute(3, 0, 1, 2).contiguous()

    def scaled(self, factors: torch.Tensor) -> HalfTransform:
        """A copy with F(k) multiplied by a function of |k|, given at |k| = 0, 1, … radius + 1, made linear between."""
        axis = torch.arange(-self._reach, self._reach + 1, device=factors.device) / PADDING
        x_axis = axis[self._reach : self._reach + self._samples.shape[-1]]
        r = (axis[:, None, None].square() + axis[:, None].square() + x_axis.square()).sqrt()
        r = r.clamp(max=len(factors) - 1.001)
        lower = r.long()
        copy = object.__new__(HalfTransform)
        copy.box, copy.radius, copy._reach = self.box, self.radius, self._reach
        copy._samples = self._samples * torch.lerp(factors[lower], factors[lower + 1], r - lower)
        return copy

    def at(self, k: torch.Tensor) -> torch.Tensor:
        """F at frequencies k (..., 3), (x, y, z) in cycles per box; complex (...). Differentiable in k."""
        side = torch.where(k[..., 0] < 0, -1.0, 1.0)
        lowest = torch.tensor([0, -self._reach, -self._reach], device=k.device)
        extent = torch.tensor(self._samples.shape[:0:-1], device=k.device) - 1
        grid = (k * (2 * PADDING * side[..., None]) - 2 * lowest) / extent - 1
        values = torch.nn.functional.grid_sample(
            self._samples[None],
            grid.reshape(1, 1, 1, -1, 3),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=True,
        )
        real, imaginary = values.reshape(2, *side.shape)
        return torch.complex(real, imaginary * side)
