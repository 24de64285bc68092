"""The images, as Hartley coefficients, read from the stack when asked for, and the order in which they are kept."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.console import say
from hydra_bench.core.on_device import on_device
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.physics.fourier import frequency_plane, hartley, hartley_moved_back, shift_phases
from hydra_bench.physics.preparation import (
    mean_and_deviation,
    radius_in_half_boxes,
    ring_inside_window,
    soft_window,
)

_SAMPLE = 1000
"""Images that the noise and the signal are estimated from."""

_SMALLEST_DEVIATION = 1e-12
"""What a background without noise is divided by."""


@dataclass(frozen=True)
class Frequencies:
    """All frequencies with 0 < |k| <= l_max of a box, rising in |k|, each beside its negative.

    Rising order makes the disc |k| <= l the first `count(l)` entries, so that every resolution is a
    prefix and nothing is copied; pairs make the negative of entry j the entry j ^ 1.

    plane : (n, 3) as (kx, ky, 0), cycles per box. The box may be even or odd.
    """

    plane: torch.Tensor
    box_px: int

    @classmethod
    def of_box(cls, box_px: int, l_max: int | None = None) -> Frequencies:
        """Up to l_max, or to the last ring that is whole."""
        l_max = largest_l(box_px) if l_max is None else l_max
        plane = frequency_plane(box_px)
        radius2 = plane.square().sum(1)
        kx, ky = plane[:, 0], plane[:, 1]
        positive = (ky > 0) | ((ky == 0) & (kx > 0))
        half = (positive & (radius2 <= l_max**2)).nonzero()[:, 0]
        half = half[torch.argsort(radius2[half], stable=True)]
        return cls(torch.stack([plane[half], -plane[half]], 1).reshape(-1, 3), box_px)

    def __len__(self) -> int:
        return len(self.plane)

    def count(self, l: int) -> int:
        """The number of frequencies with 0 < |k| <= l."""
        return int(np.searchsorted(self._radius2, l * l, side="right"))

    @cached_property
    def _radius2(self) -> FloatArray:
        """|k|² of each, on the host, rising."""
        return self.plane.square().sum(1).cpu().numpy()

    def pixels(self, box_px: int) -> torch.Tensor:
        """Indices (n,) of the frequencies in a flattened centred transform of a box of this size or larger."""
        kx, ky = self.plane[:, 0].long(), self.plane[:, 1].long()
        return (ky + box_px // 2) * box_px + kx + box_px // 2

    def to(self, device: torch.device) -> Frequencies:
        return Frequencies(self.plane.to(device), self.box_px)


def largest_l(box_px: int) -> int:
    """The largest l whose frequencies all have a partner -k in a box, even or odd."""
    return (box_px - 1) // 2


def random_pairs(n: int, m: int, generator: torch.Generator) -> torch.Tensor:
    """Indices (about m,) of random frequencies of the first n, rising, each beside its negative; all n for m = 0."""
    if not 0 < m < n:
        return torch.arange(n)
    pairs = torch.randperm(n // 2, generator=generator)[: max(1, m // 2)].sort().values
    return torch.stack([2 * pairs, 2 * pairs + 1], 1).flatten()


def swap_negatives(x: torch.Tensor) -> torch.Tensor:
    """x (..., n) with each entry replaced by that of the negative frequency."""
    swapped: torch.Tensor = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return swapped


def even_and_odd(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum and difference, (..., n/2) each, of the entries of x (..., n) at k and -k: twice its even and odd part."""
    at_k, at_minus_k = x.unflatten(-1, (-1, 2)).unbind(-1)
    return at_k + at_minus_k, at_k - at_minus_k


def centred_images(hartley: torch.Tensor, shifts_px: torch.Tensor, plane: torch.Tensor, box_px: int) -> torch.Tensor:
    """Hartley images (..., n) of particles displaced by shifts (..., 2), moved back to the centre: (..., n)."""
    return hartley_moved_back(hartley, swap_negatives(hartley), shift_phases(shifts_px, plane, box_px))


@dataclass(frozen=True)
class ImageBatch:
    """B particles on n frequencies: Hartley coefficients and CTF, each (B, n); plane (n, 3), cycles per box.

    Coefficients are divided by the box size: white noise of variance 1 has coefficients of variance 1.
    box_px is the box of the work, in whose pixels shifts are. The negative of frequency j is at j ^ 1.
    """

    hartley: torch.Tensor
    ctf: torch.Tensor
    plane: torch.Tensor
    box_px: int

    def __len__(self) -> int:
        return len(self.hartley)

    def scaled(self, contrasts: torch.Tensor) -> ImageBatch:
        """The same particles, at the contrasts (B,) that multiply their CTF."""
        return ImageBatch(self.hartley, self.ctf * contrasts[:, None], self.plane, self.box_px)

    def take(self, rows: torch.Tensor) -> ImageBatch:
        """Some of the particles."""
        return ImageBatch(self.hartley[rows], self.ctf[rows], self.plane, self.box_px)

    def at(self, frequencies: torch.Tensor | slice) -> ImageBatch:
        """Some of the frequencies, by their indices."""
        some = frequencies
        return ImageBatch(self.hartley[:, some], self.ctf[:, some], self.plane[some], self.box_px)


