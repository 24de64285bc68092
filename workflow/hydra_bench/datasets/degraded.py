"""Troubles of real images put onto a stack that is there: a new stack and STAR file beside, and a record of both.

What is in an image cannot be taken out again, and noise least of all. So what would make a particle fainter puts noise
back, of the spectrum that the stack's own has outside the particles: an image of contrast c < 1 becomes c times itself
and noise of power 1 - c²; two images that are laid over each other are divided by √2. The noise of every image stays
what it was, and its particle is the fainter for it. All is in units of each image's own noise, its deviation there.

What cannot be had of an image is not there: more contrast than it has; a particle broken in half, since in a projection
its halves lie over each other, which is refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.random import Generator
from tqdm import tqdm

from hydra_bench import __version__
from hydra_bench.contracts.places import IMAGES_NAME, PARTICLES_NAME
from hydra_bench.contracts.poses import ANGLE_COLUMNS, ORIGIN_COLUMNS
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import partial_folder, sha256, write_json, write_text, writing
from hydra_bench.core.mrc import ImageStackWriter
from hydra_bench.core.types import BoolArray, FloatArray, IntArray
from hydra_bench.datasets.simulated.imaging import particle_noise
from hydra_bench.datasets.simulated.troubles import (
    JUNK_KINDS,
    Background,
    Troubles,
    background_images,
    draw_background,
)
from hydra_bench.particles.particle_files import file_format, read_particles, read_poses
from hydra_bench.particles.star_rows import StarRows, read_star_rows
from hydra_bench.physics.preparation import (
    mean_and_deviation,
    radius_in_half_boxes,
    ring_inside_window,
    soft_window,
)

RECORD_NAME, DRAWN_NAME = "degraded.json", "degraded.csv"
POSSIBLE_JUNK = ("empty", "edge", "overlapping")
"""Of JUNK_KINDS, those that images give."""
_OVERLAP = (0.4, 0.7)
"""Distance between two overlapping particles, as a share of the diameter that the background begins at."""
_NEIGHBOUR = 0.8
"""Distance of a neighbour from the middle in half boxes, if nothing else is said."""
_EDGE = 0.1
"""Width of the edge of what noise is measured on, in half boxes."""
_SPECTRUM_IMAGES = 500
_CHUNK = 128
_NOT_THERE = -1


@dataclass(frozen=True)
class Degradation:
    """What is to be done.

    troubles: as in simulations, of views one distribution at most; neighbour_distance_px: in px of the stack, in place
    of that of the troubles, None for _NEIGHBOUR half boxes; origin_error_sd_A: of the origins along x and y;
    background_radius: where the background begins, in half boxes.
    """

    troubles: Troubles
    neighbour_distance_px: float | None = None
    origin_error_sd_A: float = 0.0
    background_radius: float = 0.75
    seed: int = 0

    def distance_of_neighbours(self, box_px: int) -> float:
        """From the middle of an image, in px."""
        return _NEIGHBOUR * box_px / 2 if self.neighbour_distance_px is None else self.neighbour_distance_px

    def options(self, box_px: int) -> dict[str, object]:
        """What is recorded of it: each option by its name, with the value that it had."""
        troubles = asdict(self.troubles) | {"neighbour_distance_px": self.distance_of_neighbours(box_px)}
        return troubles | {name: getattr(self, name) for name in ("origin_error_sd_A", "background_radius", "seed")}

    def check(self) -> None:
        """Raises InputError for what cannot be done, or if nothing is to be."""
        troubles = self.troubles
        for name in ("contrast_log_sd", "noise_excess", "plane_sd", "defocus_error_sd_A"):
            _check_number(f"--{name.replace('_', '-')}", getattr(troubles, name), 0, np.inf)
        _check_number("--noise-corner-A", troubles.noise_corner_A, np.nextafter(0, 1), np.inf)
        _check_number("--origin-error-sd-A", self.origin_error_sd_A, 0, np.inf)
        _check_number("--junk-share", troubles.junk_share, 0, 0.9)
        _check_number("--neighbour-share", troubles.neighbour_share, 0, 1)
        if self.neighbour_distance_px is not None:
            _check_number("--neighbour-distance-px", self.neighbour_distance_px, 0, 65535)
        _check_number("--background-radius", self.background_radius, 0.1, 0.95)
        for views in troubles.views:
            _check_number("--view-kappa", views.kappa, 0, np.inf)
            if not any(views.axis) or not np.isfinite(views.axis).all():
                raise InputError(f"--view-axis: {views.axis}; a direction of some length is expected")
        if "half" in troubles.junk_kinds:
            raise InputError(
                "--junk-kinds: half cannot be made of images, since both halves of a particle lie over each other in a "
                f"projection; {', '.join(POSSIBLE_JUNK)} are allowed"
            )
        for kind in troubles.junk_kinds:
            if kind not in POSSIBLE_JUNK:
                raise InputError(f"--junk-kinds: {kind!r}; {', '.join(POSSIBLE_JUNK)} are allowed")
        asked = (troubles.contrast_log_sd, troubles.noise_excess, troubles.plane_sd, troubles.defocus_error_sd_A)
        if not any((*asked, troubles.junk_share, troubles.neighbour_share, troubles.views, self.origin_error_sd_A)):
            raise InputError("degrade: nothing is to be done; one trouble at least is expected, as --noise-excess 4")


def _check_number(option: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most or not np.isfinite(value):
        allowed = f"a number from {least:g} to {most:g}" if most < np.inf else f"a number of at least {least:g}"
        raise InputError(f"{option}: {value:g}; {allowed} is allowed")


@dataclass(frozen=True)
class Drawn:
    """What is done to each of the n images that stay.

    rows (n,): the source's, from 0; background: contrasts at most 1, slopes, edges; junk_kind (n,): in JUNK_KINDS, -1
    for none; partners (n,): the image, of these n, that is laid over it, -1 for none; offsets_px (n, 2): how far the
    two are apart along x and y; defocus_errors_A (n,) and origin_errors_A (n, 2).
    """

    rows: IntArray
    background: Background
    junk_kind: IntArray
    partners: IntArray
    offsets_px: IntArray
    defocus_errors_A: FloatArray
    origin_errors_A: FloatArray

    @property
    def overlapping(self) -> BoolArray:
        """Which images (n,) are junk of two that overlap."""
        found: BoolArray = self.junk_kind == JUNK_KINDS.index("overlapping")
        return found

    def table(self) -> pd.DataFrame:
        """degraded.csv: a line an image."""
        partner_rows = np.where(self.partners < 0, _NOT_THERE, self.rows[self.partners])
        junk = ["" if kind < 0 else JUNK_KINDS[kind] for kind in self.junk_kind]
        columns = {
            "image": np.arange(1, len(self.rows) + 1),
            "row": self.rows,
            "contrast": self.background.contrasts,
            "junk": junk,
            "other_row": partner_rows,
            "other_x_px": self.offsets_px[:, 0],
            "other_y_px": self.offsets_px[:, 1],
            "slope_x": self.background.slopes[:, 0],
            "slope_y": self.background.slopes[:, 1],
            "defocus_error_A": self.defocus_errors_A,
            "origin_error_x_A": self.origin_errors_A[:, 0],
            "origin_error_y_A": self.origin_errors_A[:, 1],
        }
        return pd.DataFrame(columns)


def degrade(star: Path, wanted: Degradation, out: Path, datadir: Path | None = None) -> None:
    """Write particles.star, particles.mrcs and the record (degraded.json, degraded.csv) into a new folder.

    Raises
    ------
    InputError
        If `out` is there, the file is no STAR file of particles or lacks what is to be changed, or its images have no
        noise outside the particles.
    """
    wanted.check()
    if out.exists():
        raise InputError(f"{out}: is there already; a folder that is not is expected")
    if file_format(star) != "star":
        raise InputError(f"{star}: a STAR file of particles is expected, into which errors can be written, too")
    rows = read_star_rows(star)
    stack = read_particles(star, datadir, ctf="none")
    _check_columns(star, rows, wanted)
    drawn = draw(stack, wanted)
    noise = Noise.measured(stack, wanted.background_radius)
    with partial_folder(out) as folder, writing(out):
        with ImageStackWriter(folder / IMAGES_NAME, len(drawn.rows), stack.box_px, stack.pixel_size_A) as writer:
            images = Images(stack, drawn, noise, wanted)
            with tqdm(total=len(drawn.rows), desc="degrade", unit="image", disable=None, delay=5) as progress:
                for part in np.array_split(np.arange(len(drawn.rows)), -(-len(drawn.rows) // _CHUNK)):
                    writer.write(part, images.made(part))
                    progress.update(len(part))
        _with_errors(rows.take(stack.source_rows[drawn.rows]), drawn, wanted).write(folder / PARTICLES_NAME)
        write_text(folder / DRAWN_NAME, drawn.table().to_csv(index=False, float_format="%.6g", lineterminator="\n"))
        write_json(folder / RECORD_NAME, _record(star, out, stack, wanted, drawn))
        folder.rename(out)


def _record(star: Path, out: Path, stack: Stack, wanted: Degradation, drawn: Drawn) -> dict[str, object]:
    """degraded.json; the source's path is relative to its folder, so that both can be moved."""
    junk = {kind: int((drawn.junk_kind == JUNK_KINDS.index(kind)).sum()) for kind in POSSIBLE_JUNK}
    return {
        "source": os.path.relpath(star.resolve(), out.resolve()),
        "source_sha256": sha256(star),
        "hydra_bench_version": __version__,
        "options": wanted.options(stack.box_px),
        "images_of_source": len(stack),
        "images": len(drawn.rows),
        "mean_contrast": float(drawn.background.contrasts.mean()),
        "junk": junk,
        "neighbours": int(((drawn.partners >= 0) & ~drawn.overlapping).sum()),
    }


