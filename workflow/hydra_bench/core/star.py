"""STAR files: tables of data blocks, as RELION reads and writes them.

They are read here and not by starfile, which takes every # for a comment and every ' for a quote, though both are
allowed within a value: `000001@grid#1/5'utr.mrcs`. A comment begins with # where a value could begin, a quote ends
where the value does. Source: Hall, Allen, Brown, Acta Cryst. A47 (1991) 655, and RELION's src/metadata_table.cpp,
which reads a block of single values as a table of one row.
"""

import csv
import re
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import starfile

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic
from hydra_bench.core.reading import MOST_TEXT_BYTES, regular_file

_VALUE = re.compile(r"""'(.*?)'(?=\s|$)|"(.*?)"(?=\s|$)|(\S+)""")
_QUOTE_OR_COMMENT = re.compile(r"""(?:^|\s)['"#]""", re.MULTILINE)
_NO_NUMBER = ["nan", "NaN", "-nan", "<NA>"]


def write_star(path: Path | str, tables: dict[str, pd.DataFrame]) -> None:
    """Write STAR data blocks, name -> table, without starfile's time-stamped first line."""
    with atomic(path) as temporary:
        # starfile's own <NA> is no number to programs that read the file with C's functions.
        starfile.write(tables, temporary, na_rep="nan")
        lines = temporary.read_text().splitlines()
        body = [line.rstrip() for line in lines if not line.startswith("# Created by")]
        temporary.write_text("\n".join(body).strip() + "\n")


def columns_named(table: pd.DataFrame, prefix: str) -> list[str]:
    """The columns whose names begin so, in the table's order."""
    return [column for column in map(str, table.columns) if column.startswith(prefix)]


def read_star(path: Path | str, as_text: bool = False) -> dict[str, pd.DataFrame]:
    """Read every data block of a STAR file, name -> table, whose columns are numbers where all of their values are.

    `as_text` leaves all values as they are written. Raises InputError if there is no table, or one is not whole.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; a STAR file is expected")
    regular_file(path, MOST_TEXT_BYTES)
    blocks = _read_blocks(path)
    if not blocks:
        raise InputError(f"{path}: holds no STAR table; a loop_ block is expected")
    return {block.name: _table(block, path, as_text) for block in blocks}


@dataclass
class _Block:
    """A data block: its labels, and each row's text; `first_line` is where these begin, from 1."""

    name: str
    labels: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    is_loop: bool = False
    first_line: int = 0


def _read_blocks(path: Path) -> list[_Block]:
    """The blocks that have labels. Raises InputError."""
    blocks: list[_Block] = []
    try:
        # Names of files may be of any encoding, and come through as they are.
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                _take_line(blocks, line.strip(), number, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    blocks = [block for block in blocks if block.labels]
    names = [block.name for block in blocks]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{path}: data_{twice[0]} is there twice; a name for each table is expected")
    return blocks


def _take_line(blocks: list[_Block], line: str, number: int, path: Path) -> None:
    """Add what a line says to the block that it is of. Raises InputError."""
    if not line or line.startswith("#"):
        return
    first, *rest = line.split(maxsplit=1)
    # Values may begin like keywords, data_2/mic1.mrcs; a keyword is alone on its line.
    if first.startswith("data_") and (not rest or rest[0].startswith("#")):
        blocks.append(_Block(first[len("data_") :]))
        return
    if not blocks:
        return
    block = blocks[-1]
    if first == "loop_":
        if block.labels:
            raise InputError(f"{path}: data_{block.name} holds a second table in line {number}; one is expected")
        block.is_loop = True
    elif block.is_loop and (block.rows or not line.startswith("_")):
        block.first_line = block.first_line or number
        block.rows.append(line)
    elif line.startswith("_"):
        block.labels.append(first[1:])
        if not block.is_loop:
            block.first_line = block.first_line or number
            block.rows = [f"{' '.join(block.rows)} {' '.join(rest)}".strip()]


def _table(block: _Block, path: Path, as_text: bool) -> pd.DataFrame:
    """The table of a block. Raises InputError if a row has too many values or too few."""
    text = "\n".join(block.rows)
    if _QUOTE_OR_COMMENT.search(text):
        table = _table_of_texts(block, path)
    elif block.rows:
        try:
            table = pd.read_csv(
                StringIO(text),
                sep=r"\s+",
                header=None,
                quoting=csv.QUOTE_NONE,
                keep_default_na=False,
                na_values=None if as_text else _NO_NUMBER,
                dtype=str if as_text else None,
            )
        except (ValueError, OverflowError):  # rows of different lengths, or a name that is no UTF-8
            table = _table_of_texts(block, path)
    else:
        table = pd.DataFrame(columns=range(len(block.labels)), dtype=np.float64)
    # What a short row lacks at its end is filled up.
    last = table.iloc[:, -1] if table.shape[1] else None
    if table.shape[1] != len(block.labels) or (last is not None and (last.isna() | (last == "")).any()):
        _refuse_uneven_rows(block, path)
    if table.shape[1] != len(block.labels):
        raise InputError(f"{path}: data_{block.name} cannot be read; plain text, values apart by blanks, is expected")
    if not as_text:
        table = table.apply(_numbers_if_all_are) if len(table) else table
    table.columns = pd.Index(block.labels, dtype=object)
    return table


def _table_of_texts(block: _Block, path: Path) -> pd.DataFrame:
    """Raises InputError if a row has too many values or too few."""
    _refuse_uneven_rows(block, path)
    values = [_values(row, len(block.labels)) for row in block.rows]
    return pd.DataFrame(values if values else None, columns=range(len(block.labels)), dtype=object)


def _values(row: str, n_labels: int) -> list[str]:
    """The values of a row, without quotes; what follows the last of them is a comment if it begins so."""
    values = [next((part for part in match if part), "") for match in _VALUE.findall(row)]
    return values[:n_labels] if len(values) > n_labels and values[n_labels].startswith("#") else values


def _refuse_uneven_rows(block: _Block, path: Path) -> None:
    """Raise InputError for the first row whose number of values is not that of the labels."""
    for i, row in enumerate(block.rows):
        found = len(_values(row, len(block.labels)))
        if found != len(block.labels):
            where = f"data_{block.name}: row {i + 1} (line {block.first_line} on)"
            raise InputError(f"{path}: {where} has {found} values; {len(block.labels)}, one a column, are expected")


def _numbers_if_all_are(column: pd.Series) -> pd.Series:
    if column.dtype != object and not pd.api.types.is_string_dtype(column):
        return column
    try:
        return pd.to_numeric(column.replace(_NO_NUMBER, np.nan))
    except (ValueError, TypeError, OverflowError):
        return column
