"""Fourier shell correlation between two maps, its area, and the resolution it gives.

Two scales, never to be mixed. Ours: the mean of the FSC over shells 1 … D/2-1, a voxel belonging to the
shell that |k| rounds to. CryoBench's (Jeon et al., NeurIPS 2024): the trapezoid of |FSC| over spatial
frequencies 0 … 0.5-1/D in 1/px, with FSC[0] = 1 and shell i = {i-1 <= |k| < i}, so that shell 1 is the DC
voxel alone and two equal maps get 0.49 at D=128.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """curve (D/2-1,): FSC of shells 1 … D/2-1; auc: its mean; cryobench_auc: the other scale."""

    curve: np.ndarray
    auc: float
    cryobench_auc: float


def compare(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> Agreement:
    """FSC of two maps (D, D, D), both multiplied by the mask (D, D, D) if there is one.

    A shell in which one of the maps has no power gets 0.
    """
    if mask is not None:
        a, b = a * mask, b * mask
    fa, fb = (np.fft.rfftn(v.astype(np.float64)).ravel() for v in (a, b))
    box = a.shape[-1]
    rounded, floored, weight = _shells(box)
    products = (fa * fb.conj()).real * weight, np.abs(fa) ** 2 * weight, np.abs(fb) ** 2 * weight
    curve = _correlate(products, rounded)[1 : box // 2]
    cryobench = np.abs(np.concatenate([[1.0], _correlate(products, floored)[: box // 2 - 1]]))
    return Agreement(curve, float(curve.mean()), float(np.trapezoid(cryobench, dx=1 / box)))


@lru_cache(maxsize=2)
def _shells(box: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """|k| rounded, |k| floored, and how many voxels of the full transform stand behind each of the half's."""
    k, kx = np.fft.fftfreq(box, 1 / box), np.fft.rfftfreq(box, 1 / box)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + kx**2).ravel()
    single = (kx == 0) | (kx == box / 2)
    weight = np.broadcast_to(np.where(single, 1.0, 2.0), (box, box, len(kx))).ravel()
    return np.round(radius).astype(np.int64), np.floor(radius).astype(np.int64), weight


def _correlate(products: tuple[np.ndarray, np.ndarray, np.ndarray], shells: np.ndarray) -> np.ndarray:
    cross, power_a, power_b = (np.bincount(shells, p) for p in products)
    scale = np.sqrt(power_a * power_b)
    # Below this a shell holds rounding errors only, as a map limited to low frequencies does.
    present = (power_a > 1e-14 * power_a.max()) & (power_b > 1e-14 * power_b.max()) & (scale > 0)
    return np.where(present, cross / np.where(present, scale, 1.0), 0.0)


def shell_frequencies(box_px: int, pixel_size_A: float) -> np.ndarray:
    """Spatial frequencies (D/2-1,) in 1/Å of the shells of `Agreement.curve`."""
    return np.arange(1, box_px // 2) / (box_px * pixel_size_A)


def resolution(curve: np.ndarray, pixel_size_A: float, threshold: float) -> float | None:
    """Where the FSC first falls below the threshold, in Å, linear between shells.

    None if the first shell is below already; the last shell's resolution if none is.
    """
    box_A = 2 * (len(curve) + 1) * pixel_size_A
    below = np.nonzero(curve < threshold)[0]
    if not len(below):
        return float(box_A / len(curve))
    i = int(below[0])
    if i == 0:
        return None
    shell = i + (curve[i - 1] - threshold) / (curve[i - 1] - curve[i])
    return float(box_A / shell)
