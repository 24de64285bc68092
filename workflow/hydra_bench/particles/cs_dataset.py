"""Rows of cryoSPARC's .cs files, NumPy structured arrays, joined with those of a passthrough file by uid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from hydra_bench.core.errors import InputError

Rows: TypeAlias = npt.NDArray[np.void]


@dataclass(frozen=True)
class Dataset:
    """The rows of a .cs file, and of its passthrough file in the same order if there is one."""

    path: Path
    main: Rows
    passthrough_path: Path | None = None
    passthrough: Rows | None = None

    def __len__(self) -> int:
        return len(self.main)

    @property
    def own_names(self) -> set[str]:
        """Fields of the .cs file itself; those that pass through are of the jobs before."""
        return set(self.main.dtype.names or ())

    @property
    def names(self) -> set[str]:
        return self.own_names | set(() if self.passthrough is None else self.passthrough.dtype.names or ())

    def field(self, name: str) -> npt.NDArray[Any]:
        """A field (N, ...), of the .cs file itself if it is there. Raises InputError if neither has it."""
        if name in self.own_names:
            return self.main[name]
        if self.passthrough is not None and name in self.names:
            return self.passthrough[name]
        second = f" and its passthrough file {self.passthrough_path}" if self.passthrough_path else ""
        lack = "lack" if second else "lacks"
        missing = "CTF missing: " if name.startswith("ctf/") else ""
        advice = "" if second else "; if a passthrough .cs file holds it, name that by passthrough"
        raise InputError(f"{self.path}{second}: {missing}{lack} the field {name}{advice}")

    def where(self, name: str) -> str:
        """File and field, for messages."""
        path = self.path if name in self.own_names else self.passthrough_path
        return f"{path}: {name}"


def read_dataset(path: Path, passthrough: Path | None, needed: Iterable[str]) -> Dataset:
    """Read a .cs file, and its passthrough file: the named one, or the one beside it if `needed` fields are missing."""
    main = _load(path)
    if len(main) == 0:
        raise InputError(f"{path}: holds no particles; at least one is needed")
    if passthrough is None and not set(needed) <= set(main.dtype.names or ()):
        beside = [other for other in sorted(path.parent.glob("*passthrough*.cs")) if other != path]
        if len(beside) != 1:
            return Dataset(path, main)
        passthrough = beside[0]
    if passthrough is None:
        return Dataset(path, main)
    return Dataset(path, main, passthrough, _joined(path, main, passthrough))


def _joined(path: Path, main: Rows, passthrough: Path) -> Rows:
    """The passthrough file's rows in the order of the .cs file's, by uid."""
    second = _load(passthrough)
    for file, rows in ((path, main), (passthrough, second)):
        if "uid" not in (rows.dtype.names or ()):
            raise InputError(f"{file}: lacks the field uid, by which a passthrough file is joined")
    index = pd.Index(second["uid"])
    if index.has_duplicates:
        raise InputError(f"{passthrough}: uid {index[index.duplicated()][0]} is there twice")
    row_of = index.get_indexer(main["uid"])
    if (row_of < 0).any():
        uid = main["uid"][np.argmax(row_of < 0)]
        raise InputError(f"{passthrough}: uid {uid} of {path} is not there; the two are of different particles")
    joined: Rows = second[row_of]
    return joined


def _load(path: Path) -> Rows:
    try:
        rows: Rows = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError:
        raise InputError(f"{path}: not a .cs file; a NumPy structured array without objects is expected") from None
    if not isinstance(rows, np.ndarray) or rows.dtype.names is None or rows.ndim != 1:
        raise InputError(f"{path}: not a .cs file; a NumPy array of rows with named fields is expected")
    return rows
