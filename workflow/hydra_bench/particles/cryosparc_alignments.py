"""Poses, classes and posteriors of the particles in CryoSPARC's .cs files.

`<group>/pose` is a rotation vector v: axis times angle in radians, the angle counter-clockwise looking down the axis
(CryoSPARC forum, "It's time I admit I don't know what Rodrigues vectors are", 2023, answer of the developers). The
matrix that RELION's angles give, map to view, is the transpose of the right-handed rotation by v, that is the rotation
by -v: pyem's csparc2star takes RELION's Euler angles of just that matrix (asarnow/pyem, pull request 5, by cryoSPARC's
authors), and cryoDRGN's parse_pose_csparc transposes it likewise. Shifts, in px of psize_A, have the sign of rlnOrigin,
so the particle's displacement is their negative. There are three layouts:

alignments_class_<k>/pose (N, 3), shift (N, 2), class_posterior (N,), psize_A (N,): ab initio reconstruction and
    heterogeneous refinement up to version 4.4.
alignments3D_multi/pose (N, K, 3), shift (N, K, 2), class_posterior (N, K), psize_A (N,) or (N, K): from version 4.5 on.
alignments3D/pose, shift, psize_A: homogeneous refinement, one class; with class and class_posterior, classification,
    which says how probable the particle's own class is and no other: what is left is shared among the others.

Version 4.5's layout was taken from how pyem reads it (asarnow/pyem, metadata.py).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from hydra_bench.contracts.poses import most_probable_class, of_class
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.particles.columns import PIXEL_SIZE, limited, numbers
from hydra_bench.particles.cryosparc import BLOB_FIELDS, Dataset, image_names, read_dataset
from hydra_bench.particles.identity import ImageNames, find_images

JobType = Literal["abinitio", "heterogeneous", "homogeneous"]

_Layout = Literal["alignments3D_multi", "alignments_class_<k>", "alignments3D", "alignments2D"]
_MULTI: Final = "alignments3D_multi"
_CLASSES: Final = "alignments_class_<k>"
_SINGLE: Final = "alignments3D"
_FLAT: Final = "alignments2D"


@dataclass(frozen=True)
class ClassAlignments:
    """What a job says of M particles.

    posteriors (M, K), rows sum to 1; of the most probable class, rotations (M, 3, 3), map to view, and shifts_A (M, 2),
    displacements; images (M,), what they are images of.
    """

    posteriors: FloatArray
    rotations: FloatArray
    shifts_A: FloatArray
    images: ImageNames

    def __len__(self) -> int:
        return len(self.posteriors)

    @property
    def n_classes(self) -> int:
        return int(self.posteriors.shape[1])

    def rows_of(self, stack: Stack) -> IntArray:
        """For each of a stack's particles its row here, -1 where it is missing: (N,). Raises InputError if all are."""
        return find_images(ImageNames.of_stack(stack), self.images)


def _layout(data: Dataset, there: Mapping[_Layout, Callable[[set[str]], bool]]) -> tuple[_Layout, set[str]] | None:
    """Where poses or classes are taken from: the layout, and the fields among which it is.

    `there` says in the order of preference which layouts will do, and whether fields have them. A job's own file goes
    before what passed through, which is of the jobs before it. None if neither has any.
    """
    for fields in (data.own_names, data.names):
        for layout, is_there in there.items():
            if is_there(fields):
                return layout, fields
    return None


def read_cs_poses(path: Path, passthrough: Path | None) -> tuple[FloatArray, FloatArray, ImageNames]:
    """Poses of a .cs file's M rows, rotations (M, 3, 3) and displacements (M, 2) in Å, and what they are images of.

    Where there are several classes (`alignments_class_<k>`, `alignments3D_multi`), each particle's most probable one is
    taken. Raises InputError.
    """
    data = read_dataset(path, passthrough, BLOB_FIELDS[:2])
    found = _layout(
        data,
        {
            _SINGLE: lambda fields: f"{_SINGLE}/pose" in fields,
            _CLASSES: lambda fields: bool(_class_numbers(fields, "pose")),
            _MULTI: lambda fields: f"{_MULTI}/pose" in fields,
        },
    )
    if found is None:
        raise InputError(f"{path}: lacks the field alignments3D/pose (nor is there an alignments_class_<k>/pose)")
    layout, fields = found
    groups = _groups(_class_numbers(fields, "pose"))
    if layout == _MULTI:
        _, vectors, origins_A = _of_multi(data)
    elif layout == _SINGLE or len(groups) == 1:
        vectors, origins_A = _pose(data, _SINGLE if layout == _SINGLE else groups[0])
    else:
        vectors, origins_A = _poses_of_best(data, groups, _posteriors(data, groups))
    return Rotation.from_rotvec(-vectors).as_matrix(), -origins_A, image_names(data)


