"""From atoms to the density that scatters electrons."""

from __future__ import annotations

import math

import gemmi
import numpy as np
import torch

from hydra_bench.datasets.simulated.structures import Atoms
from hydra_bench.physics.fourier import centre_crop, fft_centred, frequency_radius, ifft_centred

_FINEST_VOXEL_A = 1.7
_SAMPLING_BLUR_A2 = 40.0


def density_map(atoms: Atoms, box_px: int, pixel_size_A: float, b_factor_A2: float) -> torch.Tensor:
    """Density of the atoms on a cubic grid, band-limited to it.

    The atoms' electron form factors (the 5-Gaussian fits of Peng et al., Acta Cryst. A52 (1996) 257, as
    gemmi's C4322 tables hold them) are summed on a grid of at most 1.7 Å. An extra B-factor keeps that
    grid free of aliasing; it is divided out in Fourier space before the map is cut to the wanted box.

    Parameters
    ----------
    b_factor_A2 : isotropic B of every atom, in Å²; it replaces the entry's own.

    Returns
    -------
    (D, D, D) float32, z, y, x, the centre of mass at voxel D//2. Its sum times the voxel volume is the
    sum of the atoms' form factors at zero angle, in Å.
    """
    fine = box_px * math.ceil(pixel_size_A / _FINEST_VOXEL_A)
    length = box_px * pixel_size_A
    transform = fft_centred(torch.from_numpy(_sum_on_grid(atoms, fine, length, b_factor_A2)), 3)
    transform = centre_crop(transform, box_px, 3)
    s2 = (frequency_radius(box_px, 3) / length).square()
    transform *= torch.exp(s2 * (_SAMPLING_BLUR_A2 / 4)) * (box_px / fine) ** 3
    return ifft_centred(transform, 3).real.float()


def _sum_on_grid(atoms: Atoms, size: int, length_A: float, b_factor_A2: float) -> np.ndarray:
    """gemmi's density with B = b_factor + sampling blur, (size,)*3 in z, y, x, origin at voxel size//2."""
    model = atoms.model.clone()
    # gemmi's origin is the corner of the cell, ours is voxel size//2.
    origin = (size // 2) * length_A / size
    for site, position in zip(model.all(), atoms.positions_A, strict=True):
        site.atom.pos = gemmi.Position(*(position + origin))
        site.atom.b_iso = b_factor_A2
        site.atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
    calculator = gemmi.DensityCalculatorE()
    # The size is set by hand: initialize_grid would choose one of its own.
    calculator.grid.unit_cell = gemmi.UnitCell(length_A, length_A, length_A, 90, 90, 90)
    calculator.grid.spacegroup = gemmi.SpaceGroup("P 1")
    calculator.grid.set_size(size, size, size)
    calculator.blur = _SAMPLING_BLUR_A2
    calculator.add_model_density_to_grid(model)
    return np.ascontiguousarray(calculator.grid.array.transpose(2, 1, 0))
