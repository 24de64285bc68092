"""The contrast transfer function.

CTF(s) = scale · exp(-B s²/4) · sin(χ(s) + asin(w) + phase shift), χ = π λ Δf s² - (π/2) Cs λ³ s⁴: RELION's sign, +w at
zero frequency, so that image = CTF x projection of a positive density shows white particles. cryoDRGN's
function is the negative of it.
Source: Rohou & Grigorieff, J. Struct. Biol. 192 (2015) 216, equations 2-5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hydra_bench.core.on_device import on_device
from hydra_bench.core.types import FloatArray, IntArray


@dataclass(frozen=True)
class Optics:
    """The microscope: voltage (kV), spherical aberration (mm), amplitude contrast.

    Each is one number that all particles share, or (N,), one a particle: stacks of several optics groups.
    """

    voltage_kV: float | FloatArray
    spherical_aberration_mm: float | FloatArray
    amplitude_contrast: float | FloatArray

    @classmethod
    def of_particles(cls, *fields: FloatArray) -> Optics:
        """Of the three fields (N,) each: one number where all particles share it, which is quicker to compute with."""
        return cls(*(float(field[0]) if (field == field[0]).all() else field for field in fields))

    def take(self, indices: IntArray) -> Optics:
        """The optics of the given particles; what is shared stays one number."""
        fields = (self.voltage_kV, self.spherical_aberration_mm, self.amplitude_contrast)
        return Optics(*(field[indices] if isinstance(field, np.ndarray) else field for field in fields))


@dataclass(frozen=True)
class Defocus:
    """Per particle, each (N,): defocus U and V in Å, angle of U from x in degrees, phase shift in degrees.

    And what the CTF is multiplied by, if it is: exp(-B s²/4) of a B-factor in Å², and a scale.
    """

    u_A: FloatArray
    v_A: FloatArray
    angle_deg: FloatArray
    phase_shift_deg: FloatArray
    b_factor_A2: FloatArray | None = None
    scale: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.u_A)

    def take(self, indices: IntArray) -> Defocus:
        return Defocus(
            *(field[indices] for field in (self.u_A, self.v_A, self.angle_deg, self.phase_shift_deg)),
            *(None if field is None else field[indices] for field in (self.b_factor_A2, self.scale)),
        )


def electron_wavelength_A(voltage_kV: float | FloatArray) -> float | FloatArray:
    """Relativistic electron wavelength in Å (0.0197 Å at 300 kV)."""
    volts = voltage_kV * 1e3
    return 12.2642596 / np.sqrt(volts * (1 + 0.978475598e-6 * volts))


def contrast_transfer(frequencies: torch.Tensor, defocus: Defocus, optics: Optics) -> torch.Tensor:
    """CTF of B particles at P frequencies.

    Parameters
    ----------
    frequencies : (P, 2) or (P, 3), (kx, ky[, 0]) in 1/Å.
    optics : of one number each, or (B,): those of the same particles as `defocus`.

    Returns
    -------
    (B, P) float32, dimensionless, in [-1, 1] but for a scale or a negative B-factor.
    """
    wavelength, aberration_mm, offset = (
        _on(frequencies, field)[:, None] if isinstance(field, np.ndarray) else float(field)
        for field in (
            electron_wavelength_A(optics.voltage_kV),
            optics.spherical_aberration_mm,
            np.arcsin(optics.amplitude_contrast),
        )
    )
    kx, ky = frequencies[:, 0].double(), frequencies[:, 1].double()
    s2 = kx.square() + ky.square()
    u, v, angle, phase = (
        _on(frequencies, a)
        for a in (defocus.u_A, defocus.v_A, np.radians(defocus.angle_deg), np.radians(defocus.phase_shift_deg))
    )
    # Δf s² = (U+V)/2 s² + (U-V)/2 [(kx²-ky²) cos 2θ + 2 kx ky sin 2θ]: three numbers a particle, one product.
    mean, difference = (u + v) / 2, (u - v) / 2
    particles = torch.stack([mean, difference * torch.cos(2 * angle), difference * torch.sin(2 * angle)], 1)
    defocus_s2 = particles @ torch.stack([s2, kx.square() - ky.square(), 2 * kx * ky])
    aberration = 0.5 * torch.pi * aberration_mm * 1e7 * wavelength**3 * s2.square()
    chi = torch.pi * wavelength * defocus_s2 - aberration
    transfer = torch.sin(chi + offset + phase[:, None])
    if defocus.b_factor_A2 is not None:
        transfer = transfer * torch.exp(-_on(frequencies, defocus.b_factor_A2)[:, None] / 4 * s2)
    if defocus.scale is not None:
        transfer = transfer * _on(frequencies, defocus.scale)[:, None]
    return transfer.float()


def _on(frequencies: torch.Tensor, field: FloatArray) -> torch.Tensor:
    """Numbers (B,) as float64 where the frequencies are."""
    return on_device(torch.from_numpy(np.array(field, dtype=np.float64)), frequencies.device)
