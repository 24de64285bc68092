"""Which row of one file is which particle of a stack: told by the images that both name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError


@dataclass(frozen=True)
class ImageKeys:
    """File name without folders and image number from 0, one a particle: what stays when files are moved."""

    index: pd.MultiIndex

    @classmethod
    def of(cls, files: Sequence[str] | pd.Series, frames: np.ndarray) -> ImageKeys:
        codes, unique = pd.factorize(pd.Series(files))
        names = np.array([PurePosixPath(str(name)).name for name in unique], dtype=object)
        return cls(pd.MultiIndex.from_arrays([names[codes], frames]))


def image_keys(stack: Stack) -> ImageKeys:
    """The images of a stack's particles."""
    names = np.array([path.name for path in stack.images.paths], dtype=object)
    return ImageKeys.of(names[stack.images.file_index], stack.images.frame_index)


def find_particles(keys: ImageKeys | None, stack: Stack, where: str) -> np.ndarray:
    """For each particle of the stack, its row in a file that names images `keys`, -1 where it is not there: (N,).

    Raises
    ------
    InputError
        If the file names no images, or one twice.
    """
    if keys is None:
        raise InputError(f"{where}: names no images, by which particles of {stack.path} could be found")
    own = image_keys(stack)
    for index, file in ((keys.index, where), (own.index, stack.path)):
        if index.has_duplicates:
            name, frame = index[index.duplicated()][0]
            raise InputError(f"{file}: image {frame + 1} of {name} is there twice")
    return keys.index.get_indexer(own.index)


def match_particles(keys: ImageKeys | None, n_rows: int, stack: Stack, where: str) -> np.ndarray:
    """For each particle of the stack, its row (0..n_rows-1) in a file that names images `keys`: (N,).

    Without keys, or where a key is not unique, the file must have the stack's particles in the stack's order.

    Raises
    ------
    InputError
        If a particle of the stack is missing, or rows cannot be told apart.
    """
    own = image_keys(stack)
    in_order = n_rows == len(stack)
    if in_order and (keys is None or keys.index.equals(own.index)):
        return np.arange(n_rows)
    if keys is None:
        raise InputError(f"{where}: {n_rows} particles without image names; the stack {stack.path} has {len(stack)}")
    if keys.index.has_duplicates or own.index.has_duplicates:
        raise InputError(f"{where}: image names repeat, so the file must have the order of {stack.path}, and has not")
    rows = keys.index.get_indexer(own.index)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        name, frame = own.index[missing[0]]
        raise InputError(f"{where}: image {frame + 1} of {name} is not there, which is in the stack {stack.path}")
    return rows
