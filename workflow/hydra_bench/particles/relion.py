"""What RELION's STAR files, versions 3.0 to 5, say of particles: images, CTF, poses, labels (tables: relion_tables.py).

The optics have kV, Cs, amplitude contrast, pixel size and image size; in 3.0 the pixel size stands as detector pixel
(µm) and magnification. Of single particles, versions 4 and 5 differ from 3.1 by columns that are not
needed here. Sources: RELION's documentation, "Conventions" (optics groups, rlnOrigin in Å since 3.1), and its
metadata labels (src/metadata_label.h: names and units).

Anisotropic magnification (rlnMagMat), B-factor and scale of a particle's CTF are used. Beam tilt and Zernike terms are
not, which is noted where they are not zero. Images already multiplied by their CTF, or phase-flipped, are refused,
since they would be corrected twice; and images of tilt series, since several are of one particle.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hydra_bench.contracts.stack import DAMPING_COLUMNS, Stack
from hydra_bench.contracts.tables import whole_numbers
from hydra_bench.contracts.truth import junk_numbers
from hydra_bench.core.console import say
from hydra_bench.core.errors import InputError
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.star import read_star
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.particles import columns
from hydra_bench.particles.columns import CtfSource, Microscope
from hydra_bench.particles.identity import ImageNames
from hydra_bench.particles.locate import locate
from hydra_bench.particles.relion_tables import Tables, column_of, numbers_of, particles_table, read_tables, tables_of
from hydra_bench.physics.ctf import Defocus, Optics
from hydra_bench.physics.rotations import matrices_from_euler

_OPTICS_COLUMNS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_DEFOCUS_COLUMNS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_ORIGINS_A, _ORIGINS_PX = ("rlnOriginXAngst", "rlnOriginYAngst"), ("rlnOriginX", "rlnOriginY")
MAGNIFICATION_COLUMNS = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
_CORRECTED = {"rlnCtfDataAreCtfPremultiplied": "multiplied by their CTF", "rlnCtfDataArePhaseFlipped": "phase-flipped"}


def read_star_stack(
    path: Path, datadir: Path | None, ctf: CtfSource, pixel_size_A: float | None, given: Microscope
) -> Stack:
    """Read a STAR file of particles. Raises InputError; see `particle_files`."""
    tables = read_tables(path)
    _refuse_unsuitable_images(tables)
    pixel_size, stated = pixel_size_A, None
    if pixel_size is None or _states_pixel_size(tables):
        sizes_A, held, source = _pixel_sizes_A(tables)
        pixel_size = columns.one_pixel_size(sizes_A, pixel_size_A, held.label, source)
        stated = sizes_A[held.row_of]
    notes: list[str] = []
    optics, defocus = (None, None) if ctf == "none" else (_optics(tables, given, notes, path), _defocus(tables))
    images = _open_images(tables, path, datadir)
    notes += columns.sizes_note(path, pixel_size, stated, images) + columns.unused_note(path, _aberrations(tables))
    notes += [] if defocus is None else columns.defocus_notes(path, defocus)
    return Stack(
        path,
        images,
        pixel_size,
        optics,
        defocus,
        magnification=_magnification(tables),
        uids=_uids(tables.particles),
        stated_pixel_sizes_A=stated,
        notes=tuple(notes),
    )


def read_star_ctf(path: Path) -> tuple[Optics, Defocus]:
    """The CTF parameters of a STAR file's particles alone; the images need not be there. Raises InputError."""
    tables = read_tables(path)
    return _optics(tables, Microscope(), [], path), _defocus(tables)


def stated_magnification(path: Path) -> tuple[FloatArray | None, FloatArray | None]:
    """What a STAR file states of each image: pixel sizes (N,) in Å, None without, and matrices as of a Stack.

    Raises InputError.
    """
    tables = read_tables(path)
    if not _states_pixel_size(tables):
        return None, _magnification(tables)
    sizes_A, held, _ = _pixel_sizes_A(tables)
    return sizes_A[held.row_of], _magnification(tables)


def read_star_labels(path: Path) -> tuple[IntArray, ImageNames]:
    """rlnClassNumber (M,) of a STAR file's rows, and what they are images of. Raises InputError."""
    particles, where = particles_table(path, read_star(path))
    labels = numbers_of(particles, "rlnClassNumber", where).astype(np.int64)
    return labels, _image_names(particles, where)


def read_star_classes(path: Path) -> IntArray:
    """Class (M,) of a STAR file's rows, from 0; -1 for those of no class: number 0, or a truth's junk.

    Raises InputError.
    """
    blocks = read_star(path)
    particles, where = particles_table(path, blocks)
    column_of(particles, "rlnClassNumber", where)
    numbers = whole_numbers(particles, "rlnClassNumber", where, 0)
    return np.where(np.isin(numbers, [0, *junk_numbers(blocks)]), -1, numbers - 1)


def read_star_images(path: Path) -> ImageNames:
    """Which images a STAR file's rows are of. Raises InputError."""
    return _image_names(*particles_table(path, read_star(path)))


