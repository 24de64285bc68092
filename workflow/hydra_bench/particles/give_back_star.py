"""Particles given back as RELION's STAR file: the user's own rows with class, pose, posteriors and latents.

What RELION has a name for has it; what it has none for, posteriors of all classes and latents, are columns of our own,
which RELION carries along. Origins are in Å of the file's own optics table, or in px where it has none (RELION 3.0):
a displacement in px of the images is what both have in common, whatever pixel size the run was told. Where the file
has magnification matrices, the displacement is that in the image as it was recorded, as RELION applies it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hydra_bench.contracts.poses import ANGLE_COLUMNS, ORIGIN_COLUMNS, pose_table
from hydra_bench.contracts.reconstruction import JUNK_COLUMN, LATENT_COLUMN, POSTERIOR_COLUMN, Assignments
from hydra_bench.contracts.source import Source
from hydra_bench.core.errors import InputError
from hydra_bench.core.types import FloatArray
from hydra_bench.particles.locate import locate
from hydra_bench.particles.relion import stated_magnification
from hydra_bench.particles.star_rows import StarRows, read_star_rows
from hydra_bench.physics.magnification import recorded_shifts

_ORIGINS_PX = ("rlnOriginX", "rlnOriginY")
_PRIORS = {
    **{f"{name}Prior": name for name in (*ANGLE_COLUMNS, *_ORIGINS_PX)},
    **{f"{name.removesuffix('Angst')}PriorAngst": name for name in ORIGIN_COLUMNS},
}
"""Columns of priors, and of which pose: where a file has them, RELION's local searches are about them, not the pose."""


@dataclass(frozen=True)
class Style:
    """How rows are given back.

    keep_poses : the file's own poses stay. relative_to : image paths are made relative to this folder, None leaves them
    as they are. datadir : where the images lie, if not where the file says.
    """

    keep_poses: bool = False
    relative_to: Path | None = None
    datadir: Path | None = None


def star_rows(source: Source, found: Assignments, style: Style) -> StarRows:
    """The rows of a source's STAR file that `found` (M) is of, with what was found. Raises InputError."""
    table = read_star_rows(source.path)
    if source.rows.max() >= len(table):
        raise InputError(f"{source.path}: {len(table)} rows; row {source.rows.max() + 1} is wanted")
    stated_A, matrices = stated_magnification(source.path)
    pixels_A = np.full(len(found), source.pixel_size_A) if stated_A is None else stated_A[source.rows]
    shifts_px = recorded_shifts(
        found.shifts_A / source.pixel_size_A, None if matrices is None else matrices[source.rows]
    )
    rows = told(table.take(source.rows), found, shifts_px, pixels_A, style)
    return with_relative_paths(rows, source.path, "rlnImageName", style)


def told(table: StarRows, found: Assignments, shifts_px: FloatArray, pixels_A: FloatArray, style: Style) -> StarRows:
    """Rows (M) with what was found of them.

    shifts_px (M, 2): displacements in px of the images as they were recorded, whose sizes are pixels_A (M,) in Å.
    """
    stale = [name for name in table.columns if name.startswith((POSTERIOR_COLUMN, JUNK_COLUMN, LATENT_COLUMN))]
    values: dict[str, FloatArray] = {}
    if not style.keep_poses:
        poses = pose_table(found.rotations, shifts_px * pixels_A[:, None])
        pose = {name: poses[name].to_numpy() for name in (*ANGLE_COLUMNS, *ORIGIN_COLUMNS)}
        pose |= {name: -shifts_px[:, j] + 0.0 for j, name in enumerate(_ORIGINS_PX)}
        wanted = [*ANGLE_COLUMNS, *(ORIGIN_COLUMNS if table.has_optics else ())]
        wanted += _ORIGINS_PX if not table.has_optics or _ORIGINS_PX[0] in table.columns else ()
        values |= {name: pose[name] for name in wanted}
        values |= {prior: pose[name] for prior, name in _PRIORS.items() if prior in table.columns}
    own = found.posteriors[np.arange(len(found)), found.classes]
    values["rlnMaxValueProbDistribution"] = own
    values |= {f"{POSTERIOR_COLUMN}{k + 1}": found.posteriors[:, k] for k in range(found.posteriors.shape[1])}
    if found.junk is not None:
        values[JUNK_COLUMN] = found.junk
    values |= {f"{LATENT_COLUMN}{j + 1}": found.latents[:, j] for j in range(found.latents.shape[1])}
    words = {name: [f"{value:.6f}" for value in column] for name, column in values.items()}
    words["rlnClassNumber"] = [str(k + 1) for k in found.classes]
    return table.without(stale).with_columns(words)


def stack_name(name: str) -> str:
    """An image stack's name as RELION opens it: of a .mrc file it must be told that it is a stack, not a map."""
    return f"{name}:mrcs" if name.endswith(".mrc") else name


def with_relative_paths(table: StarRows, file: Path, field: str, style: Style) -> StarRows:
    """Image names from `style.relative_to`, the folder that RELION is started in; as they are if that is None.

    `file` and its `field` named the images, for messages. Raises InputError if they are not found.
    """
    if style.relative_to is None:
        return table
    if "rlnImageName" not in table.columns:
        raise InputError(f"{file}: lacks the column rlnImageName")
    names = table.particles["rlnImageName"].tolist()
    numbers, files = zip(*(name.split("@", 1) if "@" in name else ("", name) for name in names), strict=True)
    different = list(dict.fromkeys(files))
    folder = style.relative_to.absolute()
    places = [os.path.relpath(path.absolute(), folder) for path in locate(different, file, field, style.datadir)]
    place_of = dict(zip(different, places, strict=True))
    renamed = [
        f"{number}@{stack_name(place_of[own])}" if number else place_of[own]
        for number, own in zip(numbers, files, strict=True)
    ]
    return table.with_columns({"rlnImageName": renamed})
