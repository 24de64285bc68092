"""The tables of RELION's STAR files, versions 3.0 to 5: which particle has which row of the optics.

3.1 and later have two tables: `optics` (one row an optics group) and `particles`. 3.0 has one, `images` or without a
name, in which every particle has its own optics. What the columns mean is in relion.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hydra_bench.core.errors import InputError
from hydra_bench.core.star import read_star
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.particles import columns

TABLES = ("particles", "images", "")
"""The names that the table of particles may have, the newest RELION's first."""


@dataclass(frozen=True)
class Tables:
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
        groups = self.optics.get("rlnOpticsGroup")
        return f"optics group {row + 1 if groups is None else groups.iloc[row]}"

    def holding(self, *names: str) -> Tables:
        """These tables, or where data_optics lacks a column that data_particles has, the particles as their own."""
        missing = [name for name in names if name not in self.optics]
        if not missing or not set(names) <= set(self.particles.columns):
            return self
        return Tables(
            self.particles, self.particles, np.arange(len(self.particles)), self.particles_at, self.particles_at
        )

    def of_particles(self, name: str, neutral: float) -> FloatArray | None:
        """A column (N,) of either table, with `neutral` where it says nothing; None where neither has it."""
        held = self.holding(name)
        if name not in held.optics:
            return None
        values = pd.to_numeric(column_of(held.optics, name, held.optics_at), errors="coerce").to_numpy(np.float64)
        known: FloatArray = np.nan_to_num(values, nan=neutral)[held.row_of]
        return known

    def optics_numbers(self, column: str) -> FloatArray:
        """A column of the optics as numbers, one a row. Raises InputError."""
        where = f"{self.optics_at}: {column}"
        return columns.numbers(column_of(self.optics, column, self.optics_at), where, self.label)


def read_tables(path: Path) -> Tables:
    return tables_of(path, read_star(path))


def tables_of(path: Path, blocks: dict[str, pd.DataFrame]) -> Tables:
    particles, where = particles_table(path, blocks)
    if "optics" in blocks:
        return _grouped(particles, blocks["optics"], where, f"{path}: data_optics")
    if "rlnOpticsGroup" in particles:
        name = where.removeprefix(f"{path}: ")
        raise InputError(f"{path}: no data_optics table, but {name} has rlnOpticsGroup; RELION 3.1 and later have both")
    return Tables(particles, particles, np.arange(len(particles)), where, where)


def particles_table(path: Path, blocks: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, str]:
    """The table of particles, and file and table as messages name them. Raises InputError."""
    for name in TABLES:
        if name in blocks:
            if len(blocks[name]) == 0:
                raise InputError(f"{path}: data_{name} holds no particles; at least one is needed")
            return blocks[name], f"{path}: data_{name}"
    found = ", ".join(f"data_{name}" for name in blocks)
    raise InputError(f"{path}: no data_particles table (nor data_images or data_, as in RELION 3.0), just {found}")


def _grouped(particles: pd.DataFrame, optics: pd.DataFrame, particles_at: str, optics_at: str) -> Tables:
    """Tables of RELION 3.1 and later, where groups may have any numbers in any order, and one group needs none."""
    if len(optics) == 1 and "rlnOpticsGroup" not in particles:
        return Tables(particles, optics, np.zeros(len(particles), dtype=np.int64), particles_at, optics_at)
    groups = pd.Index(numbers_of(optics, "rlnOpticsGroup", optics_at))
    if groups.has_duplicates:
        twice = groups[groups.duplicated()][0]
        raise InputError(f"{optics_at}: rlnOpticsGroup {twice:g} is there twice; each group has one row")
    wanted = numbers_of(particles, "rlnOpticsGroup", particles_at)
    group_of = groups.get_indexer(pd.Index(wanted))
    if (group_of < 0).any():
        i = int(np.argmin(group_of))
        known = ", ".join(f"{group:g}" for group in groups)
        raise InputError(
            f"{particles_at}: rlnOpticsGroup is {wanted[i]:g} in row {i + 1}; data_optics has just {known}"
        )
    used, row_of = np.unique(group_of, return_inverse=True)
    return Tables(particles, optics.iloc[used], row_of, particles_at, optics_at)


def column_of(table: pd.DataFrame, column: str, where: str, advice: str = "") -> pd.Series:
    if column not in table:
        raise InputError(f"{where} lacks the column {column}{advice}")
    if list(table.columns).count(column) > 1:
        raise InputError(f"{where} has the column {column} twice")
    return table[column]


def numbers_of(table: pd.DataFrame, column: str, where: str) -> FloatArray:
    return columns.numbers(column_of(table, column, where), f"{where}: {column}")
