"""Projections of a map by Fourier slices, and the real-space side of interpolating in Fourier space."""

import torch

from hydra_bench.physics.fourier import centre_crop, centre_pad, fft_centred, ifft_centred, slice_volume

SIMULATION_PADDING = 2.5
"""Oversampling of the transform that simulated images are cut from; interpolation errs as its inverse square, and
memory grows with its cube."""

PADDING = 2
"""Oversampling where maps are searched with or back-projected, and speed and memory count."""


def interpolation_falloff(box: int, padded_box: int) -> torch.Tensor:
    """What trilinear interpolation between padded Fourier voxels does in real space: (box,)*3.

    Interpolating with a triangle one voxel wide multiplies the map by sinc²(x/P) along each axis; maps are
    divided by it before slicing, or after back-projection.
    """
    x = (torch.arange(box, dtype=torch.float32) - box // 2) / padded_box
    window = torch.sinc(x).square()
    return window[:, None, None] * window[:, None] * window


def half_plane(box: int) -> torch.Tensor:
    """Frequencies (D·(D//2+1), 3) as (kx, ky, 0) of a real image's transform: kx >= 0, in rfft's order."""
    ky, kx = torch.fft.fftfreq(box, 1 / box), torch.arange(box // 2 + 1, dtype=torch.float32)
    return torch.stack([*torch.meshgrid(ky, kx, indexing="ij")[::-1], torch.zeros(box, len(kx))], -1).reshape(-1, 3)


def slicing_transform(volume: torch.Tensor) -> torch.Tensor:
    """The padded transform (2, P, P, P) of a map (D, D, D), D even, to cut slices from."""
    box = volume.shape[-1]
    padded = int(SIMULATION_PADDING * box)
    transform = fft_centred(centre_pad(volume / interpolation_falloff(box, padded), padded, 3), 3)
    # Zero frequency is always on the grid, where nothing is interpolated and so nothing must be divided out.
    transform[(padded // 2,) * 3] = volume.sum()
    return torch.view_as_real(transform).permute(3, 0, 1, 2)


def central_slices(transform: torch.Tensor, rotations: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    """Transforms of projections (B, n), complex, at frequencies (n, 3), for rotations (B, 3, 3), map to view."""
    real, imaginary = slice_volume(transform, SIMULATION_PADDING * plane @ rotations.float())
    return torch.complex(real, imaginary)


def images_from_half_planes(transforms: torch.Tensor, box: int) -> torch.Tensor:
    """Real images (B, D, D), origin at D//2, of transforms (B, D·(D//2+1)) on `half_plane`."""
    corner = torch.fft.irfft2(transforms.reshape(-1, box, box // 2 + 1), s=(box, box))
    images: torch.Tensor = torch.fft.fftshift(corner, dim=(-2, -1))
    return images


def project(volume: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Projections (B, D, D) of a map (D, D, D) along the views' z: the sum over voxels."""
    box = volume.shape[-1]
    return images_from_half_planes(central_slices(slicing_transform(volume), rotations, half_plane(box)), box)


def map_from_padded(transform: torch.Tensor, box: int) -> torch.Tensor:
    """The map (D, D, D) of a padded transform (P, P, P) made by trilinear insertion of slices."""
    padded = transform.shape[-1]
    return centre_crop(ifft_centred(transform, 3).real, box, 3) / interpolation_falloff(box, padded)
