"""The map of a state: the density of atoms that scatters electrons, or a given map brought to a simulation's grid.

A given map's values are taken as they are, so its particles are as bright beside those of other species as it says
itself, unless its mass is given: then it is scaled so that its density above the surrounding is that of so much
protein.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
import torch
from scipy import ndimage

from hydra_bench.core.errors import InputError
from hydra_bench.core.mrc import read_map
from hydra_bench.datasets.simulated.entries import Folders, find_entry
from hydra_bench.datasets.simulated.structures import Atoms
from hydra_bench.physics.fourier import fft_centred, frequency_radius, ifft_centred, low_frequencies

_FINEST_VOXEL_A = 1.7
_SAMPLING_BLUR_A2 = 40.0


def density_map(atoms: Atoms, box_px: int, pixel_size_A: float, b_factor_A2: float) -> torch.Tensor:
    """Density of the atoms on a cubic grid, band-limited to it.

    The atoms' electron form factors (the 5-Gaussian fits of Peng et al., Acta Cryst. A52 (1996) 257, as
    gemmi's C4322 tables hold them) are summed on a grid of at most 1.7 Å. An extra B-factor keeps that
    grid nearly free of aliasing; it is divided out in Fourier space before the map is cut to the wanted box. What is
    left of it shows near the Nyquist frequency of pixels that are not far below 1.7 Å: at 1.5 Å the transform errs by
    6 % (rms) at 0.7 to 0.8 of it, 13 % at 0.8 to 0.9 and 29 % beyond for B = 20 Å², by 0.5, 2 and 13 % for B = 100.

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
    low = low_frequencies(torch.from_numpy(_sum_on_grid(atoms, fine, length, b_factor_A2)), box_px)
    axis = torch.fft.fftfreq(box_px, length / box_px)
    s2 = axis[:, None, None].square() + axis[:, None].square() + axis[: box_px // 2 + 1].square()
    low *= torch.exp(s2 * (_SAMPLING_BLUR_A2 / 4)) * (box_px / fine) ** 3
    density: torch.Tensor = torch.fft.irfftn(low, (box_px,) * 3)
    return density


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


FORM_FACTOR_PER_DA = 0.180
"""Sum of electron form factors at zero angle, in Å, of one Da of protein without hydrogens (that of 3jb9's chain A)."""

_VISIBLE = 0.05
"""Share of the largest value above which a voxel counts as the particle, where its extent is asked for."""


@dataclass(frozen=True)
class VolumeSource:
    """A map (D, D, D) in z, y, x, its origin at voxel D//2; mass_kDa None leaves its values as they are."""

    path: Path
    volume: np.ndarray
    pixel_size_A: float
    mass_kDa: float | None = None

    @property
    def diameter_A(self) -> float:
        """Twice the largest distance from the origin of what is visible."""
        above = self.volume - self._surrounding()
        visible = np.argwhere(above > _VISIBLE * above.max())
        return float(2 * self.pixel_size_A * np.linalg.norm(visible - len(above) // 2, axis=1).max())

    def _surrounding(self) -> np.float32:
        """The median outside the sphere that the box holds: solvent."""
        radius = frequency_radius(len(self.volume), 3).numpy()
        return np.float32(np.median(self.volume[radius > len(self.volume) / 2 - 1]))

    def on_grid(self, box_px: int, pixel_size_A: float) -> torch.Tensor:
        """The map (D, D, D) float32 at another box and pixel size, by a cubic spline after a low-pass filter.

        With a mass its sum times the voxel volume is a sum of form factors in Å, as of `density_map`. What the new
        box has beyond the map is filled with the surrounding. Raises InputError if there is no density to scale.
        """
        own = torch.from_numpy(self.volume).float()
        outside = float(self._surrounding())
        if self.mass_kDa is not None:
            own, outside = own - outside, 0.0
            total = float(own.double().sum()) * self.pixel_size_A**3
            if not total > 0:
                raise InputError(f"{self.path}: no density above its surrounding, so mass_kDa cannot scale it")
            own *= self.mass_kDa * 1e3 * FORM_FACTOR_PER_DA / total
        ratio = pixel_size_A / self.pixel_size_A
        if ratio > 1:
            # Frequencies beyond the new grid's Nyquist would alias.
            inside = (torch.arange(len(own)) - len(own) // 2).abs() < len(own) / (2 * ratio)
            cube = inside[:, None, None] & inside[:, None] & inside
            own = ifft_centred(fft_centred(own, 3) * cube, 3).real
        offset = len(own) // 2 - ratio * (box_px // 2)
        shape = (box_px,) * 3
        placed = ndimage.affine_transform(own.numpy(), np.full(3, ratio), offset, shape, order=3, cval=outside)
        return torch.from_numpy(placed)


def load_volume(folders: Folders, entry: str, mass_kDa: float | None = None) -> VolumeSource:
    """Raises InputError if the map is missing, unreadable, not cubic, without pixel size, flat, or not finite."""
    path = find_entry(folders, entry)
    volume, pixel = read_map(path)
    if not 0 < pixel < np.inf:
        raise InputError(f"{path}: pixel size {pixel:g} Å in its header; above 0 is expected")
    if volume.min() == volume.max():
        raise InputError(f"{path}: holds one value only")
    if len(volume) % 2:
        raise InputError(f"{path}: box {len(volume)}; an even one is expected, whose origin is a voxel")
    return VolumeSource(path, volume, pixel, mass_kDa)