def _image_names(particles: pd.DataFrame, where: str) -> ImageNames:
    uids = _uids(particles)
    if "rlnImageName" not in particles:
        return ImageNames.nameless(where, len(particles), uids)
    frames, names = _frames_and_files(column_of(particles, "rlnImageName", where), where)
    file_index, files = pd.factorize(names)
    return ImageNames(f"{where}: rlnImageName", tuple(files), file_index, frames, uids)


def _uids(particles: pd.DataFrame) -> IntArray | None:
    """cryoSPARC's uids (N,), which pyem keeps; None where they are not there, or were rounded to floats."""
    column = particles.get("ucsfUid")
    return column.to_numpy(np.uint64) if column is not None and column.dtype.kind in "iu" else None


def read_star_poses(path: Path, stack: Stack) -> tuple[FloatArray, FloatArray, ImageNames]:
    """Poses of a STAR file's M rows, rotations (M, 3, 3) and displacements (M, 2) in Å, and what they are images of.

    Origins are in Å (rlnOriginXAngst), or in px (rlnOriginX), each row's of the size that its file says of it, which
    may be a binned one. They say how to move the image back, so the particle's displacement is their negative.
    """
    blocks = read_star(path)
    particles, where = particles_table(path, blocks)
    angles = np.stack([numbers_of(particles, column, where) for column in _ANGLES], 1)
    if all(column in particles for column in _ORIGINS_PX) and _ORIGINS_A[0] not in particles:
        tables = tables_of(path, blocks)
        sizes_A = np.full(len(particles), stack.pixel_size_A)
        if _states_pixel_size(tables):
            stated_A, held, _ = _pixel_sizes_A(tables)
            sizes_A = stated_A[held.row_of]
        else:
            say(f"{path}: origins are in px, of no size that it states; taken to be {stack.pixel_size_A:g} Å")
        origins_A = sizes_A[:, None] * np.stack([numbers_of(particles, column, where) for column in _ORIGINS_PX], 1)
    else:
        origins_A = np.stack([numbers_of(particles, column, where) for column in _ORIGINS_A], 1)
    return matrices_from_euler(angles), -origins_A, _image_names(particles, where)


def _refuse_unsuitable_images(tables: Tables) -> None:
    for column, what in _CORRECTED.items():
        held = tables.holding(column)
        if column not in held.optics:
            continue
        bad = np.flatnonzero(held.optics_numbers(column))
        if len(bad):
            raise InputError(
                f"{held.optics_at}: {column} is set for {held.label(bad[0])}: its images are {what}; "
                "images without CTF correction are needed"
            )
    if "rlnImageDimensionality" in tables.optics:
        dimensions = tables.optics_numbers("rlnImageDimensionality")
        if (dimensions != 2).any():
            found = dimensions[dimensions != 2][0]
            raise InputError(f"{tables.optics_at}: rlnImageDimensionality is {found:g}; 2 is allowed")
    for table, where in ((tables.particles, tables.particles_at), (tables.optics, tables.optics_at)):
        tomographic = [str(column) for column in table.columns if str(column).startswith("rlnTomo")]
        if tomographic:
            raise InputError(f"{where} has the column {tomographic[0]}, of tilt series; {_ONE_IMAGE_A_PARTICLE}")
    if {"rlnGroupName", "rlnMicrographPreExposure"} <= set(tables.particles.columns):
        exposures = tables.particles.groupby("rlnGroupName")["rlnMicrographPreExposure"].nunique()
        if (exposures > 1).any():
            raise InputError(
                f"{tables.particles_at}: rlnMicrographPreExposure differs within rlnGroupName {exposures.idxmax()}, as "
                f"in tilt series; {_ONE_IMAGE_A_PARTICLE}"
            )


_ONE_IMAGE_A_PARTICLE = "several images of one particle are not supported, one image a particle is expected"

_PIXEL_SIZES = ("rlnImagePixelSize", "rlnPixelSize")
_MAGNIFIED = ("rlnDetectorPixelSize", "rlnMagnification")


def _states_pixel_size(tables: Tables) -> bool:
    present = {str(column) for column in (*tables.optics.columns, *tables.particles.columns)}
    return bool(present & {*_PIXEL_SIZES, _MAGNIFIED[0]})


def _pixel_sizes_A(tables: Tables) -> tuple[FloatArray, Tables, str]:
    """rlnImagePixelSize or rlnPixelSize, or the detector's pixel (µm) by the magnification, of each row of the optics.

    And the tables whose optics these are, and what messages call the column.
    """
    present = {*tables.optics.columns, *tables.particles.columns}
    stated = [name for name in _PIXEL_SIZES if name in present]
    held = tables.holding(*(stated[:1] or _MAGNIFIED))
    if stated:
        source = stated[0]
        values = held.optics_numbers(source)
    elif _MAGNIFIED[0] in present:
        source = "rlnDetectorPixelSize * 1e4 / rlnMagnification"
        magnification = held.optics_numbers("rlnMagnification")
        if (magnification <= 0).any():
            raise InputError(f"{held.optics_at}: rlnMagnification is {magnification.min():g}; above 0 is allowed")
        values = held.optics_numbers("rlnDetectorPixelSize") * 1e4 / magnification
    else:
        raise InputError(
            f"{tables.optics_at} lacks the column rlnImagePixelSize (or rlnPixelSize, or rlnDetectorPixelSize and "
            "rlnMagnification); if it is known, give pixel_size_A (--pixel-size)"
        )
    source = f"{held.optics_at}: {source}"
    return columns.limited(values, source, columns.PIXEL_SIZE, held.label), held, source


