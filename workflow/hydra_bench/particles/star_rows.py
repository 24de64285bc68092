"""A STAR file of particles as text, for writing rows of it back: what is not changed stays as it is, to the letter.

Numbers keep their digits, columns that nobody here knows their names, and other tables (the optics) their lines. A word
that begins with a quotation mark ends with the same one before a space, as in STAR's grammar (Hall, J. Chem. Inf.
Comput. Sci. 31 (1991) 326); within a word both marks, and #, are letters like others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import write_text

_WORD = re.compile(r"""'[^\n]*?'(?=\s|$)|"[^\n]*?"(?=\s|$)|\S+""")
_TABLES = ("particles", "images", "")
"""The names that the table of particles may have, the newest RELION's first."""


@dataclass(frozen=True)
class StarRows:
    """The particles' table of a file: its columns, its rows' words (N, columns), and the lines around it."""

    before: tuple[str, ...]
    table: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    after: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_optics(self) -> bool:
        """Whether the file has a table of optics groups, as those of RELION 3.1 and later do."""
        return any(line.strip() == "data_optics" for line in (*self.before, *self.after))

    def column(self, name: str) -> list[str]:
        """The words of a column, without quotation marks. Raises KeyError if it is not there."""
        if name not in self.columns:
            raise KeyError(name)
        index = self.columns.index(name)
        return [unquoted(row[index]) for row in self.rows]

    def take(self, indices: Sequence[int]) -> StarRows:
        return replace(self, rows=tuple(self.rows[i] for i in indices))

    def without(self, columns: Sequence[str]) -> StarRows:
        kept = [i for i, name in enumerate(self.columns) if name not in columns]
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in kept), rows=rows)

    def with_columns(self, values: dict[str, list[str]]) -> StarRows:
        """Each column (N,) in its place, at the end if it is new."""
        columns = [*self.columns, *(name for name in values if name not in self.columns)]
        by_name = {name: [row[i] for row in self.rows] for i, name in enumerate(self.columns)}
        by_name |= {name: list(map(quoted, words)) for name, words in values.items()}
        rows = tuple(zip(*(by_name[name] for name in columns), strict=True))
        return replace(self, columns=tuple(columns), rows=rows)

    def write(self, path: Path) -> None:
        header = [f"data_{self.table}", "", "loop_", *(f"_{name} #{i}" for i, name in enumerate(self.columns, 1))]
        lines = [*self.before, *header, *(" ".join(row) for row in self.rows), "", *self.after]
        write_text(path, "\n".join(lines).strip() + "\n")


def read_star_rows(path: Path) -> StarRows:
    """Read a file's table of particles. Raises InputError if there is none, or a row has another number of words."""
    try:
        lines = path.read_text(errors="surrogateescape").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    begins = [i for i, line in enumerate(lines) if line.startswith("data_")]
    names = {lines[i].split()[0].removeprefix("data_"): i for i in begins}
    table = next((name for name in _TABLES if name in names), None)
    if table is None:
        raise InputError(f"{path}: no data_particles table (nor data_images or data_, as in RELION 3.0)")
    start = names[table]
    end = next((i for i in begins if i > start), len(lines))
    columns: list[str] = []
    rows: list[tuple[str, ...]] = []
    for number, line in enumerate(lines[start + 1 : end], start + 2):
        words = _WORD.findall(line)
        if not words or words[0].startswith("#") or words[0] == "loop_":
            continue
        if words[0].startswith("_") and not rows:
            columns.append(words[0][1:])
            continue
        if len(words) > len(columns) and words[len(columns)].startswith("#"):
            words = words[: len(columns)]
        if len(words) != len(columns):
            raise InputError(f"{path}: line {number} has {len(words)} words; data_{table} has {len(columns)} columns")
        rows.append(tuple(words))
    return StarRows(tuple(lines[:start]), table, tuple(columns), tuple(rows), tuple(lines[end:]))


def unquoted(word: str) -> str:
    return word[1:-1] if len(word) > 1 and word[0] in "'\"" and word[-1] == word[0] else word


def quoted(word: str) -> str:
    """A value as a word of a STAR file."""
    if word and not re.search(r"\s", word) and word[0] not in "'\"#_":
        return word
    mark = "'" if '"' in word else '"'
    return f"{mark}{word}{mark}"
