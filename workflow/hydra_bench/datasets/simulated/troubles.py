"""The troubles of real images, each off by default: what they are, what of them is drawn, what they add to an image.

A particle of varying contrast in noise that is not white, on a background that slopes, seen from preferred views, with
neighbours, at a defocus that is not quite the one stated; and junk, images without one whole particle in their middle.
Sources: contrast and background, Scheres et al., J. Struct. Biol. 163 (2009) 295, who fit both; views, Watson's
and von Mises and Fisher's distributions (Mardia & Jupp, Directional Statistics, 2000, chapter 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.random import Generator
from scipy.spatial.transform import Rotation

from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.types import BoolArray, FloatArray, IntArray
from hydra_bench.physics.rotations import matrices_from_euler, random_rotations

JUNK_KINDS = ("empty", "half", "edge", "overlapping")
"""No particle; one broken in half; the step of a carbon film's edge; two particles that overlap."""

OVERLAP = (0.4, 0.7)
"""Distance between the centres of two overlapping particles, in mean diameters of the species."""
_VIEWS_GRID = 4001


@dataclass(frozen=True)
class Views:
    """A preferred direction of view, (x, y, z) in the map's frame, which `share` of the particles have.

    The density of views u is ∝ exp(κ (u·axis)²), Watson's, where both ends are alike; ∝ exp(κ u·axis) else.
    """

    kappa: float
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    both_ends: bool = True
    share: float = 1.0

    def log_density(self, cosine: FloatArray) -> FloatArray:
        """log of the density, but for a constant, of views at these cosines to the axis."""
        return self.kappa * (cosine**2 if self.both_ends else cosine)


@dataclass(frozen=True)
class Troubles:
    """Keys of the configuration's `simulation.troubles`; its schema says what they mean."""

    contrast_log_sd: float = 0.0
    noise_excess: float = 0.0
    noise_corner_A: float = 66.0
    plane_sd: float = 0.0
    views: tuple[Views, ...] = ()
    defocus_error_sd_A: float = 0.0
    junk_share: float = 0.0
    junk_kinds: tuple[str, ...] = JUNK_KINDS
    neighbour_share: float = 0.0
    neighbour_distance_px: float = 52.0

    @classmethod
    def from_definition(cls, troubles: JsonObject) -> Troubles:
        """From the configuration's block, of which what is left out has its default."""
        plain = {field.name: troubles[field.name] for field in fields(cls) if field.name in troubles}
        views = tuple(Views(**{**own, "axis": tuple(own["axis"])}) for own in plain.pop("views", ()))
        kinds = tuple(plain.pop("junk_kinds", JUNK_KINDS))
        return cls(views=views, junk_kinds=kinds, **plain)


@dataclass(frozen=True)
class Further:
    """E further particles in the images of others: neighbours, and what junk is made of.

    images (E,), the number of the image that each is in; classes (E,), states (E,), rotations (E, 3, 3) and
    shifts_A (E, 2) as those of other particles; halves (E,), bool, those of which one half is there.
    """

    images: IntArray
    classes: IntArray
    states: IntArray
    rotations: FloatArray
    shifts_A: FloatArray
    halves: BoolArray


@dataclass(frozen=True)
class Background:
    """What n images have beside particles and white noise; lengths in half boxes, heights in sd of full-box noise.

    contrasts (n,), of all particles of an image; slopes (n, 2), along x and y; edges (n, 3), the height of a step, the
    angle of its normal in radians and its distance from the origin; height 0 for none.
    """

    contrasts: FloatArray
    slopes: FloatArray
    edges: FloatArray


def preferred_rotations(n: int, views: Sequence[Views], generator: Generator) -> FloatArray:
    """Rotations (n, 3, 3), map to view, whose view directions, their third rows, are of a mixture of distributions."""
    shares = np.array([own.share for own in views])
    of = generator.choice(len(views), n, p=shares / shares.sum())
    rotations = np.empty((n, 3, 3))
    for j, own in enumerate(views):
        members = np.flatnonzero(of == j)
        cosine = np.linspace(-1, 1, _VIEWS_GRID)
        exponent = own.log_density(cosine)
        density = np.exp(exponent - exponent.max())
        cumulative = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
        tilt = np.degrees(np.arccos(np.interp(generator.random(len(members)), cumulative / cumulative[-1], cosine)))
        rot, psi = generator.uniform(-180, 180, (2, len(members)))
        about_z = matrices_from_euler(np.stack([rot, tilt, psi], 1))
        axis = np.array(own.axis) / np.linalg.norm(own.axis)
        to_z = Rotation.align_vectors([[0.0, 0.0, 1.0]], [axis])[0].as_matrix()
        rotations[members] = about_z @ to_z
    return rotations


def draw_background(n: int, junk_kind: IntArray, troubles: Troubles, generator: Generator) -> Background:
    """junk_kind (n,): the number in JUNK_KINDS of what an image is, -1 for good ones."""
    sd = troubles.contrast_log_sd
    contrasts = np.exp(generator.normal(-(sd**2) / 2, sd, n))  # of mean 1
    slopes = generator.normal(0, troubles.plane_sd, (n, 2))
    edges = np.stack([np.ones(n), generator.uniform(0, 2 * np.pi, n), generator.uniform(-0.5, 0.5, n)], 1)
    edges[junk_kind != JUNK_KINDS.index("edge"), 0] = 0
    return Background(contrasts, slopes, edges)


