"""RELION's STAR files, versions 3.0 to 5.

3.1 and later have two tables: `optics` (one row an optics group: kV, Cs, amplitude contrast, pixel size, image size)
and `particles`. 3.0 has one, `images` or without a name, with the same for every particle, and the pixel size as
detector pixel (µm) and magnification. Of single particles, versions 4 and 5 differ from 3.1 by columns that are not
needed here. Sources: RELION's documentation, "Conventions" (optics groups, rlnOrigin in Å since 3.1), and its
metadata labels (src/metadata_label.h: names and units).

Higher aberrations and anisotropic magnification are ignored; images already multiplied by their CTF are refused,
since they would be corrected twice.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.star import read_star
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.particles import columns
from hydra_bench.particles.columns import CtfSource
from hydra_bench.particles.identity import ImageNames
from hydra_bench.particles.locate import locate
from hydra_bench.physics.ctf import Defocus, Optics
from hydra_bench.physics.rotations import matrices_from_euler

_OPTICS_COLUMNS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_DEFOCUS_COLUMNS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_ORIGINS_A, _ORIGINS_PX = ("rlnOriginXAngst", "rlnOriginYAngst"), ("rlnOriginX", "rlnOriginY")
_CORRECTED = {"rlnCtfDataAreCtfPremultiplied": "multiplied by their CTF", "rlnCtfDataArePhaseFlipped": "phase-flipped"}


@dataclass(frozen=True)
class _Tables:
    """The particles (N rows), the table with their optics, and row_of (N,), each particle's row of that.

    Rows of the optics that no particle has are left out: selections of particles leave unused groups behind.
    In RELION 3.0, particles are their own optics. `particles_at` and `optics_at` name file and table, for messages.
    """

    particles: pd.DataFrame
    optics: pd.DataFrame
    row_of: IntArray
    particles_at: str
    optics_at: str

    def label(self, row: int) -> str:
        """What messages call a row of the optics."""
        if self.optics is self.particles:
            return f"particle {row + 1}"
        return f"optics group {self.optics['rlnOpticsGroup'].iloc[row]}"

    def optics_numbers(self, column: str) -> FloatArray:
        """A column of the optics as numbers, one a row. Raises InputError."""
        where = f"{self.optics_at}: {column}"
        return columns.numbers(_column(self.optics, column, self.optics_at), where, self.label)


def read_star_stack(path: Path, datadir: Path | None, ctf: CtfSource, pixel_size_A: float | None) -> Stack:
    """Read a STAR file of particles. Raises InputError; see `particle_files`."""
    tables = _read_tables(path)
    _refuse_unsuitable_images(tables)
    pixel_size = _pixel_size_A(tables) if pixel_size_A is None else pixel_size_A
    optics, defocus = (None, None) if ctf == "none" else (_optics(tables), _defocus(tables))
    images = _open_images(tables, path, datadir)
    return Stack(path, images, pixel_size, optics, defocus, uids=_uids(tables.particles))


def read_star_ctf(path: Path) -> tuple[Optics, Defocus]:
    """The CTF parameters of a STAR file's particles alone; the images need not be there. Raises InputError."""
    tables = _read_tables(path)
    return _optics(tables), _defocus(tables)


def stated_pixel_size_A(path: Path) -> float | None:
    """The pixel size that a STAR file states for its images, None where it states none. Raises InputError."""
    tables = _read_tables(path)
    stated = any(name in tables.optics for name in ("rlnImagePixelSize", "rlnPixelSize", "rlnDetectorPixelSize"))
    return _pixel_size_A(tables) if stated else None


def read_star_labels(path: Path) -> tuple[IntArray, ImageNames]:
    """rlnClassNumber (M,) of a STAR file's rows, and what they are images of. Raises InputError."""
    particles, where = _particles_table(path, read_star(path))
    labels = _numbers(particles, "rlnClassNumber", where).astype(np.int64)
    return labels, _image_names(particles, where)


def read_star_images(path: Path) -> ImageNames:
    """Which images a STAR file's rows are of. Raises InputError."""
    return _image_names(*_particles_table(path, read_star(path)))


def _image_names(particles: pd.DataFrame, where: str) -> ImageNames:
    uids = _uids(particles)
    if "rlnImageName" not in particles:
        return ImageNames.nameless(where, len(particles), uids)
    frames, names = _frames_and_files(_column(particles, "rlnImageName", where), where)
    file_index, files = pd.factorize(names)
    return ImageNames(f"{where}: rlnImageName", tuple(files), file_index, frames, uids)