def _check_columns(star: Path, rows: StarRows, wanted: Degradation) -> None:
    """Raises InputError where there is nothing to put an error onto, or no angle to choose by."""
    asked = {
        "--defocus-error-sd-A": (wanted.troubles.defocus_error_sd_A, ("rlnDefocusU", "rlnDefocusV")),
        "--origin-error-sd-A": (wanted.origin_error_sd_A, ORIGIN_COLUMNS),
        "--view-kappa": (wanted.troubles.views, ANGLE_COLUMNS),
    }
    for option, (value, columns) in asked.items():
        missing = next((column for column in columns if column not in rows.columns), None)
        if value and missing is not None:
            raise InputError(f"{option}: {star} lacks the column {missing}, which it needs")
        for column in columns if value else ():
            texts = rows.particles[column]
            odd = np.flatnonzero(~np.isfinite(pd.to_numeric(texts, errors="coerce")))
            if len(odd):
                raise InputError(f"{star}: {column}: {str(texts.iloc[odd[0]])[:100]!r}; a number is expected")


def draw(stack: Stack, wanted: Degradation) -> Drawn:
    """What is done to each image, of the seed alone. Raises InputError if too few images would stay."""
    # A stream more leaves the others as they are.
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(wanted.seed).spawn(6)]
    troubles, kept = wanted.troubles, np.arange(len(stack))
    if troubles.views:
        kept = kept[streams[0].random(len(stack)) < _view_density(stack, troubles)]
    n = len(kept)
    if n < 2:
        raise InputError(f"{stack.path}: {n} of {len(stack)} images would be left; at least 2 are expected")
    junk_kind = np.full(n, -1)
    junk = streams[1].permutation(n)[: round(troubles.junk_share * n)]
    junk_kind[junk] = streams[1].choice([JUNK_KINDS.index(kind) for kind in troubles.junk_kinds], len(junk))
    background = draw_background(n, junk_kind, troubles, streams[2])
    partners, offsets_px = _draw_partners(stack.box_px, junk_kind, wanted, streams[3])
    return Drawn(
        rows=kept,
        # No image can have more contrast than it has: the largest that was drawn is its own.
        background=Background(background.contrasts / background.contrasts.max(), background.slopes, background.edges),
        junk_kind=junk_kind,
        partners=partners,
        offsets_px=offsets_px,
        defocus_errors_A=np.round(streams[4].normal(0, troubles.defocus_error_sd_A, n), 2),
        origin_errors_A=np.round(streams[5].normal(0, wanted.origin_error_sd_A, (n, 2)), 4),
    )


