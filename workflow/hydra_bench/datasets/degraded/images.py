"""The images of a degraded stack: their noise as it is, and each image as what was drawn for it makes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.datasets.degraded.wanted import Degradation, Drawn
from hydra_bench.datasets.simulated.imaging import particle_noise
from hydra_bench.datasets.simulated.troubles import background_images, excess_power, shaped
from hydra_bench.physics.preparation import (
    mean_and_deviation,
    radius_in_half_boxes,
    ring_inside_window,
    soft_window,
)

_EDGE = 0.1
"""Width of the edge of what noise is measured on, in half boxes."""
_SPECTRUM_IMAGES = 500
TOGETHER = 128
"""Images that are worked on at a time."""


@dataclass(frozen=True)
class Noise:
    """The noise of a stack's images: its power at each frequency (D, D//2 + 1) of a half transform, mean 1."""

    power: FloatArray

    @classmethod
    def measured(cls, stack: Stack, background_radius: float) -> Noise:
        """From what lies outside the particles. Raises InputError where images were masked."""
        sample = np.unique(np.linspace(0, len(stack) - 1, _SPECTRUM_IMAGES).round().astype(np.int64))
        box = stack.box_px
        if (
            ring_inside_window(torch.from_numpy(stack.images.read(sample)), _outside(box, background_radius))
            is not None
        ):
            raise InputError(
                f"{stack.path}: its images were masked, so that the noise outside particles cannot be told"
            )
        weight = 1 - soft_window(box, background_radius, _EDGE).numpy()
        total = np.zeros((box, box // 2 + 1))
        for part in np.array_split(sample, -(-len(sample) // TOGETHER)):
            images, _, _ = standardised(stack, part, background_radius)
            total += np.square(np.abs(np.fft.rfft2(images * weight))).sum(0)
        frequency = np.hypot(np.fft.fftfreq(box, 1 / box)[:, None], np.arange(box // 2 + 1))
        shell = frequency.round().astype(np.int64)
        of_shell = np.bincount(shell.ravel(), total.ravel()) / np.maximum(np.bincount(shell.ravel()), 1)
        power = of_shell[shell]
        # A half transform stands for the whole one: all but its edges count twice.
        twice = np.where((np.arange(box // 2 + 1) == 0) | (np.arange(box // 2 + 1) == box / 2), 1, 2)
        return cls(power / ((power * twice).sum() / box**2))

    def of(self, numbers: IntArray, seed: int) -> FloatArray:
        """Noise (B, D, D) of deviation 1 for some images; each has a stream of its own."""
        return shaped(particle_noise(numbers, len(self.power), seed), self.power)


def _outside(box_px: int, background_radius: float) -> torch.Tensor:
    return radius_in_half_boxes(box_px) > background_radius


def standardised(
    stack: Stack, numbers: IntArray, background_radius: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Images (B, D, D) whose background has mean 0 and deviation 1, and these two, (B, 1, 1) each, as they were.

    Raises InputError for an image without noise.
    """
    images = stack.images.read(numbers)
    outside = _outside(stack.box_px, background_radius)
    found = mean_and_deviation(torch.from_numpy(images), outside, correction=1)
    mean, deviation = (value.numpy() for value in found)
    if (bad := np.flatnonzero(~(deviation.ravel() > 0))).size:
        row = stack.source_rows[numbers[bad[0]]] + 1
        raise InputError(f"{stack.path}: row {row}: the image has no noise outside the particle; some is expected")
    return (images - mean) / deviation, mean, deviation


def moved(images: FloatArray, offsets_px: IntArray, fill: FloatArray) -> FloatArray:
    """Images (B, D, D) moved by offsets (B, 2) along x and y, with what comes in from `fill` (B, D, D)."""
    box, result = images.shape[-1], fill.copy()
    for own, image, (x, y) in zip(result, images, offsets_px.tolist(), strict=True):
        if abs(x) < box and abs(y) < box:
            into, out_of = ([slice(max(s, 0), box + min(s, 0)) for s in (sign * y, sign * x)] for sign in (1, -1))
            own[tuple(into)] = image[tuple(out_of)]
    return result


@dataclass(frozen=True)
class Images:
    """The images that come of it; each depends on its number and the seed, not on those beside it."""

    stack: Stack
    drawn: Drawn
    noise: Noise
    wanted: Degradation

    def made(self, part: IntArray) -> FloatArray:
        """Images (B, D, D) of some of those that stay."""
        drawn, radius = self.drawn, self.wanted.background_radius
        images, mean, deviation = standardised(self.stack, drawn.rows[part], radius)
        kind = drawn.junk_kind[part]
        without = np.flatnonzero((kind >= 0) & ~drawn.overlapping[part])
        images[without] = self._noise(part[without], 0)
        self._lay_over(images, part)
        contrast = drawn.background.contrasts[part, None, None].astype(np.float32)
        if self.wanted.troubles.contrast_log_sd:
            images = contrast * images + np.sqrt(1 - contrast**2) * self._noise(part, 1)
        images += self._excess(part) + background_images(drawn.background, part, self.stack.box_px)
        result: FloatArray = (mean + deviation * images).astype(np.float32)
        return result

    def _lay_over(self, images: FloatArray, part: IntArray) -> None:
        """Put the others, if any, over images (B, D, D); both at 1/√2, so that the noise stays what it is."""
        drawn = self.drawn
        own = np.flatnonzero(drawn.partners[part] >= 0)
        if not len(own):
            return
        numbers = part[own]
        others, _, _ = standardised(self.stack, drawn.rows[drawn.partners[numbers]], self.wanted.background_radius)
        offsets = drawn.offsets_px[numbers]
        # Of two that overlap neither is in the middle.
        back = np.where(drawn.overlapping[numbers, None], offsets // 2, 0)
        first = moved(images[own], -back, self._noise(numbers, 2))
        images[own] = (first + moved(others, offsets - back, self._noise(numbers, 3))) / np.float32(np.sqrt(2))

    def _excess(self, part: IntArray) -> FloatArray:
        """The noise (B, D, D) that is added, coloured as that of simulations."""
        troubles, box = self.wanted.troubles, self.stack.box_px
        if not troubles.noise_excess:
            return np.zeros((len(part), 1, 1), np.float32)
        power = excess_power(box, self.stack.pixel_size_A, troubles.noise_excess, troubles.noise_corner_A)
        return shaped(particle_noise(part, box, _key(self.wanted.seed, 4)), power)

    def _noise(self, numbers: IntArray, use: int) -> FloatArray:
        return self.noise.of(numbers, _key(self.wanted.seed, use))


def _key(seed: int, use: int) -> int:
    """The seed of one use of noise."""
    return int(np.random.SeedSequence(seed, spawn_key=(1000, use)).generate_state(1, np.uint64)[0])
