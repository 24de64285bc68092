"""The source: which row of the user's own file each image of a stack is.

source.json   the file of particles: where it lies, what tells it apart, the pixel size that its images were read with
rows.npy      (N,) each image's row in that file, from 0, in the order of the stack

It lies beside the folder of a dataset's stack, and in the folder of a run on anybody's particles; never in the truth,
which a result can be told without, nor in the stack, since a file of the user's may hold classes. Paths are relative
to the record, so that a project can be moved as a whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hydra_bench.contracts.places import PARTICLES_NAME, SOURCE_FOLDER, Results
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic, read_json, sha256, write_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.npy import read_npy
from hydra_bench.core.types import IntArray

SOURCE_NAME, ROWS_NAME = "source.json", "rows.npy"


@dataclass(frozen=True)
class Source:
    """Where N images were taken from.

    path : the STAR or .cs file, or the image stack itself. checksum : its SHA-256, None of an image stack.
    passthrough : the second file that held fields of its rows, if any. rows (N,), from 0. pixel_size_A, box_px : of the
    file's images, as they were taken to be when they were read.
    fingerprint : of the images that were read (see Stack.fingerprint). stack_checksum : of the STAR file of the stack
    that the images became, None where the file itself was the stack.
    """

    path: Path
    rows: IntArray
    pixel_size_A: float
    box_px: int
    checksum: str | None
    passthrough: Path | None
    fingerprint: JsonObject
    stack_checksum: str | None = None

    @classmethod
    def of_stack(cls, particles: Stack, became: Path | None = None) -> Source:
        """The source of particles as they lie in their file; `became` is the stack that they were made into."""
        fingerprint = particles.fingerprint()
        return cls(
            path=particles.path,
            rows=particles.source_rows,
            pixel_size_A=particles.pixel_size_A,
            box_px=particles.box_px,
            checksum=None if fingerprint["file_sha256"] is None else str(fingerprint["file_sha256"]),
            passthrough=particles.passthrough,
            fingerprint=fingerprint,
            stack_checksum=None if became is None else sha256(became),
        )

    def check_unchanged(self) -> None:
        """Raises InputError unless the file is there as it was: in another one the rows may be other images."""
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file any more; name by --particles where it lies now")
        if self.checksum is not None and sha256(self.path) != self.checksum:
            raise InputError(
                f"{self.path}: is not the file that the particles were read from (its checksum differs), so its rows "
                "may be other images; name a copy of that file by --particles"
            )


def source_beside(stack_folder: Path) -> Path:
    """The folder of the record of a dataset's stack, given the stack's folder."""
    return stack_folder.absolute().with_name(SOURCE_FOLDER)


def write_source(folder: Path, source: Source) -> None:
    """Write the record into its folder."""
    with atomic(folder / ROWS_NAME) as temporary, open(temporary, "wb") as file:
        np.save(file, np.asarray(source.rows, dtype=np.int64))
    content = {
        "file": _relative(source.path, folder),
        "file_sha256": source.checksum,
        "passthrough": None if source.passthrough is None else _relative(source.passthrough, folder),
        "pixel_size_A": float(source.pixel_size_A),
        "box_px": source.box_px,
        "fingerprint": source.fingerprint,
        "stack_sha256": source.stack_checksum,
    }
    write_json(folder / SOURCE_NAME, content)


def read_source(folder: Path) -> Source:
    """Read the record of a folder. Raises InputError if it is missing or damaged."""
    path = folder / SOURCE_NAME
    content = read_json(path)
    try:
        rows: IntArray = read_npy(folder / ROWS_NAME)
        second = content["passthrough"]
        source = Source(
            path=_found(folder, content["file"]),
            rows=rows,
            pixel_size_A=content["pixel_size_A"],
            box_px=content["box_px"],
            checksum=content["file_sha256"],
            passthrough=None if second is None else _found(folder, second),
            fingerprint=content["fingerprint"],
            stack_checksum=content["stack_sha256"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a record of this version ({' '.join(str(error).split())[:120]})") from None
    texts = (source.checksum, source.stack_checksum)
    sizes = (source.pixel_size_A, source.box_px)
    if not (
        isinstance(content["file"], str)
        and all(text is None or isinstance(text, str) for text in texts)
        and all(isinstance(size, int | float) and 0 < size < 1e6 for size in sizes)
        and isinstance(source.fingerprint, dict)
    ):
        raise InputError(f"{path}: not a record of this version (texts, sizes above 0 and a fingerprint are expected)")
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer) or not len(rows) or rows.min() < 0:
        raise InputError(f"{folder / ROWS_NAME}: {rows.dtype} {rows.shape}; row numbers from 0 are expected")
    return source


def is_source_of(folder: Path, stack_star: Path) -> bool:
    """Whether a folder holds the record of the stack that a STAR file lists, and not of one that was there before."""
    return (folder / SOURCE_NAME).is_file() and read_source(folder).stack_checksum == sha256(stack_star)


def source_of_particles(particles: Stack) -> Source:
    """The source of particles that a run is given: of a dataset's stack, the file that the stack was made from."""
    folder = source_beside(particles.path.parent)
    if particles.path.name == PARTICLES_NAME and is_source_of(folder, particles.path):
        made_from = read_source(folder)
        return replace(made_from, rows=made_from.rows[particles.source_rows], stack_checksum=None)
    return Source.of_stack(particles)


def source_of_run(run: Path) -> Source:
    """The source of a run's particles: its own record, or, in a workflow's results, that of its dataset.

    Raises
    ------
    InputError
        If there is none, or the stack has been made anew since.
    """
    if (run / SOURCE_FOLDER / SOURCE_NAME).is_file():
        return read_source(run / SOURCE_FOLDER)
    places = Results.dataset_of_reconstruction(run)
    if places is not None and (places.source / SOURCE_NAME).is_file():
        if places.particles.is_file() and not is_source_of(places.source, places.particles):
            raise InputError(f"{places.source}: is of another stack than {places.particles}; make the dataset anew")
        return read_source(places.source)
    raise InputError(
        f"{run}: which rows of which file its particles are is not recorded; a folder that `hydra-bench hydra` made, "
        "or a reconstruction of a workflow whose dataset was made by this version, is expected"
    )


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())


def _found(folder: Path, name: str) -> Path:
    return Path(os.path.normpath(folder.resolve() / name))