def read_cs_labels(path: Path, passthrough: Path | None) -> tuple[IntArray, ImageNames]:
    """Class (M,) of a .cs file's rows, from 0, and what they are images of.

    It is the most probable one of alignments3D_multi/class_posterior, of alignments_class_<k>/class_posterior where
    there are several, else alignments3D/class or alignments2D/class. Raises InputError if there is none of them, or a
    file holds classes of several jobs that differ.
    """
    data = read_dataset(path, passthrough, BLOB_FIELDS[:2])
    found = _layout(
        data,
        {
            _MULTI: lambda fields: f"{_MULTI}/class_posterior" in fields,
            _CLASSES: lambda fields: len(_class_numbers(fields, "class_posterior")) > 1,
            _SINGLE: lambda fields: f"{_SINGLE}/class" in fields,
            _FLAT: lambda fields: f"{_FLAT}/class" in fields,
        },
    )
    if found is None:
        lacking = f"lacks the field {_SINGLE}/class (nor are there {_CLASSES}/class_posterior)"
        raise InputError(f"{path}: {lacking}")
    layout, fields = found
    numbered = _class_numbers(fields, "class_posterior")
    if layout == _MULTI:
        labels = most_probable_class(_of_multi(data)[0])
    elif layout == _CLASSES:
        labels = np.array(numbered)[most_probable_class(_posteriors(data, _groups(numbered)))]
    else:
        labels = _stated_classes(data, layout)
    if layout in (_MULTI, _CLASSES) and f"{_SINGLE}/class" in fields:
        stated = _stated_classes(data, _SINGLE)
        # A refinement of one class says 0 of every particle.
        if len(np.unique(stated)) > 1 and (stated != labels).any():
            raise InputError(
                f"{data.where(f'{_SINGLE}/class')} and {layout}/class_posterior are of different jobs; give the job's "
                "own .cs file, which holds just its own classes, with its passthrough file beside it"
            )
    return labels, image_names(data)


def _stated_classes(data: Dataset, group: str) -> IntArray:
    return numbers(data.field(f"{group}/class"), data.where(f"{group}/class")).astype(np.int64)


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
    data = read_dataset(path, passthrough, BLOB_FIELDS[:2])
    for name in BLOB_FIELDS[:2]:
        data.field(name)
    posteriors, vectors, origins_A = _alignments(data, job_type, n_classes)
    return ClassAlignments(
        posteriors=posteriors,
        rotations=Rotation.from_rotvec(-vectors).as_matrix(),
        shifts_A=-origins_A,
        images=image_names(data),
    )


