"""Checks of metadata columns that all formats share: numbers, units, and what all particles must have in common.

Units cannot be read from a file, but wrong ones usually show: a defocus of 1.5 is in µm, a voltage of 300000 in
volts, an amplitude contrast of 10 in per cent. Such values are refused, since a wrong CTF fails silently.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.physics.ctf import Defocus, Optics

CtfSource = Literal["file", "none"]

_SAME_PIXEL_SIZE = 1e-4
_LARGEST_MICROMETRES, _LARGEST_NANOMETRES, _LARGEST_DEFOCUS_A = 100.0, 2000.0, 1e6
_PHASE_PLATE_DEG = 15.0


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


def row_label(row: int) -> str:
    """What messages call a row, where there is no better name."""
    return f"row {row + 1}"


def numbers(values: Any, where: str, label: Callable[[int], str] = row_label) -> FloatArray:
    """A column as float64. Raises InputError for anything but finite numbers.

    `where` names file, table and column; `label` a row.
    """
    raw = np.asarray(values)
    column = pd.to_numeric(pd.Series(raw), errors="coerce").to_numpy(np.float64)
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


def optics_from_columns(
    columns: JsonObject, row_of: IntArray | None = None, label: Callable[[int], str] = row_label
) -> Optics:
    """Optics of N particles from the columns of voltage in kV, spherical aberration in mm and amplitude contrast.

    `columns` are these three by what messages call them, file and column; `label` is what they call a row.
    Columns have a row for each particle, or for each optics group; then row_of (N,) is each particle's.
    Raises InputError for values that cannot be.
    """
    limits = (VOLTAGE, SPHERICAL_ABERRATION, AMPLITUDE_CONTRAST)
    fields = [limited(column, at, limit, label) for (at, column), limit in zip(columns.items(), limits, strict=True)]
    return Optics.of_particles(*(values if row_of is None else values[row_of] for values in fields))


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


def one_pixel_size(values_A: FloatArray, label: Callable[[int], str], where: str) -> float:
    """The pixel size in Å that all share; `label` names a value's optics group or particle in the message.

    Differences below one in ten thousand are rounding.

    Raises
    ------
    InputError
        If there is more than one pixel size.
    """
    different = np.flatnonzero(np.abs(values_A / values_A[0] - 1) > _SAME_PIXEL_SIZE)
    if len(different):
        i = int(different[0])
        raise InputError(
            f"{where}: {label(0)} has {values_A[0]:g} Å and {label(i)} has {values_A[i]:g} Å; "
            "all particles must have one pixel size: rescale the images, or read the groups one by one"
        )
    return float(values_A[0])
