"""Masks that maps are multiplied by, all soft: a cut that is sharp would itself correlate at high frequencies."""

import numpy as np
from scipy.ndimage import distance_transform_edt

LOWPASS_A, LOWPASS_PX = 20.0, 3.0
"""A map is smoothed to the coarser of these before its outline is drawn."""
SHARE_OF_PEAK, GROWN_PX, EDGE_PX = 0.15, 1.0, 3.0
"""The outline: where the smooth map exceeds this share of its 99.9th percentile, grown, with a soft edge beyond."""
SOFT_MASK_TEXT = (
    f"{SHARE_OF_PEAK:.0%} of the peak of the map smoothed to {LOWPASS_A:g} Å ({LOWPASS_PX:g} px where coarser), "
    f"grown by {GROWN_PX:g} px, with a soft edge of {EDGE_PX:g} px"
)
"""How a soft mask is made, in words."""


def soft_mask(volume: np.ndarray, pixel_size_A: float) -> np.ndarray:
    """A mask (D, D, D), float32 from 0 to 1, around the density of a map (D, D, D); 1 everywhere for an empty map."""
    frequency = np.fft.fftfreq(len(volume), pixel_size_A)
    squared = frequency[:, None, None] ** 2 + frequency[:, None] ** 2 + frequency[: len(volume) // 2 + 1] ** 2
    lowpass_A = max(LOWPASS_A, LOWPASS_PX * pixel_size_A)
    # A Gaussian that is a half at the frequency of the resolution.
    kept = np.fft.rfftn(volume) * np.exp(-np.log(2) * squared * lowpass_A**2)
    smooth = np.fft.irfftn(kept, s=volume.shape, axes=(0, 1, 2))
    peak = np.percentile(smooth, 99.9)
    if not peak > 0:
        return np.ones(volume.shape, dtype=np.float32)
    return _falling(distance_transform_edt(smooth <= SHARE_OF_PEAK * peak), GROWN_PX, EDGE_PX)


def spherical_mask(box_px: int, diameter_px: float, edge_px: float = 4.0) -> np.ndarray:
    """A sphere (D, D, D) about the origin, float32, falling to 0 over `edge_px` as a raised cosine."""
    k = np.arange(box_px) - box_px // 2
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    return _falling(radius, diameter_px / 2, edge_px)


def _falling(distance_px: np.ndarray, start_px: float, edge_px: float) -> np.ndarray:
    """1 up to a distance, and from there on a raised cosine that ends in 0 at the edge."""
    position = np.clip((distance_px - start_px) / edge_px, 0, 1)
    mask: np.ndarray = (0.5 * (1 + np.cos(np.pi * position))).astype(np.float32)
    return mask
