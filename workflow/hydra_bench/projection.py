"""Projections of a map by Fourier slices."""

from __future__ import annotations

import torch

from hydra_bench.fourier import centre_crop, centre_pad, fft_centred, frequency_plane, ifft_centred, slice_volume

PADDING = 2
"""Oversampling of the transform that slices are cut from."""


def interpolation_falloff(box: int, padded_box: int) -> torch.Tensor:
    """What trilinear interpolation between padded Fourier voxels does in real space: (box,)*3.

    Interpolating with a triangle one voxel wide multiplies the map by sinc²(x/P) along each axis; maps are
    divided by it before slicing (or after back-projection).
    """
    x = (torch.arange(box, dtype=torch.float32) - box // 2) / padded_box
    window = torch.sinc(x).square()
    return window[:, None, None] * window[:, None] * window


def slicing_transform(volume: torch.Tensor) -> torch.Tensor:
    """The padded transform (2, P, P, P) of a map (D, D, D), real and imaginary part, to cut slices from."""
    box = volume.shape[-1]
    padded = PADDING * box
    transform = fft_centred(centre_pad(volume / interpolation_falloff(box, padded), padded, 3), 3)
    return torch.stack([transform.real, transform.imag])


def central_slices(transform: torch.Tensor, rotations: torch.Tensor, box: int) -> torch.Tensor:
    """Transforms of projections (B, D²), complex, for rotations (B, 3, 3) from map to view."""
    points = PADDING * frequency_plane(box) @ rotations.float()
    real, imaginary = slice_volume(transform, points)
    return torch.complex(real, imaginary)


def shift_factors(shifts_px: torch.Tensor, box: int) -> torch.Tensor:
    """Fourier factors (B, D²) that move images by shifts (B, 2), (x, y) in px of this box."""
    phase = -2 * torch.pi / box * (shifts_px.float() @ frequency_plane(box)[:, :2].T)
    return torch.polar(torch.ones_like(phase), phase)


def images_from_transforms(transforms: torch.Tensor, box: int) -> torch.Tensor:
    """Real images (B, D, D) of centred transforms (B, D²)."""
    return ifft_centred(transforms.reshape(-1, box, box), 2).real


def project(volume: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Projections (B, D, D) of a map (D, D, D) along the views' z: the sum over voxels."""
    box = volume.shape[-1]
    return images_from_transforms(central_slices(slicing_transform(volume), rotations, box), box)


def map_from_padded(transform: torch.Tensor, box: int) -> torch.Tensor:
    """The map (D, D, D) of a padded transform (P, P, P) made by trilinear insertion of slices."""
    padded = transform.shape[-1]
    return centre_crop(ifft_centred(transform, 3).real, box, 3) / interpolation_falloff(box, padded)
