"""A density map in place of atoms, where no atoms are to be had: read, and brought to the grid of a simulation.

Its values are taken as they are, so its particles are as bright beside those of other species as it says itself, unless
its mass is given: then it is scaled so that its density above the surrounding is that of so much protein.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from hydra_bench.core.errors import InputError
from hydra_bench.core.mrc import read_map
from hydra_bench.datasets.simulated.entries import Folders, find_entry
from hydra_bench.physics.fourier import fft_centred, frequency_radius, ifft_centred

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
        own, outside = torch.from_numpy(self.volume).float(), float(self._surrounding())
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
    if not np.isfinite(volume).all() or volume.min() == volume.max():
        raise InputError(f"{path}: holds values that are no numbers, or one value only")
    if len(volume) % 2:
        raise InputError(f"{path}: box {len(volume)}; an even one is expected, whose origin is a voxel")
    return VolumeSource(path, volume, pixel, mass_kDa)
