"""STAR files: tables of particles, optics groups and classes, as RELION reads and writes them."""

from pathlib import Path

import pandas as pd
import starfile

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic


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


def read_star(path: Path | str) -> dict[str, pd.DataFrame]:
    """Read every data block of a STAR file, name -> table. Raises InputError if there is none."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; a STAR file is expected")
    try:
        tables = starfile.read(path, always_dict=True)
    except Exception as error:  # starfile raises whatever its parser met
        raise InputError(f"{path}: not a readable STAR file ({error})") from None
    tables = {name: table for name, table in tables.items() if isinstance(table, pd.DataFrame)}
    if not tables:
        raise InputError(f"{path}: holds no STAR table; a loop_ block is expected")
    return tables
