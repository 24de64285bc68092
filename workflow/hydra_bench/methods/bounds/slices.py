"""Images at known poses as rows of one sparse matrix: samples of a Fourier grid, for maps that are learned by EM.

Row (i, p) of the matrix holds the trilinear weights with which sample p of image i is cut from the grid; its
transpose puts samples into the grid. Only half of each image's samples (kx >= 0) are kept, since images are real.
The grid (G, G, G), z, y, x, has its origin at G//2 and G odd, so that turning all three axes round is k -> -k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.types import ComplexArray, FloatArray, IntArray
from hydra_bench.physics.fourier import fft_centred, frequency_plane, frequency_radius, shift_factors
from hydra_bench.physics.projection import PADDING

_CHUNK = 256


@dataclass(frozen=True)
class Slices:
    """n images, P samples each, up to l cycles per box.

    matrix (n·P, G³) and its transpose; images (n, P) complex, centred; ctf (n, P); shells (P,), each sample's |k|
    rounded; grid_shells (G³,), in the same unit.
    """

    matrix: csr_matrix
    transposed: csr_matrix
    images: ComplexArray
    ctf: FloatArray
    shells: IntArray
    grid_shells: IntArray

    def __len__(self) -> int:
        return len(self.images)

    def cut(self, maps: ComplexArray) -> ComplexArray:
        """Slices (K, n, P) of maps (K, G³) complex, at the images' poses."""
        columns = np.concatenate([maps.real, maps.imag]).astype(np.float32).T
        real, imaginary = np.split((self.matrix @ np.ascontiguousarray(columns)).T, 2)
        return (real + 1j * imaginary).reshape(len(maps), *self.images.shape)

    def put(self, samples: FloatArray | ComplexArray) -> FloatArray | ComplexArray:
        """Grids (K, G³) of real or complex samples (K, n, P), each sample also at -k as its conjugate."""
        parts = [samples.real, samples.imag] if np.iscomplexobj(samples) else [samples]
        columns = np.concatenate(parts).reshape(len(parts) * len(samples), -1).astype(np.float32).T
        summed: FloatArray = (self.transposed @ np.ascontiguousarray(columns)).T
        if not np.iscomplexobj(samples):
            return summed + summed[:, ::-1]
        real, imaginary = np.split(summed, 2)
        return real + real[:, ::-1] + 1j * (imaginary - imaginary[:, ::-1])


def read_slices(stack: Stack, members: IntArray, rotations: FloatArray, shifts_A: FloatArray, l_max: int) -> Slices:
    """The given particles (n,) of a stack; rotations (N, 3, 3) and shifts (N, 2) are of the whole stack."""
    box = stack.box_px
    plane = frequency_plane(box)
    radius = plane.norm(dim=1)
    half = (plane[:, 0] > 0) | ((plane[:, 0] == 0) & (plane[:, 1] > 0))
    plane = plane[half & (radius <= l_max)]
    images, ctfs = [], []
    for start in range(0, len(members), _CHUNK):
        part = members[start : start + _CHUNK]
        transforms = fft_centred(torch.from_numpy(stack.read_images(part)), 2).flatten(1)
        centring = shift_factors(torch.from_numpy(-shifts_A[part] / stack.pixel_size_A), plane, box)
        images.append((transforms[:, half & (radius <= l_max)] * centring).numpy())
        ctfs.append(stack.transfer(part, plane / (box * stack.pixel_size_A)).numpy())
    size = 2 * (PADDING * l_max + 1) + 1
    matrix = _weights(PADDING * plane.numpy() @ rotations[members].astype(np.float32), size)
    return Slices(
        matrix=matrix,
        transposed=matrix.T.tocsr(),
        images=np.concatenate(images),
        ctf=np.concatenate(ctfs),
        shells=plane.norm(dim=1).round().long().numpy(),
        grid_shells=(frequency_radius(size, 3).flatten() / PADDING).round().long().numpy(),
    )


def _weights(points: FloatArray, size: int) -> csr_matrix:
    """Trilinear weights (n·P, size³) of points (n, P, 3), (x, y, z) in voxels from the origin."""
    position = points.reshape(-1, 3) + size // 2
    corner = np.floor(position).astype(np.int32)
    fraction = (position - corner).astype(np.float32)
    columns = np.empty((len(position), 8), dtype=np.int32)
    weights = np.empty((len(position), 8), dtype=np.float32)
    for j, offset in enumerate(np.ndindex(2, 2, 2)):
        x, y, z = (corner + np.array(offset, dtype=np.int32)).T
        columns[:, j] = (z * size + y) * size + x
        weights[:, j] = np.where(offset, fraction, 1 - fraction).prod(1)
    starts = np.arange(0, 8 * len(position) + 1, 8)
    return csr_matrix((weights.ravel(), columns.ravel(), starts), shape=(len(position), size**3))
