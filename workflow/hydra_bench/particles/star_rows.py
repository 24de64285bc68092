"""A STAR file of particles whose rows are written back: what is not changed stays as it is, to the letter.

All values are kept as text, so numbers keep their digits, and columns and tables that nobody here knows (the optics
among them) come through.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic
from hydra_bench.core.star import read_star
from hydra_bench.core.types import IntArray
from hydra_bench.particles.relion_tables import TABLES

OPTICS = "optics"
_NEEDS_QUOTES = re.compile(r"""^(?:['"#_]|$)|[^\S\n]""", re.MULTILINE)
"""In values, one a line: one that is empty or begins like something else than a value, or a space in one."""


@dataclass(frozen=True)
class StarRows:
    """The tables of a file, name -> table of text, and which of them is that of the particles."""

    tables: dict[str, pd.DataFrame]
    name: str

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def particles(self) -> pd.DataFrame:
        return self.tables[self.name]

    @property
    def columns(self) -> list[str]:
        return list(map(str, self.particles.columns))

    @property
    def has_optics(self) -> bool:
        """Whether there is a table of optics groups, as in files of RELION 3.1 and later."""
        return OPTICS in self.tables

    def take(self, rows: IntArray) -> StarRows:
        """The given rows (B,), in that order; other tables stay whole."""
        return self._with(self.particles.iloc[rows])

    def without(self, columns: Sequence[str]) -> StarRows:
        return self._with(self.particles.drop(columns=list(columns)))

    def with_columns(self, values: dict[str, list[str]]) -> StarRows:
        """Each column (N,) in its place, at the end if it is new."""
        new = pd.DataFrame(values, index=self.particles.index)
        return self._with(self.particles.assign(**{name: new[name] for name in values}))

    def _with(self, particles: pd.DataFrame) -> StarRows:
        return replace(self, tables={**self.tables, self.name: particles})

    def write(self, path: Path) -> None:
        """Write all tables, each with a loop, in their order."""
        with (
            atomic(path) as temporary,
            open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file,
        ):
            for name, table in self.tables.items():
                header = [f"data_{name}", "", "loop_", *(f"_{label} #{i}" for i, label in enumerate(table.columns, 1))]
                file.write("\n".join(header) + "\n")
                columns = [_words(table.iloc[:, i].tolist()) for i in range(table.shape[1])]
                file.writelines(" ".join(row) + "\n" for row in zip(*columns, strict=True))
                file.write("\n\n")


def read_star_rows(path: Path) -> StarRows:
    """Read a file's tables. Raises InputError if none of them is of particles."""
    tables = read_star(path, as_text=True)
    name = next((name for name in TABLES if name in tables), None)
    if name is None:
        raise InputError(f"{path}: no data_particles table (nor data_images or data_, as in RELION 3.0)")
    return StarRows(tables, name)


def _words(values: list[str]) -> list[str]:
    """Values (N,) as words of a STAR file."""
    return list(map(quoted, values)) if _NEEDS_QUOTES.search("\n".join(values)) else values


def quoted(value: str) -> str:
    """A value as a word of a STAR file: in quotes where it would not be one without."""
    if not _NEEDS_QUOTES.search(value):
        return value
    mark = "'" if '"' in value else '"'
    return f"{mark}{value}{mark}"