@dataclass(frozen=True)
class Occurring:
    """The species that further particles are of, (K,) each: how many, of how many states, how big."""

    counts: Sequence[int]
    n_states: Sequence[int]
    diameters_A: Sequence[float]

    def draw(self, n: int, generator: Generator) -> tuple[IntArray, IntArray]:
        """Classes and states (n,) each, as often as there are particles of them."""
        classes = generator.choice(len(self.counts), n, p=np.array(self.counts) / sum(self.counts))
        return classes, generator.integers(np.array(self.n_states)[classes])


def draw_neighbours(n: int, occurring: Occurring, share: float, distance_A: float, generator: Generator) -> Further:
    """A second particle in a share of n images, at a distance from their middle in any direction."""
    images = np.flatnonzero(generator.random(n) < share)
    angles = generator.uniform(0, 2 * np.pi, len(images))
    offsets = distance_A * np.stack([np.cos(angles), np.sin(angles)], 1)
    return _further(images, occurring, offsets, generator)


def draw_junk(junk_kind: IntArray, shifts_A: FloatArray, occurring: Occurring, generator: Generator) -> Further:
    """The particles, broken or overlapping, of the images (n,) that are junk of these kinds; of some there are none."""
    half = np.flatnonzero(junk_kind == JUNK_KINDS.index("half"))
    overlapping = np.flatnonzero(junk_kind == JUNK_KINDS.index("overlapping"))
    broken = replace(_further(half, occurring, shifts_A[half], generator), halves=np.ones(len(half), dtype=bool))
    angles = generator.uniform(0, 2 * np.pi, len(overlapping))
    distance_A = generator.uniform(*OVERLAP, len(overlapping)) * float(np.mean(occurring.diameters_A))
    from_middle = distance_A[:, None] / 2 * np.stack([np.cos(angles), np.sin(angles)], 1)
    pairs = [
        _further(overlapping, occurring, shifts_A[overlapping] + sign * from_middle, generator) for sign in (1, -1)
    ]
    return joined([broken, *pairs])


def joined(parts: Sequence[Further]) -> Further:
    return Further(*(np.concatenate([getattr(part, own.name) for part in parts]) for own in fields(Further)))


def _further(images: IntArray, occurring: Occurring, shifts_A: FloatArray, generator: Generator) -> Further:
    classes, states = occurring.draw(len(images), generator)
    rotations = random_rotations(len(images), generator) if len(images) else np.empty((0, 3, 3))
    return Further(images, classes, states, rotations, shifts_A, np.zeros(len(images), dtype=bool))


def half_of(volume: torch.Tensor) -> torch.Tensor:
    """A map (D, D, D) without what lies at x < 0; the cut is two voxels soft, as a broken particle's density is."""
    x = torch.arange(volume.shape[-1], dtype=volume.dtype) - volume.shape[-1] // 2
    return volume * torch.sigmoid(2 * x)


def coloured(noise: np.ndarray, pixel_size_A: float, excess: float, corner_A: float) -> np.ndarray:
    """White noise (B, D, D) with its power at frequency s (1/Å) multiplied by 1 + excess / (1 + (s corner)²)."""
    if not excess:
        return noise
    return shaped(noise, 1 + excess_power(noise.shape[-1], pixel_size_A, excess, corner_A))


def excess_power(box_px: int, pixel_size_A: float, excess: float, corner_A: float) -> FloatArray:
    """excess / (1 + (s corner)²) at the frequencies s (1/Å) of a half transform (D, D//2 + 1)."""
    s = np.hypot(np.fft.fftfreq(box_px, pixel_size_A)[:, None], np.fft.rfftfreq(box_px, pixel_size_A))
    power: FloatArray = excess / (1 + (s * corner_A) ** 2)
    return power


def shaped(white: np.ndarray, power: FloatArray) -> np.ndarray:
    """White noise (B, D, D) with its power multiplied by that of each frequency (D, D//2 + 1)."""
    box = white.shape[-1]
    result: np.ndarray = np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(power), s=(box, box)).astype(np.float32)
    return result


def background_images(background: Background, part: IntArray, box_px: int) -> np.ndarray:
    """Planes and edges (B, D, D) of the images of some particles, in standard deviations of the full box's noise."""
    axis = (np.arange(box_px) - box_px // 2) / (box_px / 2)
    slopes, (height, angle, distance) = background.slopes[part], background.edges[part].T[:, :, None, None]
    planes = slopes[:, 0, None, None] * axis + slopes[:, 1, None, None] * axis[:, None]
    beyond = np.cos(angle) * axis + np.sin(angle) * axis[:, None] - distance
    result: np.ndarray = (planes + height / 2 * np.tanh(box_px / 2 * beyond)).astype(np.float32)
    return result