def _view_density(stack: Stack, troubles: Troubles) -> FloatArray:
    """How probable it is that each image (N,) stays: the density of its view, 1 at its highest."""
    rotations, _ = read_poses(stack.path, stack)
    (views,) = troubles.views
    cosine = rotations[:, 2] @ (np.array(views.axis) / np.linalg.norm(views.axis))
    density: FloatArray = np.exp(views.kappa * ((cosine**2 if views.both_ends else cosine) - 1))
    return density


def _draw_partners(
    box_px: int, junk_kind: IntArray, wanted: Degradation, generator: Generator
) -> tuple[IntArray, IntArray]:
    """For each image (n,) the one that lies over it, -1 for none, and where (n, 2): of neighbours, and of such junk."""
    troubles, n = wanted.troubles, len(junk_kind)
    overlapping = junk_kind == JUNK_KINDS.index("overlapping")
    neighbours = (junk_kind < 0) & (generator.random(n) < troubles.neighbour_share)
    others = (np.arange(n) + generator.integers(1, n, n)) % n  # never itself
    angles = generator.uniform(0, 2 * np.pi, n)
    apart = generator.uniform(*_OVERLAP, n) * wanted.background_radius * box_px
    distance = np.where(overlapping, apart, wanted.distance_of_neighbours(box_px))
    offsets = np.round(distance[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.int64)
    there = overlapping | neighbours
    return np.where(there, others, _NOT_THERE), np.where(there[:, None], offsets, 0)


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
        for part in np.array_split(sample, -(-len(sample) // _CHUNK)):
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


def shaped(white: FloatArray, power: FloatArray) -> FloatArray:
    """White noise (B, D, D) with its power multiplied by that of each frequency (D, D//2 + 1)."""
    box = white.shape[-1]
    result: FloatArray = np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(power), s=(box, box)).astype(np.float32)
    return result


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
        pixel = self.stack.pixel_size_A
        s = np.hypot(np.fft.fftfreq(box, pixel)[:, None], np.fft.rfftfreq(box, pixel))
        power = troubles.noise_excess / (1 + (s * troubles.noise_corner_A) ** 2)
        return shaped(particle_noise(part, box, _key(self.wanted.seed, 4)), power)

    def _noise(self, numbers: IntArray, use: int) -> FloatArray:
        return self.noise.of(numbers, _key(self.wanted.seed, use))


def _key(seed: int, use: int) -> int:
    """The seed of one use of noise."""
    return int(np.random.SeedSequence(seed, spawn_key=(1000, use)).generate_state(1, np.uint64)[0])


def _with_errors(rows: StarRows, drawn: Drawn, wanted: Degradation) -> StarRows:
    """The rows with their new images, and with what is stated wrongly."""
    values = {"rlnImageName": [f"{number:06d}@{IMAGES_NAME}" for number in range(1, len(rows) + 1)]}
    if wanted.troubles.defocus_error_sd_A:
        for column in ("rlnDefocusU", "rlnDefocusV"):
            values[column] = _added(rows, column, drawn.defocus_errors_A)
    if wanted.origin_error_sd_A:
        for j, column in enumerate(ORIGIN_COLUMNS):
            values[column] = _added(rows, column, drawn.origin_errors_A[:, j])
    return rows.with_columns(values)


def _added(rows: StarRows, column: str, errors: FloatArray) -> list[str]:
    numbers: Sequence[float] = rows.particles[column].astype(float).tolist()
    return [f"{number + error:.6f}" for number, error in zip(numbers, errors, strict=True)]
