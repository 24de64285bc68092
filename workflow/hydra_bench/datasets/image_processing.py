"""What is done to experimental images before a method sees them, each image by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hydra_bench.physics.fourier import fourier_crop
from hydra_bench.physics.preparation import mean_and_deviation, radius_in_half_boxes, soft_window

_EDGE = 0.1
"""Width of a window's soft edge, as a share of half the box."""


@dataclass(frozen=True)
class Processing:
    """What is to be done.

    box_px: box to Fourier-crop to; sign: +1 or -1; normalise: background, image or none; radii of the background's
    inner edge and of the window, as shares of half the box, None for no window.
    """

    box_px: int
    sign: int = 1
    normalise: str = "background"
    background_radius: float = 0.75
    window_radius: float | None = None

    @classmethod
    def from_definition(cls, particles: dict[str, Any], own_box_px: int) -> Processing:
        """From the configuration's `particles` block."""
        return cls(
            particles["box_px"] or own_box_px,
            1 if particles["contrast"] == "white" else -1,
            *(particles[key] for key in ("normalise", "background_radius", "window_radius")),
        )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Images (B, D, D) as they are to be (B, d, d), float32: sign, crop, normalisation, window, in this order.

        Cropping changes the noise, so it comes before the normalisation; the window after, since it takes noise away.
        """
        result = self.sign * fourier_crop(torch.from_numpy(images), self.box_px, 2)
        if self.normalise != "none":
            mean, deviation = mean_and_deviation(result, self._measured(), correction=0)
            result = (result - mean) / deviation
        if self.window_radius is not None:
            result = result * soft_window(self.box_px, self.window_radius, _EDGE)
        return result.float().numpy()

    def _measured(self) -> torch.Tensor:
        """The pixels (d, d) whose mean becomes 0 and whose deviation becomes 1."""
        if self.normalise == "image":
            return torch.ones(self.box_px, self.box_px, dtype=torch.bool)
        return radius_in_half_boxes(self.box_px) > self.background_radius