@dataclass(frozen=True)
class Plane:
    """The plane a + b x + c y that is nearest to an image's background.

    shapes (3, D²): the plane's three parts on all pixels; fit (m, 3): from m background pixels to their heights.
    """

    shapes: torch.Tensor
    fit: torch.Tensor
    measured: torch.Tensor

    @classmethod
    def of_background(cls, background: torch.Tensor) -> Plane:
        """Fitted to the pixels of the background (D, D), bool."""
        box_px = len(background)
        axis = (torch.arange(box_px) - box_px // 2) / (box_px / 2)
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        shapes = torch.stack([torch.ones(box_px**2), x.flatten(), y.flatten()])
        measured = background.flatten()
        return cls(shapes, torch.linalg.pinv(shapes[:, measured]), measured)

    def to(self, device: torch.device) -> Plane:
        return Plane(self.shapes.to(device), self.fit.to(device), self.measured.to(device))

    def taken_from(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, D, D) without their planes."""
        flat = images.flatten(1)
        return (flat - flat[:, self.measured] @ self.fit @ self.shapes).view_as(images)


@dataclass(frozen=True)
class Preparation:
    """What is done to every image before its transform: contrast, mean and deviation of the noise, window."""

    sign: float
    mean: float
    deviation: float
    each: bool
    background: torch.Tensor
    window: torch.Tensor | None
    plane: Plane | None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        images = self.level(images)
        return images if self.window is None else images * self.window

    def level(self, images: torch.Tensor) -> torch.Tensor:
        """All of it but the window."""
        if self.plane is not None:
            images = self.plane.taken_from(images)
        mean: float | torch.Tensor = self.mean
        deviation: float | torch.Tensor = self.deviation
        if self.each:
            mean, deviation = mean_and_deviation(images, self.background, correction=1)
            deviation = deviation.clamp(min=_SMALLEST_DEVIATION)
        return (images - mean) * (self.sign / deviation)


def prepare(stack: Stack, settings: Settings, sample: IntArray, device: torch.device) -> Preparation:
    """Noise and background are measured where there should be no particle: beyond its radius.

    Where images were windowed there is nothing left in their corners, and both are measured inside the window's edge,
    which is said.
    """
    box = stack.box_px
    radius, images = radius_in_half_boxes(box), torch.from_numpy(stack.read_images(sample))
    background = radius > settings.particle_radius
    ring = ring_inside_window(images, radius > 1)
    if ring is not None:
        background = (radius > ring[0]) & (radius <= ring[1])
        where = f"{ring[0]:.2f} to {ring[1]:.2f} of half the box"
        say(f"{stack.path}: images are windowed, so that their corners hold no noise; it is measured at {where}")
    plane = Plane.of_background(background) if settings.background == "plane" else None
    mean, deviation = 0.0, 1.0
    if settings.normalise == "stack":
        pixels = (images if plane is None else plane.taken_from(images))[:, background]
        mean, deviation = float(pixels.mean()), max(float(pixels.std()), _SMALLEST_DEVIATION)
    window = None
    if settings.window is not None:  # falls from 1 to 0 over a tenth of the radius
        window = soft_window(box, 0.9 * settings.window, 0.1 * settings.window).to(device)
    return Preparation(
        sign=-1.0 if settings.invert else 1.0,
        mean=mean,
        deviation=deviation,
        each=settings.normalise == "image",
        background=background.to(device),
        window=window,
        plane=None if plane is None else plane.to(device),
    )


@dataclass
class _Coming:
    """Images that are being read ahead; None once they were fetched."""

    particles: IntArray
    images: Future[FloatArray] | None


class ImageSource:
    """Batches of a stack on the frequencies of a box, which may be smaller than the stack's: a Fourier crop.

    Memory does not grow with the stack, but for coefficients of low frequencies that were read once and are kept
    as long as all of them fit in `cache_mb`. noise : power of the noise on each ring. noise_left : the share of it that
    the window leaves.
    """

    def __init__(
        self, stack: Stack, frequencies: Frequencies, settings: Settings, n_low: int, device: torch.device, seed: int
    ) -> None:
        if frequencies.box_px > stack.box_px:
            raise ValueError(f"a box of {frequencies.box_px} px for images of {stack.box_px}")
        self._stack, self._device = stack, device
        self.frequencies = frequencies.to(device)
        self._pixels = frequencies.pixels(stack.box_px).to(device)
        self._per_A = self.frequencies.plane / (stack.box_px * stack.pixel_size_A)
        rng = np.random.default_rng([seed, 1])
        self._sample = np.sort(rng.choice(len(stack), min(len(stack), _SAMPLE), replace=False))
        self._prepare = prepare(stack, settings, self._sample, device)
        self.rings = self.frequencies.plane.norm(dim=1).round().long()
        window = self._prepare.window
        self.noise_left = 1.0 if window is None else float(window.square().mean())
        self.noise = torch.ones(int(self.rings.max()) + 1, device=device)
        fits = 4 * len(stack) * n_low <= settings.cache_mb * 2**20
        self._low = torch.zeros(len(stack), n_low if fits else 0, device=device)
        self._known = np.zeros(len(stack), dtype=bool)
        self._reader, self._coming = ThreadPoolExecutor(1), _Coming(np.zeros(0, dtype=np.int64), None)
        if settings.noise == "shells":
            self.noise = self._background_power().float()

    def __len__(self) -> int:
        return len(self._stack)

    def load(self, particles: IntArray, chosen: torch.Tensor | slice) -> ImageBatch:
        """The given particles (B,) on some of the frequencies, chosen by their indices."""
        chosen = chosen if isinstance(chosen, slice) else on_device(chosen, self._device)
        kept = isinstance(chosen, slice) and chosen.start is None and chosen.stop <= self._low.shape[1]
        if kept and self._known[particles].all():
            coefficients = self._low[on_device(torch.from_numpy(particles), self._device), chosen]
        else:
            coefficients = self._transform(particles)[:, chosen]
        noise_sd = self.noise[self.rings[chosen]].sqrt()
        ctf = self._stack.transfer(particles, self._per_A[chosen]) / noise_sd
        return ImageBatch(coefficients / noise_sd, ctf, self.frequencies.plane[chosen], self.frequencies.box_px)

    def expect(self, particles: IntArray, n: int) -> None:
        """Read the images whose first n frequencies are wanted next while a GPU works; a CPU is busy enough."""
        kept = n <= self._low.shape[1] and self._known[particles].all()
        if self._device.type != "cpu" and not kept:
            self._coming = _Coming(particles, self._reader.submit(self._stack.read_images, particles))

    def _read(self, particles: IntArray) -> FloatArray:
        coming, self._coming.images = self._coming.images, None
        if coming is not None and np.array_equal(particles, self._coming.particles):
            return coming.result()
        return self._stack.read_images(particles)

    def _transform(self, particles: IntArray) -> torch.Tensor:
        images = on_device(torch.from_numpy(self._read(particles)), self._device)
        coefficients = hartley(self._prepare(images), 2).flatten(1)[:, self._pixels] / self._stack.box_px
        n_low = self._low.shape[1]
        if n_low:
            self._low[on_device(torch.from_numpy(particles), self._device)] = coefficients[:, :n_low]
            self._known[particles] = True
        return coefficients

    def of_rings(self, of_frequencies: torch.Tensor) -> torch.Tensor:
        """Means (l_max + 1,) over the rings |k| = 0, 1, … of values (n,) at all frequencies; 0 is as 1."""
        rings = self.rings.cpu()  # on the host, where sums come in one order
        means = torch.bincount(rings, weights=of_frequencies.double().cpu()) / torch.bincount(rings).clamp(min=1)
        means[0] = means[1]
        return on_device(means.clamp(min=_SMALLEST_DEVIATION), self._device)

    def _background_power(self) -> torch.Tensor:
        """The power of the noise on each ring, (l_max + 1,), where there is no particle, from up to 1,000 images.

        That of an image times a mask is the noise's own, smeared over as many frequencies as the mask's transform has.
        """
        mask = self._prepare.background.float()
        power = torch.zeros(len(self.rings), dtype=torch.float64, device=self._device)
        for part in np.array_split(self._sample, -(-len(self._sample) // 100)):
            images = self._prepare.level(on_device(torch.from_numpy(self._stack.read_images(part)), self._device))
            power += hartley(images * mask, 2).flatten(1)[:, self._pixels].double().square().sum(0)
        return self.of_rings(power / (len(self._sample) * mask.square().sum()))

    def _mean_power(self) -> torch.Tensor:
        """The power of the images on each ring, (l_max + 1,), from up to 1,000 of them."""
        power = torch.zeros(len(self.rings), dtype=torch.float64, device=self._device)
        for part in np.array_split(self._sample, -(-len(self._sample) // 100)):
            power += self._transform(part).square().sum(0) / len(self._sample)
        return self.of_rings(power)

    def signal_envelope(self) -> torch.Tensor:
        """Typical magnitude of the map's slices at each |k|, (l_max + 1,), estimated from up to 1,000 images.

        The mean power of the images on a ring is signal x mean CTF² + noise. The estimate is made monotone from the
        outside in, since noise makes single rings unreliable, and is never zero.
        """
        whole = self._mean_power()
        transfer = torch.zeros(len(self.rings), dtype=torch.float64, device=self._device)
        for part in np.array_split(self._sample, -(-len(self._sample) // 100)):
            transfer += self._stack.transfer(part, self._per_A).square().sum(0) / len(self._sample)
        signal = ((whole - self.noise * self.noise_left) / self.of_rings(transfer).clamp(min=0.05)).clamp(min=1e-2)
        return signal.flip(0).cummax(0).values.flip(0).sqrt().float()
