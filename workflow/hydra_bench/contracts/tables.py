"""Columns of the contracts' tables as numbers that can be, or a line that says which value cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hydra_bench.core.errors import InputError
from hydra_bench.core.types import FloatArray, IntArray

_LARGEST = 1e9
"""Of any number of the contracts, in Å, degrees, kV or particles."""


def numbers(
    table: pd.DataFrame,
    column: str,
    where: str,
    low: float = -_LARGEST,
    high: float = _LARGEST,
    may_lack: bool = False,
) -> FloatArray:
    """A column (N,) as float64, within low and high. `where` names the file, and the table; `may_lack` lets NaN pass.

    Raises InputError for what is no such number, KeyError if the column is missing.
    """
    values = table[column]
    if isinstance(values, pd.DataFrame):
        raise InputError(f"{where}: the column {column} is there twice")
    try:
        found = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    except (OverflowError, TypeError, ValueError):  # integers of hundreds of digits
        raise InputError(f"{where}: {column} is not a number throughout") from None
    wrong = ~((found >= low) & (found <= high))
    if may_lack:
        wrong &= ~values.isna().to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        allowed = "a number is expected" if low == -_LARGEST else f"{low:g}..{high:g} is expected"
        raise InputError(f"{where}: {column} is {str(values.iloc[row])[:50]} in row {row + 1}; {allowed}")
    return found


def columns_of_numbers(table: pd.DataFrame, columns: Sequence[str], where: str, may_lack: bool = False) -> FloatArray:
    """Several columns as (N, number of columns); see `numbers`."""
    found = [numbers(table, column, where, may_lack=may_lack) for column in columns]
    return np.stack(found, axis=1) if found else np.zeros((len(table), 0))


def whole_numbers(table: pd.DataFrame, column: str, where: str, low: int, high: float = _LARGEST) -> IntArray:
    """A column (N,) of whole numbers within low and high, both included; see `numbers`."""
    found = numbers(table, column, where, low, high)
    broken = np.flatnonzero(found % 1)
    if len(broken):
        row = int(broken[0])
        raise InputError(f"{where}: {column} is {found[row]:g} in row {row + 1}; whole numbers are expected")
    return found.astype(np.int64)


def file_beside(folder: Path, name: str, where: str) -> Path:
    """A file that a table names, in its own folder or below. Raises InputError for a name that leads out of it."""
    if Path(name).is_absolute() or ".." in Path(name).parts or "\x00" in name:
        raise InputError(f"{where} names {name[:100]!r}; the name of a file in its own folder is expected")
    return folder / name
