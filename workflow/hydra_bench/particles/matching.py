"""Which row of one file is which particle of a stack: told by the images that both name.

An image is named by its file, without folders, and its number in it, from 0: what stays when files are moved.
"""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.types import IntArray


def image_names(files: Iterable[str], frames: IntArray) -> pd.MultiIndex:
    """The names (N,) of images, of the paths of their files (N,) and their numbers (N,) from 0."""
    codes, unique = pd.factorize(pd.Series(files))
    names = np.array([PurePosixPath(str(name)).name for name in unique], dtype=object)
    return pd.MultiIndex.from_arrays([names[codes], frames])


def image_text(images: pd.MultiIndex, row: int) -> str:
    """What messages call an image."""
    return f"image {int(images.get_level_values(1)[row]) + 1} of {images.get_level_values(0)[row]}"


def refuse_repeated(images: pd.MultiIndex, file: Path | str) -> None:
    """Raise InputError if a file names an image twice."""
    if images.has_duplicates:
        raise InputError(f"{file}: {image_text(images, int(np.argmax(images.duplicated())))} is there twice")


def find_particles(images: pd.MultiIndex | None, stack: Stack, where: str) -> IntArray:
    """For each particle of the stack, its row in a file that names images, -1 where it is not there: (N,).

    Raises
    ------
    InputError
        If the file names no images, or one twice.
    """
    if images is None:
        raise InputError(f"{where}: names no images, by which particles of {stack.path} could be found")
    own = _images_of(stack)
    refuse_repeated(images, where)
    refuse_repeated(own, stack.path)
    return images.get_indexer(own)


def match_particles(images: pd.MultiIndex | None, n_rows: int, stack: Stack, where: str) -> IntArray:
    """For each particle of the stack, its row (0..n_rows-1) in a file that names images: (N,).

    Where none are named, or one is not unique, the file must have the stack's particles in the stack's order.

    Raises
    ------
    InputError
        If a particle of the stack is missing, or rows cannot be told apart.
    """
    own = _images_of(stack)
    in_order = n_rows == len(stack)
    if in_order and (images is None or images.equals(own)):
        return np.arange(n_rows)
    if images is None:
        raise InputError(f"{where}: {n_rows} particles without image names; the stack {stack.path} has {len(stack)}")
    if images.has_duplicates or own.has_duplicates:
        raise InputError(f"{where}: image names repeat, so the file must have the order of {stack.path}, and has not")
    rows = images.get_indexer(own)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        missed = image_text(own, int(missing[0]))
        raise InputError(f"{where}: {missed} is not there, which is in the stack {stack.path}")
    return rows


def _images_of(stack: Stack) -> pd.MultiIndex:
    names = np.array([path.name for path in stack.images.paths], dtype=object)
    return image_names(names[stack.images.file_index], stack.images.frame_index)
