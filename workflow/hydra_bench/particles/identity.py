"""Which row of one file is which row of another: the one owner of what makes two images the same.

An image is told, in this order,

1. by its uid (cryoSPARC's, or pyem's ucsfUid), where both files have uids and those of the one cover the other's rows;
2. by its number in its file and the longest tail of the file's path that is unique: files move, and their folders with
   them, so `s1/M/mic1.mrcs` is `/data/s1/M/mic1.mrcs`, and never `s2/M/mic1.mrcs` while the other is there. Names are
   first compared as they are, then without the suffix that says that it is a stack (`.mrc`, `.mrcs`, `.mrcs:mrcs`),
   then without the uid of 21 digits that cryoSPARC puts before a name when it imports a file. A name alone will do
   where just one file has it;
3. by the order of rows, for files that name nothing, if there are as many; that is said.

An image that a file lists twice is refused, unless it was said to be taken once or kept: `Repeated`.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.console import say
from hydra_bench.core.errors import InputError
from hydra_bench.core.types import BoolArray, IntArray

Repeated = Literal["refuse", "first", "keep"]
"""What becomes of an image that is listed twice: refused; the first row is taken; both rows are."""

_STACK_SUFFIX = re.compile(r"(\.mrcs?)?(:mrcs?)?$", re.IGNORECASE)
_IMPORT_PREFIX = re.compile(r"^\d{21}_")


@dataclass(frozen=True)
class ImageNames:
    """What M rows of a file say of which images they are.

    where: the file, and its field if that is known, for messages. files (F,): the different image files as they are
    named, none if the rows name none; file_index (M,) points into them and frames (M,) counts from 0, both -1 where
    rows name none. uids (M,) if there are any. located (F,): where the files were found, if they were looked for.
    """

    where: str
    files: tuple[str, ...]
    file_index: IntArray
    frames: IntArray
    uids: IntArray | None = None
    located: tuple[Path, ...] = ()

    @classmethod
    def nameless(cls, where: str, n_rows: int, uids: IntArray | None = None) -> ImageNames:
        """Of rows that name no images."""
        nothing = np.full(n_rows, -1)
        return cls(where, (), nothing, nothing, uids)

    @classmethod
    def of_stack(cls, stack: Stack) -> ImageNames:
        """Of the particles of a stack, whose files have been found."""
        images = stack.images
        listed = images.listed_as or tuple(map(str, images.paths))
        return cls(str(stack.path), listed, images.file_index, images.frame_index, stack.uids, images.paths)

    def __len__(self) -> int:
        return len(self.file_index)

    def text(self, row: int) -> str:
        """What messages call an image."""
        if not self.files:
            return f"row {row + 1}"
        return f"image {int(self.frames[row]) + 1} of {self.files[self.file_index[row]]}"

    def repeated(self) -> BoolArray:
        """Which rows (M,) list the image of one before them; all False where rows name none."""
        if not self.files:
            return np.zeros(len(self), dtype=bool)
        names = [str(path.resolve()) for path in self.located] or [os.path.normpath(name) for name in self.files]
        same = pd.factorize(np.array(names, dtype=object))[0]
        return pd.DataFrame({"file": same[self.file_index], "frame": self.frames}).duplicated().to_numpy()

    def refuse_repeated(self, advice: str = "") -> None:
        """Raise InputError if an image is listed twice."""
        repeated = self.repeated()
        if repeated.any():
            row = int(np.argmax(repeated))
            raise InputError(
                f"{self.where}: {self.text(row)} is there twice, again in row {row + 1}, as are {int(repeated.sum())} "
                f"in all{advice}"
            )


def match_images(own: ImageNames, other: ImageNames, repeated: Repeated = "refuse") -> IntArray:
    """For each of our rows the row of the other file with the same image: (N,).

    Raises
    ------
    InputError
        As `find_images`, and if an image is not there.
    """
    rows = find_images(own, other, repeated)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise InputError(f"{other.where}: {own.text(int(missing[0]))} is not there, which is in {own.where}")
    return rows


def find_images(own: ImageNames, other: ImageNames, repeated: Repeated = "refuse") -> IntArray:
    """For each of our rows the row of the other file with the same image, -1 where it is not there: (N,).

    Raises
    ------
    InputError
        If no image is there, one is listed twice, rows cannot be told apart, or uids and names contradict each other.
    """
    by_uid = _by_uid(own, other)
    if by_uid is not None and ((by_uid >= 0).all() or len(np.unique(by_uid[by_uid >= 0])) == len(other)):
        return by_uid
    by_name = _by_name(own, other, repeated) if own.files and other.files else None
    found = _agreed(own, other, [rows for rows in (by_uid, by_name) if rows is not None])
    if (found >= 0).any():
        return found
    if by_name is not None:
        raise InputError(f"{other.where}: names no image of {own.where} ({other.text(0)}, not {own.text(0)})")
    if other.uids is not None:
        raise InputError(
            f"{other.where}: names no images, and none of its uids is in {own.where}; a .cs file that names them "
            "(blob/path) for the same uids is needed: name it by passthrough"
        )
    if len(own) != len(other):
        raise InputError(f"{other.where}: {len(other)} rows without image names; {own.where} has {len(own)}")
    say(f"{other.where} names no images; its rows are taken to be those of {own.where}, in that order")
    return np.arange(len(own))


def _agreed(own: ImageNames, other: ImageNames, ways: list[IntArray]) -> IntArray:
    """What several ways of finding rows say together. Raises InputError where they say different rows."""
    rows = np.full(len(own), -1)
    for found in ways:
        differs = (rows >= 0) & (found >= 0) & (rows != found)
        if differs.any():
            row = int(np.argmax(differs))
            raise InputError(
                f"{other.where}: by its uid, {own.text(row)} of {own.where} is in row {rows[row] + 1}, by its name in "
                f"row {found[row] + 1}"
            )
        rows = np.where(rows >= 0, rows, found)
    return rows


def _by_uid(own: ImageNames, other: ImageNames) -> IntArray | None:
    """Rows (N,) by uid, None where a file has none. Raises InputError if the other has one twice."""
    if own.uids is None or other.uids is None:
        return None
    index = pd.Index(other.uids)
    if index.has_duplicates:
        raise InputError(f"{other.where}: uid {index[index.duplicated()][0]} is there twice")
    return index.get_indexer(pd.Index(own.uids))


def _by_name(own: ImageNames, other: ImageNames, repeated: Repeated) -> IntArray:
    """Rows (N,) by file and number, -1 where it is not there."""
    if repeated == "refuse":
        other.refuse_repeated()
        own.refuse_repeated()
    file_of = np.array(_files_of(own, other))[own.file_index]
    # Of images that are listed twice and kept, the second is the other's second, if it has one.
    wanted = pd.MultiIndex.from_arrays([file_of, own.frames, _occurrence(file_of, own.frames)])
    there = pd.MultiIndex.from_arrays([other.file_index, other.frames, _occurrence(other.file_index, other.frames)])
    first = pd.MultiIndex.from_arrays([file_of, own.frames, np.zeros(len(own), dtype=np.int64)])
    rows = there.get_indexer(wanted)
    return np.where(rows >= 0, rows, there.get_indexer(first))


def _occurrence(files: IntArray, frames: IntArray) -> IntArray:
    """How often (M,) the image of each row is listed before it."""
    return pd.DataFrame({"file": files, "frame": frames}).groupby(["file", "frame"]).cumcount().to_numpy()


def _as_it_is(name: str) -> str:
    return name


def _without_suffix(name: str) -> str:
    return _STACK_SUFFIX.sub("", name, count=1)


def _without_prefix(name: str) -> str:
    return _IMPORT_PREFIX.sub("", _without_suffix(name))


_SPELLINGS: tuple[Callable[[str], str], ...] = (_as_it_is, _without_suffix, _without_prefix)
"""What a file's name is compared as, one after the other."""


