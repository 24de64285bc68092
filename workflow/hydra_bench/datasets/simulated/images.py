"""Noise-free images of a map, how much their pixels vary, and the noise that is added to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from hydra_bench.datasets.simulated.imaging import Imaging, Particles
from hydra_bench.physics.ctf import contrast_transfer
from hydra_bench.physics.fourier import fourier_crop, shift_factors
from hydra_bench.physics.projection import central_slices, half_plane, images_from_half_planes, slicing_transform

_CHUNK = 128
_SNR_SAMPLE = 1000
_TAIL_SAMPLE = 64


def slicing_map(full: torch.Tensor, imaging: Imaging) -> torch.Tensor:
    """The map that slices are cut from: with frequencies up to the corners of the delivered images' transforms."""
    wanted = int(np.ceil(np.sqrt(2) * imaging.delivered_box_px / 2)) * 2 + 4
    return fourier_crop(full, min(wanted, imaging.box_px), 3)


def projections(
    full: torch.Tensor, members: np.ndarray, particles: Particles, imaging: Imaging
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Noise-free images of one full-box map (D, D, D), in chunks at the delivered box d.

    Yields particle numbers (B,) and images (B, d, d), the integral of density along the view, in Å x map units.
    """
    if not len(members):  # a rare state: the transform is the costly part
        return
    box, pixel = imaging.delivered_box_px, imaging.delivered_pixel_size_A
    volume = slicing_map(full, imaging)
    voxel = imaging.box_px * imaging.pixel_size_A / volume.shape[-1]
    transform = slicing_transform(volume * (voxel**3 / pixel**2))
    plane = half_plane(box)
    frequencies = plane / (box * pixel)
    for start in range(0, len(members), _CHUNK):
        part = members[start : start + _CHUNK]
        slices = central_slices(transform, torch.from_numpy(particles.rotations[part]), plane)
        slices *= shift_factors(torch.from_numpy(particles.shifts_A[part] / pixel), plane, box)
        slices *= contrast_transfer(frequencies, particles.defocus.take(part), particles.optics.take(part))
        yield part, images_from_half_planes(slices, box)


def particle_noise(numbers: np.ndarray, box: int, seed: int) -> np.ndarray:
    """White noise (B, D, D), float32, standard deviation 1; each particle has a stream of its own."""
    noise = np.empty((len(numbers), box, box), dtype=np.float32)
    for image, number in zip(noise, numbers, strict=True):
        stream = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, int(number)]))
        stream.standard_normal(out=image, dtype=np.float32)
    return noise


def signal_variances(full: torch.Tensor, members: np.ndarray, particles: Particles, imaging: Imaging) -> torch.Tensor:
    """Variances (n,) over the full image of those of a map's particles that the SNR is measured on, float64.

    These are the ones among the first 1,000 of all, which are in random order: measured on their images at the
    delivered box, to which is added what frequencies beyond it have at the full box.
    """
    members = members[members < _SNR_SAMPLE]
    beyond = variance_beyond(full, members[:_TAIL_SAMPLE], particles, imaging)
    chunks = [images.var((1, 2), correction=0) for _, images in projections(full, members, particles, imaging)]
    return torch.cat([torch.zeros(0, dtype=torch.float64), *(chunk.double() + beyond for chunk in chunks)])


def noise_deviation(variances: Sequence[torch.Tensor], snr: float) -> float:
    """Standard deviation of the full-box noise that gives the SNR, of the variances that each map's images have."""
    return float((torch.cat(list(variances)).mean() / snr).sqrt())


def variance_beyond(full: torch.Tensor, members: np.ndarray, particles: Particles, imaging: Imaging) -> float:
    """Mean variance that full-box images of a map (D, D, D) have at frequencies that the delivered box cuts off.

    Of uniformly distributed views the mean of |F|² over the slices is its mean over shells of the map's transform. So
    no image of the full box is needed, whose padded transform would be the largest thing in memory by far.
    """
    box, pixel = imaging.box_px, imaging.pixel_size_A
    if imaging.delivered_box_px == box or not len(members):
        return 0.0
    power = shell_power(full)
    plane = half_plane(box)
    kx, ky = plane[:, 0], plane[:, 1]
    outside = (kx.abs() >= imaging.delivered_box_px / 2) | (ky.abs() >= imaging.delivered_box_px / 2)
    # A half plane stands for the whole one: all but its edges kx = 0 and kx = D/2 count twice.
    weight = torch.where((kx == 0) | (kx == box / 2), 1.0, 2.0)[outside].double()
    shells = plane[outside].norm(dim=1).round().long()
    frequencies = plane[outside] / (box * pixel)
    ctf = contrast_transfer(frequencies, particles.defocus.take(members), particles.optics.take(members))
    return float((ctf.double().square() @ (weight * power[shells])).mean() * pixel**2 / box**4)


def shell_power(volume: torch.Tensor) -> torch.Tensor:
    """Mean |F|² of a map's transform, unnormalised, over the shells |k| = 0, 1, … to the corners; float64."""
    transform = torch.fft.rfftn(volume)
    k = torch.fft.fftfreq(len(volume), 1 / len(volume))
    kx = torch.arange(transform.shape[-1], dtype=torch.float32)
    shells = (k[:, None, None].square() + k[:, None].square() + kx.square()).sqrt().round().long().flatten()
    # kx = 0 is listed with k and -k, the others with one of both: of the same |F|, so the mean hardly cares.
    power = torch.bincount(shells, weights=transform.abs().square().double().flatten())
    return power / torch.bincount(shells).clamp(min=1)