def _alignments(data: Dataset, job_type: JobType | None, n_classes: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Posteriors (M, K), and of the most probable class rotation vectors (M, 3) and origins (M, 2) in Å."""
    several: dict[_Layout, Callable[[set[str]], bool]] = {
        _MULTI: lambda fields: f"{_MULTI}/class_posterior" in fields,
        _CLASSES: lambda fields: bool(_class_numbers(fields, "class_posterior")),
    }
    single: dict[_Layout, Callable[[set[str]], bool]] = {_SINGLE: lambda fields: f"{_SINGLE}/pose" in fields}
    found = _layout(data, single if job_type == "homogeneous" else several | single)
    if found is None:
        wanted = f"{_SINGLE}/pose" if job_type == "homogeneous" else f"{_MULTI}/class_posterior"
        other = f"; nor is there alignments_class_<k>/class_posterior or {_SINGLE}/pose"
        raise InputError(f"{data.path}: lacks the field {wanted}{'' if job_type == 'homogeneous' else other}")
    layout, fields = found
    if layout == _MULTI:
        return _of_multi(data)
    if layout == _CLASSES:
        return _of_class_groups(data, fields)
    if job_type in ("abinitio", "heterogeneous") or (job_type is None and f"{_SINGLE}/class" in fields):
        return _of_classified(data, n_classes)
    return np.ones((len(data), 1)), *_pose(data, _SINGLE)


def _class_numbers(fields: Iterable[str], name: str) -> list[int]:
    """The classes k that have a field alignments_class_<k>/<name>, rising."""
    return sorted(int(m[1]) for m in (re.fullmatch(rf"alignments_class_(\d+)/{name}", field) for field in fields) if m)


def _groups(classes: Iterable[int]) -> list[str]:
    return [f"alignments_class_{k}" for k in classes]


def _posteriors(data: Dataset, groups: list[str]) -> FloatArray:
    """class_posterior (M, K) of groups of fields, one a class."""
    return np.stack([_array(data, f"{group}/class_posterior", (len(data),)) for group in groups], axis=1)


def _poses_of_best(data: Dataset, groups: list[str], posteriors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rotation vectors (M, 3) and origins (M, 2) in Å of each particle's most probable one of several groups."""
    vectors, origins_A = zip(*(_pose(data, group) for group in groups), strict=True)
    best = most_probable_class(posteriors)
    return of_class(np.stack(vectors, 1), best), of_class(np.stack(origins_A, 1), best)


def _of_multi(data: Dataset) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The second layout: posteriors (M, K), of the most probable class rotation vectors (M, 3), origins (M, 2) in Å."""
    name = f"{_MULTI}/class_posterior"
    n, k = len(data), data.field(name).shape[-1]
    posteriors = _array(data, name, (n, k))
    vectors = _array(data, f"{_MULTI}/pose", (n, k, 3))
    shifts = _array(data, f"{_MULTI}/shift", (n, k, 2))
    pixel = f"{_MULTI}/psize_A"
    sizes = data.field(pixel)
    if sizes.size not in (n, n * k):
        raise InputError(f"{data.where(pixel)} has shape {sizes.shape}; {(n,)} or {(n, k)} is expected")
    sizes = np.broadcast_to(limited(sizes.ravel(), data.where(pixel), PIXEL_SIZE).reshape(n, -1), (n, k))
    best = most_probable_class(posteriors)
    if f"{_MULTI}/class" in data.names:  # which class a column is of
        classes = _array(data, f"{_MULTI}/class", (n, k)).astype(np.int64)
        if not np.array_equal(np.sort(classes, 1), np.broadcast_to(np.arange(k), (n, k))):
            raise InputError(f"{data.where(f'{_MULTI}/class')}: the numbers 0 to {k - 1}, each once, are expected")
        ordered = np.empty_like(posteriors)
        np.put_along_axis(ordered, classes, posteriors, 1)
    else:
        ordered = posteriors
    origins = of_class(shifts, best) * of_class(sizes, best)[:, None]
    return _normalised(ordered, data.where(name)), of_class(vectors, best), origins


def _of_class_groups(data: Dataset, fields: set[str]) -> tuple[FloatArray, FloatArray, FloatArray]:
    found = _class_numbers(fields, "class_posterior")
    if found != list(range(len(found))):
        missing = next(k for k in range(len(found)) if k not in found)
        raise InputError(f"{data.path}: lacks the field alignments_class_{missing}/class_posterior")
    groups = _groups(found)
    posteriors = _posteriors(data, groups)
    vectors, origins_A = _poses_of_best(data, groups, posteriors)
    return _normalised(posteriors, data.where(f"{groups[0]}/class_posterior")), vectors, origins_A


def _of_classified(data: Dataset, n_classes: int) -> tuple[FloatArray, FloatArray, FloatArray]:
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


def _pose(data: Dataset, group: str) -> tuple[FloatArray, FloatArray]:
    """Rotation vectors (M, 3) and origins (M, 2) in Å of one group of fields."""
    vectors = _array(data, f"{group}/pose", (len(data), 3))
    shifts = _array(data, f"{group}/shift", (len(data), 2))
    pixel = f"{group}/psize_A"
    return vectors, shifts * limited(data.field(pixel), data.where(pixel), PIXEL_SIZE)[:, None]


def _array(data: Dataset, name: str, shape: tuple[int, ...]) -> FloatArray:
    """A field as float64 of that shape. Raises InputError."""
    values = data.field(name)
    if values.shape != shape:
        raise InputError(f"{data.where(name)} has shape {values.shape}; {shape} is expected")
    return numbers(values.ravel(), data.where(name)).reshape(shape)


def _normalised(posteriors: FloatArray, where: str) -> FloatArray:
    sums = posteriors.sum(1)
    if (posteriors < 0).any() or (sums <= 0).any():
        row = int(np.argmax((posteriors < 0).any(1) | (sums <= 0)))
        raise InputError(f"{where}: row {row + 1} is no distribution over the classes: {posteriors[row].tolist()}")
    distributions: FloatArray = posteriors / sums[:, None]
    return distributions