Parts: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    """One of our files (number, path) and the other's that it is, which share the last `depth` parts of their paths."""

    our_file: int
    our_path: Parts
    their_file: int
    their_path: Parts
    depth: int


def _files_of(own: ImageNames, other: ImageNames) -> list[int]:
    """For each of our files the other's that it is, -1 if it is none of them: (F,).

    A pair whose folders differ where another pair shows one of the two to be the same on both sides is none: it is a
    file of the same name in another folder. Raises InputError if several files could be one.
    """
    ours = {file: _paths(own, file) for file in range(len(own.files))}
    theirs = {file: _paths(other, file) for file in range(len(other.files))}
    ours_by_name = _by_tail(ours, 0, 1, _without_prefix)
    theirs_by_name = _by_tail(theirs, 0, 1, _without_prefix)
    pairs: list[_Pair] = []
    for name in ours_by_name.keys() & theirs_by_name.keys():
        some_ours = {file: ours[file] for file in ours_by_name[name]}
        some_theirs = {file: theirs[file] for file in theirs_by_name[name]}
        try:
            pairs += _pairs_of_one_name(some_ours, some_theirs)
        except _AmbiguousError as error:
            raise InputError(_ambiguity(own, other, error.ours, error.theirs)) from None
    same_ours = {pair.our_path[:-k] for pair in pairs for k in range(1, pair.depth)}
    same_theirs = {pair.their_path[:-k] for pair in pairs for k in range(1, pair.depth)}
    found = [-1] * len(ours)
    for pair in pairs:
        if pair.our_path[: -pair.depth] not in same_ours and pair.their_path[: -pair.depth] not in same_theirs:
            found[pair.our_file] = pair.their_file
    return found


