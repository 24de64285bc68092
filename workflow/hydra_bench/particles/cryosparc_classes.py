"""What a CryoSPARC job with classes says of its particles: the posterior and the pose of each class.

Three layouts, all of rotation vectors and shifts in px of psize_A as in `particles.cryosparc`, which has their sources:

alignments_class_<k>/pose (N, 3), shift (N, 2), class_posterior (N,), psize_A (N,): ab initio reconstruction and
    heterogeneous refinement up to version 4.4.
alignments3D_multi/pose (N, K, 3), shift (N, K, 2), class_posterior (N, K), psize_A (N,) or (N, K): from version 4.5 on.
alignments3D/pose, shift, psize_A: homogeneous refinement, one class; with class and class_posterior, classification,
    which says how probable the particle's own class is and no other: what is left is shared among the others.

Version 4.5's layout was taken from how pyem reads it (asarnow/pyem, metadata.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from hydra_bench.contracts.poses import most_probable_class, of_class
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.particles.columns import PIXEL_SIZE, limited, numbers
from hydra_bench.particles.cs_dataset import Dataset, read_dataset

JobType = Literal["abinitio", "heterogeneous", "homogeneous"]

_UID_PREFIX = re.compile(r"^\d{15,}_")
"""Import jobs link images under names that begin with a number of their own."""

MULTI, _SINGLE = "alignments3D_multi", "alignments3D"
_CLASS_GROUP = re.compile(r"alignments_class_(\d+)/class_posterior")


@dataclass(frozen=True)
class ClassAlignments:
    """What a job says of M particles.

    posteriors (M, K), rows sum to 1; of the most probable class, rotations (M, 3, 3), map to view, and shifts_A (M, 2),
    displacements; images (M,), what they are images of, see `image_names`.
    """

    posteriors: np.ndarray
    rotations: np.ndarray
    shifts_A: np.ndarray
    images: pd.MultiIndex

    def __len__(self) -> int:
        return len(self.posteriors)

    @property
    def n_classes(self) -> int:
        return self.posteriors.shape[1]

    def rows_of(self, stack: Stack, where: Path) -> np.ndarray:
        """For each of a stack's particles its row here, -1 where it is missing: (N,). Raises InputError if all are."""
        own = image_names([path.name for path in stack.images.paths], stack.images.file_index, stack.images.frame_index)
        for index, file in ((self.images, where), (own, stack.path)):
            if index.has_duplicates:
                name, frame = index[index.duplicated()][0]
                raise InputError(f"{file}: image {frame + 1} of {name} is there twice")
        rows = self.images.get_indexer(own)
        if (rows < 0).all():
            wanted, found = own[0][0], self.images[0][0]
            raise InputError(f"{where}: names no image of {stack.path} ({found}, not {wanted}); run it on that stack")
        return rows


def image_names(names: list[str], file_index: np.ndarray, frames: np.ndarray) -> pd.MultiIndex:
    """(name, number from 0) of each image: the name without folders, without an import's prefix and without suffix."""
    plain = [_UID_PREFIX.sub("", PurePosixPath(name).name) for name in names]
    stems = np.array([PurePosixPath(name).stem for name in plain], dtype=object)
    return pd.MultiIndex.from_arrays([stems[file_index], np.asarray(frames, dtype=np.int64)])


def read_class_alignments(
    path: Path, passthrough: Path | None, job_type: JobType | None, n_classes: int = 1
) -> ClassAlignments:
    """Read a job's particles.

    `job_type` None takes what the file itself holds, several classes before one. Where it only numbers the classes, as
    the third layout does, there are `n_classes` at least: the last of them may be empty.

    Raises
    ------
    InputError
        If a field is missing or not usable, or images are not named; one line with file and field.
    """
    data = read_dataset(path, passthrough, ["blob/path", "blob/idx"])
    for name in ("blob/path", "blob/idx"):
        data.field(name)
    files, names = pd.factorize(data.field("blob/path"))
    clean = [name.decode(errors="surrogateescape") if isinstance(name, bytes) else str(name) for name in names]
    posteriors, vectors, origins_A = _alignments(data, job_type, n_classes)
    return ClassAlignments(
        posteriors=posteriors,
        rotations=Rotation.from_rotvec(-vectors).as_matrix(),
        shifts_A=-origins_A,
        images=image_names(clean, files, numbers(data.field("blob/idx"), data.where("blob/idx"))),
    )


