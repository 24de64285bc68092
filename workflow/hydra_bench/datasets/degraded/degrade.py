"""From a STAR file to a new folder: the degraded stack, its STAR file, and the record of what was done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from hydra_bench import __version__
from hydra_bench.contracts.places import IMAGES_NAME, PARTICLES_NAME
from hydra_bench.contracts.poses import ANGLE_COLUMNS, ORIGIN_COLUMNS
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import partial_folder, sha256, write_json, write_text, writing
from hydra_bench.core.mrc import ImageStackWriter
from hydra_bench.core.types import FloatArray
from hydra_bench.datasets.degraded.images import TOGETHER, Images, Noise
from hydra_bench.datasets.degraded.wanted import POSSIBLE_JUNK, Degradation, Drawn, draw
from hydra_bench.datasets.simulated.troubles import JUNK_KINDS
from hydra_bench.particles.particle_files import file_format, read_particles
from hydra_bench.particles.star_rows import StarRows, read_star_rows

RECORD_NAME, DRAWN_NAME = "degraded.json", "degraded.csv"


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
                for part in np.array_split(np.arange(len(drawn.rows)), -(-len(drawn.rows) // TOGETHER)):
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
