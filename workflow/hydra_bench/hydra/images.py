"""The images, as Hartley coefficients, read from the stack when asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hydra_bench.fourier import hartley
from hydra_bench.hydra.frequencies import Frequencies
from hydra_bench.stack import Stack


@dataclass(frozen=True)
class ImageBatch:
    """B particles on the first n frequencies: Hartley coefficients and CTF, each (B, n).

    Coefficients are divided by the box size: white noise of variance 1 has coefficients of variance 1.
    """

    hartley: torch.Tensor
    ctf: torch.Tensor

    def take(self, rows: torch.Tensor) -> ImageBatch:
        return ImageBatch(self.hartley[rows], self.ctf[rows])


class ImageSource:
    """Batches of a stack. No image is held, so memory does not grow with the stack."""

    def __init__(self, stack: Stack, frequencies: Frequencies, device: torch.device) -> None:
        self._stack, self._frequencies, self._device = stack, frequencies, device
        self._per_A = frequencies.plane / (stack.box_px * stack.pixel_size_A)

    def __len__(self) -> int:
        return len(self._stack)

    def load(self, particles: np.ndarray, n: int) -> ImageBatch:
        """The given particles (B,) on the first n frequencies."""
        images = torch.from_numpy(self._stack.read_images(particles)).to(self._device)
        coefficients = hartley(images, 2).flatten(1)[:, self._frequencies.pixels[:n]] / self._stack.box_px
        return ImageBatch(coefficients, self._stack.transfer(particles, self._per_A[:n]))


def signal_envelope(source: ImageSource, frequencies: Frequencies, rng: np.random.Generator) -> torch.Tensor:
    """Typical magnitude of the map's slices at each |k|, (l_max + 1,), estimated from up to 1,000 images.

    The mean power of the images on a ring is signal x mean CTF² + 1. The estimate is made monotone from the
    outside in, since noise makes single rings unreliable, and is never zero.
    """
    sample = np.sort(rng.choice(len(source), min(len(source), 1000), replace=False))
    batch = source.load(sample, len(frequencies.plane))
    rings = frequencies.plane.norm(dim=1).round().long()
    counts = torch.bincount(rings).clamp(min=1)
    power = torch.bincount(rings, weights=batch.hartley.square().mean(0).double()) / counts
    transfer = torch.bincount(rings, weights=batch.ctf.square().mean(0).double()) / counts
    signal = ((power - 1) / transfer.clamp(min=0.05)).clamp(min=1e-2)
    signal[0] = signal[1]
    return signal.flip(0).cummax(0).values.flip(0).sqrt().float()