def _uids(particles: pd.DataFrame) -> IntArray | None:
    """cryoSPARC's uids (N,), which pyem keeps; None where they are not there, or were rounded to floats."""
    column = particles.get("ucsfUid")
    return column.to_numpy(np.uint64) if column is not None and column.dtype.kind in "iu" else None


def read_star_poses(path: Path, stack: Stack) -> tuple[FloatArray, FloatArray, ImageNames]:
    """Poses of a STAR file's M rows, rotations (M, 3, 3) and displacements (M, 2) in Å, and what they are images of.

    Origins are in Å (rlnOriginXAngst), or in px of the file's images (rlnOriginX, RELION 3.0). They say how to move
    the image back, so the particle's displacement is their negative.
    """
    particles, where = _particles_table(path, read_star(path))
    angles = np.stack([_numbers(particles, column, where) for column in _ANGLES], 1)
    if all(column in particles for column in _ORIGINS_PX) and _ORIGINS_A[0] not in particles:
        stated = any(column in particles for column in ("rlnImagePixelSize", "rlnPixelSize", "rlnDetectorPixelSize"))
        pixel_size = _pixel_size_A(_read_tables(path)) if stated else stack.pixel_size_A
        origins_A = pixel_size * np.stack([_numbers(particles, column, where) for column in _ORIGINS_PX], 1)
    else:
        origins_A = np.stack([_numbers(particles, column, where) for column in _ORIGINS_A], 1)
    return matrices_from_euler(angles), -origins_A, _image_names(particles, where)


def _read_tables(path: Path) -> _Tables:
    blocks = read_star(path)
    particles, where = _particles_table(path, blocks)
    if "optics" in blocks:
        return _grouped(particles, blocks["optics"], where, f"{path}: data_optics")
    if "rlnOpticsGroup" in particles:
        name = where.removeprefix(f"{path}: ")
        raise InputError(f"{path}: no data_optics table, but {name} has rlnOpticsGroup; RELION 3.1 and later have both")
    return _Tables(particles, particles, np.arange(len(particles)), where, where)