def _alignments(data: Dataset, job_type: JobType | None, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posteriors (M, K), and of the most probable class rotation vectors (M, 3) and origins (M, 2) in Å."""
    # The file's own fields count; those that pass through are of the jobs before.
    own, everything = set(data.main.dtype.names), data.names
    for fields in (own, everything):
        if job_type != "homogeneous":
            if f"{MULTI}/class_posterior" in fields:
                return of_multi(data)
            if any(map(_CLASS_GROUP.fullmatch, fields)):
                return _of_class_groups(data)
        if f"{_SINGLE}/pose" in fields:
            if job_type in ("abinitio", "heterogeneous") or (job_type is None and f"{_SINGLE}/class" in fields):
                return _of_classified(data, n_classes)
            return np.ones((len(data), 1)), *_pose(data, _SINGLE)
    wanted = f"{_SINGLE}/pose" if job_type == "homogeneous" else f"{MULTI}/class_posterior"
    other = f"; nor is there alignments_class_<k>/class_posterior or {_SINGLE}/pose"
    raise InputError(f"{data.path}: lacks the field {wanted}{'' if job_type == 'homogeneous' else other}")


def of_multi(data: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The second layout: posteriors (M, K), of the most probable class rotation vectors (M, 3), origins (M, 2) in Å."""
    name = f"{MULTI}/class_posterior"
    n, k = len(data), data.field(name).shape[-1]
    posteriors = _array(data, name, (n, k))
    vectors, shifts = _array(data, f"{MULTI}/pose", (n, k, 3)), _array(data, f"{MULTI}/shift", (n, k, 2))
    pixel = f"{MULTI}/psize_A"
    sizes = data.field(pixel)
    if sizes.size not in (n, n * k):
        raise InputError(f"{data.where(pixel)} has shape {sizes.shape}; {(n,)} or {(n, k)} is expected")
    sizes = np.broadcast_to(limited(sizes.ravel(), data.where(pixel), PIXEL_SIZE).reshape(n, -1), (n, k))
    best = most_probable_class(posteriors)
    if f"{MULTI}/class" in data.names:  # which class a column is of
        classes = _array(data, f"{MULTI}/class", (n, k)).astype(np.int64)
        if not np.array_equal(np.sort(classes, 1), np.broadcast_to(np.arange(k), (n, k))):
            raise InputError(f"{data.where(f'{MULTI}/class')}: the numbers 0 to {k - 1}, each once, are expected")
        ordered = np.empty_like(posteriors)
        np.put_along_axis(ordered, classes, posteriors, 1)
    else:
        ordered = posteriors
    origins = of_class(shifts, best) * of_class(sizes, best)[:, None]
    return _normalised(ordered, data.where(name)), of_class(vectors, best), origins


def _of_class_groups(data: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = sorted(int(m[1]) for m in map(_CLASS_GROUP.fullmatch, data.names) if m)
    if found != list(range(len(found))):
        missing = next(k for k in range(len(found)) if k not in found)
        raise InputError(f"{data.path}: lacks the field alignments_class_{missing}/class_posterior")
    groups = [f"alignments_class_{k}" for k in found]
    fields = [f"{group}/class_posterior" for group in groups]
    posteriors = np.stack([_array(data, field, (len(data),)) for field in fields], axis=1)
    vectors, origins = zip(*(_pose(data, group) for group in groups), strict=True)
    best = most_probable_class(posteriors)
    poses = of_class(np.stack(vectors, 1), best), of_class(np.stack(origins, 1), best)
    return _normalised(posteriors, data.where(fields[0])), *poses


def _of_classified(data: Dataset, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    name = f"{_SINGLE}/class"
    raw = _array(data, name, (len(data),))
    classes = raw.astype(np.int64)
    if (raw != classes).any() or classes.min() < 0:
        raise InputError(f"{data.where(name)}: class numbers from 0 are expected")
    k = max(int(classes.max()) + 1, n_classes)
    certain = np.ones(len(data))
    if f"{_SINGLE}/class_posterior" in data.names and k > 1:
        certain = np.clip(_array(data, f"{_SINGLE}/class_posterior", (len(data),)), 0, 1)
    posteriors = np.repeat(((1 - certain) / max(k - 1, 1))[:, None], k, axis=1)
    posteriors[np.arange(len(data)), classes] = certain
    return posteriors, *_pose(data, _SINGLE)


def _pose(data: Dataset, group: str) -> tuple[np.ndarray, np.ndarray]:
    """Rotation vectors (M, 3) and origins (M, 2) in Å of one group of fields."""
    vectors, shifts = (_array(data, f"{group}/{name}", (len(data), n)) for name, n in (("pose", 3), ("shift", 2)))
    pixel = f"{group}/psize_A"
    return vectors, shifts * limited(data.field(pixel), data.where(pixel), PIXEL_SIZE)[:, None]


def _array(data: Dataset, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A field as float64 of that shape. Raises InputError."""
    values = data.field(name)
    if values.shape != shape:
        raise InputError(f"{data.where(name)} has shape {values.shape}; {shape} is expected")
    return numbers(values.ravel(), data.where(name)).reshape(shape)


def _normalised(posteriors: np.ndarray, where: str) -> np.ndarray:
    sums = posteriors.sum(1)
    if (posteriors < 0).any() or (sums <= 0).any():
        row = int(np.argmax((posteriors < 0).any(1) | (sums <= 0)))
        raise InputError(f"{where}: row {row + 1} is no distribution over the classes: {posteriors[row].tolist()}")
    return posteriors / sums[:, None]