def _optics(tables: Tables, given: Microscope, notes: list[str], path: Path) -> Optics:
    def stated(number: int) -> FloatArray:
        name = _OPTICS_COLUMNS[number]
        held = tables.holding(name)
        column = column_of(held.optics, name, held.optics_at, columns.microscope_advice(number))
        where, limits = f"{held.optics_at}: {name}", columns.MICROSCOPE_LIMITS[number]
        return columns.limited(column, where, limits, held.label)[held.row_of]

    return columns.microscope_of_particles(given, len(tables.particles), stated, notes, path)


def _aberrations(tables: Tables) -> dict[str, FloatArray]:
    """What is known of aberrations that are not used, by name."""
    found = {}
    for name, what in (("rlnBeamTiltX", "beam tilt"), ("rlnBeamTiltY", "beam tilt")):
        values = tables.of_particles(name, 0.0)
        if values is not None:
            found[f"{what} ({name})"] = values
    for name, what in (("rlnOddZernike", "odd Zernike terms"), ("rlnEvenZernike", "even Zernike terms")):
        held = tables.holding(name)
        if name in held.optics:
            # Lists in brackets, such as [0.47,-34.4,0].
            text = " ".join(held.optics[name].astype(str)).translate(str.maketrans("[],", "   "))
            found[f"{what} ({name})"] = pd.to_numeric(pd.Series(text.split()), errors="coerce").fillna(1).to_numpy()
    return found


def _magnification(tables: Tables) -> FloatArray | None:
    """The magnification matrices (N, 2, 2), None where they are neutral or not there. Raises InputError."""
    neutral = dict(zip(MAGNIFICATION_COLUMNS, (1.0, 0.0, 0.0, 1.0), strict=True))
    fields = [tables.of_particles(name, value) for name, value in neutral.items()]
    if all(field is None for field in fields):
        return None
    n = len(tables.particles)
    parts = [np.full(n, v) if f is None else f for f, v in zip(fields, neutral.values(), strict=True)]
    return columns.magnification_of_particles(np.stack(parts, 1).reshape(n, 2, 2), f"{tables.optics_at}: rlnMagMat")


def _defocus(tables: Tables) -> Defocus:
    where, particles = tables.particles_at, tables.particles
    u, v, angle = (numbers_of(particles, column, where) for column in _DEFOCUS_COLUMNS)
    # RELION leaves the column out where there is no phase plate.
    phase = numbers_of(particles, "rlnPhaseShift", where) if "rlnPhaseShift" in particles else np.zeros(len(u))
    b_factor, scale = (
        tables.of_particles(name, neutral) for name, neutral in zip(DAMPING_COLUMNS, (0, 1), strict=True)
    )
    defocus = Defocus(u, v, angle, phase, *columns.damping(b_factor, scale))
    # A stack without CTF says so by amplitude contrast 1 and no defocus: see `hydra_bench.contracts.stack`.
    contrast = tables.of_particles("rlnAmplitudeContrast", 0.0)
    if contrast is None or not (contrast == 1).all():
        columns.check_defocus(defocus, f"{where}: rlnDefocusU and rlnDefocusV")
    return defocus


def _frames_and_files(names: pd.Series, where: str) -> tuple[IntArray, pd.Series]:
    """rlnImageName as image numbers (N,) from 0 and file names; a name without number is a file of one image."""
    # Of objects, since a name of another encoding than UTF-8 is none of pandas' texts.
    text = pd.Series([str(name) for name in names], dtype=object)
    parts = text.where(text.str.contains("@"), "1@" + text).str.split("@", n=1)
    numbers_from_1 = pd.to_numeric(parts.str[0], errors="coerce").to_numpy(np.float64)
    possible = (numbers_from_1 >= 1) & (numbers_from_1 < 2**53)
    bad = np.flatnonzero(~possible | (np.where(possible, numbers_from_1, 0) % 1 != 0))
    if len(bad):
        i = bad[0]
        raise InputError(
            f"{where}: rlnImageName is {text.iloc[i]!r} in row {i + 1}; <number from 1>@<file>.mrcs is expected"
        )
    return numbers_from_1.astype(np.int64) - 1, parts.str[1]


def _box_px(tables: Tables) -> int | None:
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


def _open_images(tables: Tables, path: Path, datadir: Path | None) -> ImageFiles:
    where = tables.particles_at
    column = column_of(tables.particles, "rlnImageName", where)
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
