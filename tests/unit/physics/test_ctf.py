"""The CTF against published values and an independent library."""

import numpy as np
import pytest
import torch
from torch_ctf import calculate_ctf_2d

from hydra_bench.physics.ctf import Defocus, Optics, contrast_transfer, electron_wavelength_A
from hydra_bench.physics.fourier import frequency_plane


def defocus(u: float, v: float, angle: float = 0.0, phase: float = 0.0) -> Defocus:
    return Defocus(*(np.array([value]) for value in (u, v, angle, phase)))


def test_published_wavelengths() -> None:
    """Williams & Carter, Transmission Electron Microscopy, table 1.2: 2.51 pm at 200 kV, 1.97 pm at 300 kV."""
    assert electron_wavelength_A(200) == pytest.approx(0.0251, abs=5e-5)
    assert electron_wavelength_A(300) == pytest.approx(0.0197, abs=5e-5)


def test_sign_at_zero_frequency_and_first_zero() -> None:
    optics = Optics(300, 0, 0.1)
    ctf = contrast_transfer(torch.zeros(1, 2), defocus(15000, 15000), optics)
    assert float(ctf) == pytest.approx(0.1, abs=1e-6)
    # Without Cs the first zero is where πλΔf s² + asin(w) = π.
    s = np.sqrt((np.pi - np.arcsin(0.1)) / (np.pi * electron_wavelength_A(300) * 15000))
    near = torch.tensor([[0.99 * s, 0.0], [s, 0.0], [1.01 * s, 0.0]])
    values = contrast_transfer(near, defocus(15000, 15000), optics)[0]
    assert values[0] > 0 > values[2]
    assert abs(float(values[1])) < 1e-3


@pytest.mark.parametrize("phase", [0.0, 35.0])
def test_against_torch_ctf(phase: float) -> None:
    """Astigmatism, aberration and phase plate together."""
    box, pixel, angle = 32, 2.0, 25.0
    ours = contrast_transfer(
        frequency_plane(box) / (box * pixel), defocus(18000, 15000, angle, phase), Optics(300, 2.7, 0.1)
    )
    theirs = calculate_ctf_2d(1.65, 0.15, angle, 300, 2.7, 0.1, phase, pixel, (box, box), rfft=False, fftshift=True)
    torch.testing.assert_close(ours.reshape(box, box), theirs.float(), atol=1e-3, rtol=0)


def test_astigmatism_is_along_its_angle() -> None:
    """U = 20000 Å along 0° (x): the phase there is U's, along y it is V's."""
    frequencies = torch.tensor([[0.02, 0.0], [0.0, 0.02]])
    optics = Optics(300, 2.7, 0.1)
    both = contrast_transfer(frequencies, defocus(20000, 10000), optics)[0]
    u, v = (contrast_transfer(frequencies[:1], defocus(d, d), optics)[0, 0] for d in (20000, 10000))
    torch.testing.assert_close(both, torch.stack([u, v]))
