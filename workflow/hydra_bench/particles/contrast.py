"""Whether particles are light on dark, as methods take them to be: no file says so of them, but the images show it.

Below the CTF's first zero an image has the density's sign throughout, so that a particle is on average lighter than the
background around it, however noisy its image is, or darker where the contrast is that of a micrograph.
"""

import numpy as np

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.types import FloatArray

_SAMPLE, _FEWEST = 256, 16
_INSIDE, _OUTSIDE = 0.5, 0.9
"""Radii in half boxes: within the one there is particle, beyond the other there is mostly none."""
_CERTAIN_SE = 6.0


def contrast_note(stack: Stack, inverted: bool, advice: str) -> str | None:
    """What to note if particles plainly look dark, or light where they are to be inverted; None otherwise.

    `inverted` says that they will be; `advice` is what mends it. Judged by at most 256 images, evenly spaced.
    Raises InputError if one of those is unusable.
    """
    sample = np.unique(np.linspace(0, len(stack) - 1, _SAMPLE).round().astype(np.int64))
    if len(sample) < _FEWEST:
        return None
    differences = _lightness(stack.read_images(sample))
    deviation = float(differences.std())
    lightness_se = float(differences.mean()) / max(deviation / np.sqrt(len(sample)), 1e-12)
    if (-lightness_se if inverted else lightness_se) > -_CERTAIN_SE:
        return None
    looks, others = ("light", "dark ones to invert") if inverted else ("dark", "light ones")
    so_many = int((differences * lightness_se > 0).sum())
    return (
        f"{stack.path}: its particles look {looks} ({so_many} of {len(sample)} images are {looks}er within than at "
        f"their rim); {others} are expected: {advice}"
    )


def _lightness(images: FloatArray) -> FloatArray:
    """How much lighter each image (B, D, D) is within than at its rim: (B,)."""
    box_px = images.shape[-1]
    axis = (np.arange(box_px) - box_px // 2) / (box_px / 2)
    radius = np.hypot(axis[:, None], axis)
    lighter: FloatArray = images[:, radius <= _INSIDE].mean(1) - images[:, radius >= _OUTSIDE].mean(1)
    return lighter
