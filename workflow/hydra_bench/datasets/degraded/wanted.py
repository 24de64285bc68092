"""What is to be done to a stack, and what of it is drawn for each of its images."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.random import Generator

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.types import BoolArray, FloatArray, IntArray
from hydra_bench.datasets.simulated.troubles import JUNK_KINDS, OVERLAP, Background, Troubles, draw_background
from hydra_bench.particles.particle_files import read_poses

POSSIBLE_JUNK = ("empty", "edge", "overlapping")
"""Of JUNK_KINDS, those that images give."""
_NEIGHBOUR = 0.8
"""Distance of a neighbour from the middle in half boxes, if nothing else is said."""
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
    density: FloatArray = np.exp(views.log_density(cosine) - views.kappa)
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
    apart = generator.uniform(*OVERLAP, n) * wanted.background_radius * box_px
    distance = np.where(overlapping, apart, wanted.distance_of_neighbours(box_px))
    offsets = np.round(distance[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(np.int64)
    there = overlapping | neighbours
    return np.where(there, others, _NOT_THERE), np.where(there[:, None], offsets, 0)
