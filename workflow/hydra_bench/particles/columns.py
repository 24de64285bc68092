"""Checks of metadata columns that all formats share: numbers, units, and what all particles must have in common.

Units cannot be read from a file, but wrong ones usually show: a defocus of 1.5 is in µm, a voltage of 300000 in
volts, an amplitude contrast of 10 in per cent. Such values are refused, since a wrong CTF fails silently.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from hydra_bench.core.errors import InputError
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.types import FloatArray
from hydra_bench.physics.ctf import Defocus, Optics

CtfSource = Literal["file", "none"]

_SAME_PIXEL_SIZE = 1e-4
_LARGEST_MICROMETRES, _LARGEST_NANOMETRES, _LARGEST_DEFOCUS_A = 100.0, 2000.0, 1e6
_PHASE_PLATE_DEG = 15.0
_TELLING_ANGLES = 5
"""So many different angles, all of them small in degrees, are rather in radians."""
_HEADER_TOLERANCE, _NEAR_PIXEL_SIZE = 0.01, 0.01
_LARGEST_DISTORTION = 0.3


@dataclass(frozen=True)
class Limits:
    """What a column may hold: lowest <= value <= highest, or lowest < value if `above`; `unit` is for the message."""

    lowest: float
    highest: float
    unit: str
    above: bool = False


VOLTAGE = Limits(10, 3000, "kV")
SPHERICAL_ABERRATION = Limits(0, 20, "mm")
AMPLITUDE_CONTRAST = Limits(0, 1, "a fraction")
PIXEL_SIZE = Limits(0, 1000, "Å", above=True)
ANGLE_RAD = Limits(-4 * np.pi, 4 * np.pi, "rad")


def row_label(row: int) -> str:
    """What messages call a row, where there is no better name."""
    return f"row {row + 1}"


def numbers(values: Any, where: str, label: Callable[[int], str] = row_label) -> FloatArray:
    """A column as float64. Raises InputError for anything but finite numbers.

    `where` names file, table and column; `label` a row.
    """
    raw = np.asarray(values)
    try:
        # Texts as objects: of another encoding than UTF-8 they are none of pandas' own.
        series = pd.Series(raw, dtype=object if raw.dtype.kind in "OUST" else raw.dtype)
        column = pd.to_numeric(series, errors="coerce").to_numpy(np.float64)
    except OverflowError:  # an integer of hundreds of digits
        raise InputError(f"{where} is not a number of this size throughout") from None
    bad = np.flatnonzero(~np.isfinite(column))
    if len(bad):
        raise InputError(f"{where} is {raw[bad[0]]!s} in {label(bad[0])}; a number is expected")
    return column


def limited(values: Any, where: str, limits: Limits, label: Callable[[int], str] = row_label) -> FloatArray:
    """A column as float64, all within the limits. Raises InputError otherwise."""
    column = numbers(values, where, label)
    low = column <= limits.lowest if limits.above else column < limits.lowest
    bad = np.flatnonzero(low | (column > limits.highest))
    if len(bad):
        allowed = f"{'above ' if limits.above else ''}{limits.lowest:g} to {limits.highest:g} ({limits.unit})"
        raise InputError(f"{where} is {column[bad[0]]:g} in {label(bad[0])}; {allowed} is allowed")
    return column


@dataclass(frozen=True)
class Microscope:
    """Constants of the CTF as the user gives them, in place of the file's; None leaves the file's."""

    voltage_kV: float | None = None
    spherical_aberration_mm: float | None = None
    amplitude_contrast: float | None = None


MICROSCOPE_LIMITS = (VOLTAGE, SPHERICAL_ABERRATION, AMPLITUDE_CONTRAST)
MICROSCOPE_OPTIONS = ("--voltage", "--cs", "--amplitude-contrast")
_MICROSCOPE_KEYS = ("voltage_kV", "spherical_aberration_mm", "amplitude_contrast")


def microscope_advice(constant: int) -> str:
    """What messages say where one of the three constants is missing."""
    option, key = MICROSCOPE_OPTIONS[constant], _MICROSCOPE_KEYS[constant]
    return f"; it can be given by {option} (for a dataset of a configuration: {key})"


def microscope_of_particles(
    given: Microscope, n: int, stated: Callable[[int], FloatArray], notes: list[str], where: Path
) -> Optics:
    """Optics of n particles: each of the three constants as given, or as `stated(number)`, (n,), in the file.

    What is given in place of another value is noted. Raises InputError for values that cannot be.
    """
    fields = []
    for number, (value, limits) in enumerate(zip(vars(given).values(), MICROSCOPE_LIMITS, strict=True)):
        if value is None:
            fields.append(stated(number))
            continue
        fields.append(limited([float(value)] * n, MICROSCOPE_OPTIONS[number], limits))
        with suppress(InputError):  # the file need not have it
            if (differs := stated(number) != value).any():
                found = stated(number)[np.argmax(differs)]
                notes.append(f"{where}: {_MICROSCOPE_KEYS[number]} is {value:g} as given, not {found:g} as in the file")
    return Optics.of_particles(*fields)


def sizes_note(path: Path, pixel_size_A: float, stated_A: FloatArray | None, images: ImageFiles) -> list[str]:
    """What to note of pixel sizes that differ: the given one counts, else the file's, and never that of image headers.

    Headers without a size, and those of 1 Å, which programs write that know none, say nothing.
    """
    notes = []
    if stated_A is not None and (np.abs(pixel_size_A / stated_A - 1) > _SAME_PIXEL_SIZE).any():
        found = " to ".join(f"{size:g}" for size in np.unique([stated_A.min(), stated_A.max()]))
        notes.append(f"{path}: the pixel size is {pixel_size_A:g} Å as given, not {found} Å as in the file")
    known = [file for file in images.files if file.pixel_size_A > 0 and file.pixel_size_A != 1]
    other = [file for file in known if abs(file.pixel_size_A / pixel_size_A - 1) > _HEADER_TOLERANCE]
    if other:
        notes.append(
            f"{path}: the pixel size is {pixel_size_A:g} Å, not that of the headers of {len(other)} of its "
            f"{len(images.files)} image files ({other[0].pixel_size_A:g} Å in {other[0].path.name})"
        )
    return notes


def unused_note(path: Path, terms: dict[str, FloatArray]) -> list[str]:
    """The note on aberrations, name -> values, that are not neutral: the model of the images has no place for them."""
    found = [name for name, values in terms.items() if len(values) and np.abs(values).max() > 0]
    return [f"{path}: not used: {', '.join(found)}"] if found else []


def damping(b_factor_A2: FloatArray | None, scale: FloatArray | None) -> tuple[FloatArray | None, FloatArray | None]:
    """Both of the CTF as they are used: None where they change nothing."""
    return (
        None if b_factor_A2 is None or not b_factor_A2.any() else b_factor_A2,
        None if scale is None or (scale == 1).all() else scale,
    )


def magnification_of_particles(matrices: FloatArray, where: str) -> FloatArray | None:
    """Matrices (N, 2, 2), None where all are neutral. Raises InputError where one cannot be."""
    if (np.abs(matrices - np.eye(2)) < 1e-6).all():
        return None
    off = np.abs(matrices - np.eye(2)).reshape(len(matrices), 4).max(1)
    if (off > _LARGEST_DISTORTION).any():
        row = int(np.argmax(off))
        raise InputError(
            f"{where}: {matrices[row].ravel().tolist()} in {row_label(row)} is no magnification matrix; one within "
            f"{_LARGEST_DISTORTION:g} of the identity is expected"
        )
    return matrices


def check_defocus(defocus: Defocus, where: str) -> None:
    """Raise InputError where the defocus is plainly not in Å; `where` names the file and the columns.

    Judged by the median, so that a few odd particles do not matter. With a phase plate, images may be taken in
    focus, and small values are let pass.
    """
    typical = float(np.median(np.abs(np.concatenate([defocus.u_A, defocus.v_A]))))
    in_focus_is_possible = float(np.median(np.abs(defocus.phase_shift_deg))) > _PHASE_PLATE_DEG
    unit = None
    if typical > _LARGEST_DEFOCUS_A:
        unit = "more than 100 µm"
    elif not in_focus_is_possible and typical < _LARGEST_NANOMETRES:
        unit = "in µm" if typical < _LARGEST_MICROMETRES else "in nm"
        unit = unit if typical > 0 else "no defocus"
    if unit is not None:
        raise InputError(f"{where}: median {typical:g}, which looks like {unit}; Å are expected (1.5 µm is 15000)")


def defocus_notes(path: Path, defocus: Defocus) -> list[str]:
    """What to note of a defocus that can be right and seldom is: another sign or unit makes a wrong CTF, silently."""
    notes = []
    typical = float(np.median(np.concatenate([defocus.u_A, defocus.v_A])))
    if typical < 0:
        notes.append(
            f"{path}: the defocus is negative (median {typical:.0f} Å), which is overfocus; underfocus is positive"
        )
    # A phase shift so small is worth no phase plate; angles of the defocus may all be the same.
    angles = (defocus.angle_deg, "angles of the defocus", _TELLING_ANGLES), (defocus.phase_shift_deg, "phase shifts", 1)
    for values, what, telling in angles:
        different = np.unique(values[values != 0])
        if len(different) >= telling and np.abs(different).max() <= np.pi:
            notes.append(f"{path}: all {what} lie between -3.15 and 3.15, as in radians; they are taken as degrees")
    return notes


def one_pixel_size(values_A: FloatArray, given_A: float | None, label: Callable[[int], str], where: str) -> float:
    """The pixel size in Å that all are taken to have; `label` names a value's optics group or particle in the message.

    Differences below one in ten thousand are rounding. Where one is given, it is that, and sizes may differ that are
    near to it, as those of one microscope's calibrations are: at the rim of a particle of 200 px, 1 % is one pixel.

    Raises
    ------
    InputError
        If there is more than one pixel size, and none given that all are near to.
    """
    different = np.flatnonzero(np.abs(values_A / values_A[0] - 1) > _SAME_PIXEL_SIZE)
    is_near = given_A is not None and bool((np.abs(values_A / given_A - 1) <= _NEAR_PIXEL_SIZE).all())
    if len(different) and not is_near:
        i = int(different[0])
        raise InputError(
            f"{where}: {label(0)} has {values_A[0]:g} Å and {label(i)} has {values_A[i]:g} Å; all particles must have "
            "one pixel size: rescale the images, read the groups one by one, or, if all are within "
            f"{_NEAR_PIXEL_SIZE:.0%} of one, give that by pixel_size_A (--pixel-size)"
        )
    return float(values_A[0]) if given_A is None else given_A