class _AmbiguousError(Exception):
    """Several of our files could be one of the other's, or the other way round."""

    def __init__(self, ours: list[int], theirs: list[int]) -> None:
        self.ours, self.theirs = ours, theirs


def _pairs_of_one_name(ours: dict[int, list[Parts]], theirs: dict[int, list[Parts]]) -> Iterator[_Pair]:
    """The pairs among files whose names differ by no more than suffix and prefix, the longest common tails first.

    `ours` and `theirs` are each file's paths. Raises _AmbiguousError.
    """
    longest = min(max(len(parts) for paths in side.values() for parts in paths) for side in (ours, theirs))
    for depth, spelling, nth in product(range(longest, 0, -1), _SPELLINGS, (0, 1)):
        here = _by_tail(ours, nth, depth, spelling)
        there = _by_tail(theirs, 0, depth, spelling)
        for tail in here.keys() & there.keys():
            if len(here[tail]) > 1 or len(there[tail]) > 1:
                raise _AmbiguousError(here[tail], there[tail])
            our_file, their_file = here[tail][0], there[tail][0]
            yield _Pair(our_file, ours[our_file][nth], their_file, theirs[their_file][0], depth)
            ours = _without(ours, our_file)
            theirs = _without(theirs, their_file)
        if not ours or not theirs:
            return


def _without(files: dict[int, list[Parts]], file: int) -> dict[int, list[Parts]]:
    return {other: paths for other, paths in files.items() if other != file}


def _paths(names: ImageNames, file: int) -> list[Parts]:
    """The parts of a file's path, as it is named and as it was found, if the one is not the end of the other."""
    named = _parts(names.files[file])
    if not names.located:
        return [named]
    found = _parts(str(names.located[file].absolute()))
    return [found] if found[-len(named) :] == named else [named, found]


def _parts(path: str) -> Parts:
    return tuple(part for part in PurePosixPath(os.path.normpath(path)).parts if part not in ("/", "//", "..", "."))


def _by_tail(
    files: dict[int, list[Parts]], nth: int, depth: int, spelling: Callable[[str], str]
) -> dict[Parts, list[int]]:
    """Files by the last `depth` parts of the nth of their paths; those without such are left out."""
    tails = defaultdict(list)
    for file, paths in files.items():
        if nth < len(paths) and len(parts := paths[nth]) >= depth:
            tails[(*parts[-depth:-1], spelling(parts[-1]))].append(file)
    return tails


def _ambiguity(own: ImageNames, other: ImageNames, ours: list[int], theirs: list[int]) -> str:
    several, file, where = (
        ([own.files[f] for f in ours], other.files[theirs[0]], own.where)
        if len(ours) > 1
        else ([other.files[g] for g in theirs], own.files[ours[0]], other.where)
    )
    names = " or ".join(sorted(several)[:3])
    return f"{other.where}: {file} could be {names} of {where}; names with the folders that tell them apart are needed"