def _particles_table(path: Path, blocks: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    """The table of particles, and file and table as messages name them. Raises InputError."""
    for name in ("particles", "images", ""):
        if name in blocks:
            if len(blocks[name]) == 0:
                raise InputError(f"{path}: data_{name} holds no particles; at least one is needed")
            return blocks[name], f"{path}: data_{name}"
    found = ", ".join(f"data_{name}" for name in blocks)
    raise InputError(f"{path}: no data_particles table (nor data_images or data_, as in RELION 3.0), just {found}")


def _grouped(particles: pd.DataFrame, optics: pd.DataFrame, particles_at: str, optics_at: str) -> _Tables:
    """Tables of RELION 3.1 and later, where groups may have any numbers in any order."""
    groups = pd.Index(_numbers(optics, "rlnOpticsGroup", optics_at))
    if groups.has_duplicates:
        twice = groups[groups.duplicated()][0]
        raise InputError(f"{optics_at}: rlnOpticsGroup {twice:g} is there twice; each group has one row")
    wanted = _numbers(particles, "rlnOpticsGroup", particles_at)
    group_of = groups.get_indexer(pd.Index(wanted))
    if (group_of < 0).any():
        i, known = int(np.argmin(group_of)), ", ".join(f"{group:g}" for group in groups)
        raise InputError(
            f"{particles_at}: rlnOpticsGroup is {wanted[i]:g} in row {i + 1}; data_optics has just {known}"
        )
    used, row_of = np.unique(group_of, return_inverse=True)
    return _Tables(particles, optics.iloc[used], row_of, particles_at, optics_at)


def _column(table: pd.DataFrame, column: str, where: str) -> pd.Series:
    if column not in table:
        raise InputError(f"{where} lacks the column {column}")
    if list(table.columns).count(column) > 1:
        raise InputError(f"{where} has the column {column} twice")
    return table[column]


def _numbers(table: pd.DataFrame, column: str, where: str) -> FloatArray:
    return columns.numbers(_column(table, column, where), f"{where}: {column}")


def _refuse_unsuitable_images(tables: _Tables) -> None:
    for column, what in _CORRECTED.items():
        if column not in tables.optics:
            continue
        bad = np.flatnonzero(tables.optics_numbers(column))
        if len(bad):
            raise InputError(
                f"{tables.optics_at}: {column} is set for {tables.label(bad[0])}: its images are {what}; "
                "images without CTF correction are needed"
            )
    if "rlnImageDimensionality" in tables.optics:
        dimensions = tables.optics_numbers("rlnImageDimensionality")
        if (dimensions != 2).any():
            found = dimensions[dimensions != 2][0]
            raise InputError(f"{tables.optics_at}: rlnImageDimensionality is {found:g}; 2 is allowed")


def _pixel_size_A(tables: _Tables) -> float:
    """rlnImagePixelSize or rlnPixelSize, or the detector's pixel (µm) divided by the magnification."""
    where, stated = tables.optics_at, [c for c in ("rlnImagePixelSize", "rlnPixelSize") if c in tables.optics]
    if stated:
        source, values = stated[0], tables.optics_numbers(stated[0])
    elif "rlnDetectorPixelSize" in tables.optics:
        source = "rlnDetectorPixelSize * 1e4 / rlnMagnification"
        magnification = tables.optics_numbers("rlnMagnification")
        if (magnification <= 0).any():
            raise InputError(f"{where}: rlnMagnification is {magnification.min():g}; above 0 is allowed")
        values = tables.optics_numbers("rlnDetectorPixelSize") * 1e4 / magnification
    else:
        raise InputError(
            f"{where} lacks the column rlnImagePixelSize (or rlnPixelSize, or rlnDetectorPixelSize and "
            "rlnMagnification); if it is known, give pixel_size_A"
        )
    source = f"{where}: {source}"
    values = columns.limited(values, source, columns.PIXEL_SIZE, tables.label)
    return columns.one_pixel_size(values, tables.label, source)


def _optics(tables: _Tables) -> Optics:
    optics, where = tables.optics, tables.optics_at
    fields = {f"{where}: {name}": _column(optics, name, where) for name in _OPTICS_COLUMNS}
    return columns.optics_from_columns(fields, tables.row_of, tables.label)


def _defocus(tables: _Tables) -> Defocus:
    where, particles = tables.particles_at, tables.particles
    u, v, angle = (_numbers(particles, column, where) for column in _DEFOCUS_COLUMNS)
    # RELION leaves the column out where there is no phase plate.
    phase = _numbers(particles, "rlnPhaseShift", where) if "rlnPhaseShift" in particles else np.zeros(len(u))
    defocus = Defocus(u, v, angle, phase)
    # A stack without CTF says so by amplitude contrast 1 and no defocus: see `hydra_bench.contracts.stack`.
    if not (tables.optics_numbers("rlnAmplitudeContrast") == 1).all():
        columns.check_defocus(defocus, f"{where}: rlnDefocusU and rlnDefocusV")
    return defocus


def _frames_and_files(names: pd.Series, where: str) -> tuple[IntArray, pd.Series]:
    """rlnImageName as image numbers (N,) from 0 and file names; a name without number is a file of one image."""
    text = names.astype(str)
    parts = text.where(text.str.contains("@"), "1@" + text).str.split("@", n=1)
    numbers_from_1 = pd.to_numeric(parts.str[0], errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~(numbers_from_1 >= 1) | (numbers_from_1 % 1 != 0))
    if len(bad):
        i = bad[0]
        raise InputError(
            f"{where}: rlnImageName is {text.iloc[i]!r} in row {i + 1}; <number from 1>@<file>.mrcs is expected"
        )
    return numbers_from_1.astype(np.int64) - 1, parts.str[1]


def _box_px(tables: _Tables) -> int | None:
    """rlnImageSize, which must be the same for all particles; None where it is not given (RELION 3.0)."""
    if "rlnImageSize" not in tables.optics:
        return None
    sizes = tables.optics_numbers("rlnImageSize")
    if (sizes != sizes[0]).any():
        i = int(np.argmax(sizes != sizes[0]))
        raise InputError(
            f"{tables.optics_at}: rlnImageSize: {tables.label(0)} has {sizes[0]:g} px and {tables.label(i)} has "
            f"{sizes[i]:g} px; all particles must have one image size: crop or rescale the images, or read the groups "
            "one by one"
        )
    return int(sizes[0])


def _open_images(tables: _Tables, path: Path, datadir: Path | None) -> ImageFiles:
    where = tables.particles_at
    column = _column(tables.particles, "rlnImageName", where)
    frames, names = _frames_and_files(column, where)
    file_index, unique = pd.factorize(names)
    paths = locate(unique, path, "rlnImageName", datadir)
    box_at = f"{tables.optics_at}: rlnImageSize"
    named_by = f"{where}: rlnImageName"
    images = ImageFiles.open(paths, file_index, frames, named_by, _box_px(tables), box_at, unique.tolist())
    bare = np.flatnonzero(~column.astype(str).str.contains("@").to_numpy())
    if len(bare) and images.files[file_index[bare[0]]].n_images != 1:
        raise InputError(
            f"{where}: rlnImageName is {column.iloc[bare[0]]!r}, a file of several images, without <number>@; "
            "tomography's stacks, one file a particle, are not supported"
        )
    return images
