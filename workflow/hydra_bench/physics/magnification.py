"""Magnification that is not the same in all directions.

An image whose transform at k (cycles per px) is that of the undistorted projection at M k is RELION's model, with M in
rlnMagMat: Zivanov, Nakane, Scheres, IUCrJ 7 (2020) 253. Undistorted, it is f(Mᵀ x) det M: sampled here by its own
Fourier series, along one axis and then along the other, so that no interpolation blurs it.
"""

import numpy as np
import torch

from hydra_bench.core.types import FloatArray


def undistorted(images: FloatArray, matrices: FloatArray) -> FloatArray:
    """Images (B, D, D) as they would be at the same magnification in all directions, float32.

    matrices (B, 2, 2), on (kx, ky), not singular. Content that would come to lie beyond Nyquist is left out.
    """
    result = np.empty_like(images, dtype=np.float32)
    kinds, kind_of = np.unique(matrices, axis=0, return_inverse=True)
    for number, matrix in enumerate(kinds):
        rows = np.flatnonzero(kind_of.ravel() == number)
        result[rows] = _sampled(torch.from_numpy(images[rows]), matrix.T).numpy()
    return result


def undistorted_shifts(shifts: FloatArray, matrices: FloatArray | None) -> FloatArray:
    """Displacements (N, 2) of particles in images as they were recorded, as they are in the undistorted ones.

    Displaced by t in an undistorted image, a particle is displaced by Mᵀ t in the recorded one; matrices (N, 2, 2) are
    None where all are neutral.
    """
    if matrices is None:
        return shifts
    undone: FloatArray = np.linalg.solve(matrices.swapaxes(1, 2), shifts[:, :, None])[:, :, 0]
    return undone


def recorded_shifts(shifts: FloatArray, matrices: FloatArray | None) -> FloatArray:
    """The inverse of `undistorted_shifts`: displacements (N, 2) as they are in the images as they were recorded."""
    return shifts if matrices is None else np.einsum("nji,nj->ni", matrices, shifts)


def _sampled(images: torch.Tensor, matrix: FloatArray) -> torch.Tensor:
    """|det N| f(N x) of images f (B, y, x) for one matrix N (2, 2) on (x, y), about the pixel D//2."""
    (a, b), (c, d) = matrix.tolist()
    # u = a x + b y, v = c x + d y: first v for each u, which is (c/a) u + (det/a) y; then u for each y.
    determinant = a * d - b * c
    columns = _along_last_axis(images.transpose(1, 2), determinant / a, c / a)
    rows = _along_last_axis(columns.transpose(1, 2), a, b)
    return rows * float(abs(determinant))


def _along_last_axis(lines: torch.Tensor, scale: float, shear: float) -> torch.Tensor:
    """Lines (B, n, D) at scale * j + shear * (number of the line), both counted from D//2, by their Fourier series."""
    size = lines.shape[-1]
    place = (torch.arange(size) - size // 2).double()
    wave = (torch.fft.fftfreq(size) * 2 * torch.pi).double()
    kept = (wave * scale).abs() <= torch.pi
    transform = torch.fft.fft(torch.fft.ifftshift(lines, dim=-1), dim=-1)
    shifts = torch.polar(kept.double().expand(size, -1), shear * torch.outer(place, wave))
    series = torch.polar(torch.full((size, size), 1 / size).double(), scale * torch.outer(wave, place))
    sampled: torch.Tensor = (transform * shifts.to(torch.complex64)) @ series.to(torch.complex64)
    return sampled.real
