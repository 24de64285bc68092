"""cryoSPARC's .cs files: NumPy structured arrays, one row a particle.

Fields used: blob/path, blob/idx (from 0), blob/shape, blob/psize_A, blob/sign; ctf/accel_kv, ctf/cs_mm,
ctf/amp_contrast, ctf/df1_A, ctf/df2_A, ctf/df_angle_rad, ctf/phase_shift_rad; alignments3D/pose, shift, psize_A,
or those of alignments_class_<k>. Jobs leave out what they did not change and write it to a second,
"passthrough" file with the same particles; rows are joined by uid.

Sources: CryoSPARC guide, "Manipulating .cs files created by CryoSPARC"; for poses, see `read_cs_poses`.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from hydra_bench.contracts.poses import most_probable_class, of_class
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.particles.columns import (
    PIXEL_SIZE,
    CtfSource,
    check_defocus,
    limited,
    numbers,
    one_pixel_size,
    optics_from_columns,
)
from hydra_bench.particles.cryosparc_classes import MULTI, of_multi
from hydra_bench.particles.cs_dataset import Dataset, read_dataset
from hydra_bench.particles.locate import locate
from hydra_bench.particles.matching import ImageKeys, match_particles
from hydra_bench.physics.ctf import Defocus, Optics

_OPTICS_FIELDS = {
    "voltage_kV": "ctf/accel_kv",
    "spherical_aberration_mm": "ctf/cs_mm",
    "amplitude_contrast": "ctf/amp_contrast",
}
_DEFOCUS_FIELDS = ("ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad", "ctf/phase_shift_rad")
_BLOB_FIELDS = ("blob/path", "blob/idx", "blob/shape")
_CLASS_POSE = re.compile(r"alignments_class_(\d+)/pose")
_CLASS_POSTERIOR = re.compile(r"alignments_class_(\d+)/class_posterior")


def read_cs_stack(
    path: Path, datadir: Path | None, ctf: CtfSource, pixel_size_A: float | None, passthrough: Path | None
) -> Stack:
    """Read a .cs file of particles.

    Without `passthrough`, a passthrough file beside the .cs file is used where fields are missing and there is
    just one. Raises InputError; see `particles.read_particles`.
    """
    needed = [*_BLOB_FIELDS, *([] if pixel_size_A else ["blob/psize_A"])]
    if ctf == "file":
        needed += [*_OPTICS_FIELDS.values(), *_DEFOCUS_FIELDS[:3]]
    data = read_dataset(path, passthrough, needed)
    optics, defocus = (None, None) if ctf == "none" else (_optics(data), _defocus(data))
    return Stack(
        path=path,
        images=_open_images(data, datadir),
        pixel_size_A=_pixel_size_A(data) if pixel_size_A is None else pixel_size_A,
        optics=optics,
        defocus=defocus,
        contrast=_contrast(data),
    )


def read_cs_poses(path: Path, stack: Stack, passthrough: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Poses from a .cs file, in the stack's order; see `particles.read_poses`.

    `alignments3D/pose` is a rotation vector v: axis times angle in radians, the angle counter-clockwise looking down
    the axis (CryoSPARC forum, "It's time I admit I don't know what Rodrigues vectors are", 2023, answer of the
    developers). The matrix that RELION's angles give, map to view, is the transpose of the right-handed
    rotation by v, that is the rotation by -v: pyem's csparc2star takes RELION's Euler angles of just that matrix
    (asarnow/pyem, pull request 5, by cryoSPARC's authors), and cryoDRGN's parse_pose_csparc transposes it likewise.
    Shifts, in px of psize_A, have the sign of rlnOrigin, so the particle's displacement is their negative.

    Where there are several classes (`alignments_class_<k>`, `alignments3D_multi`), each particle's most probable one is
    taken.
    """
    data = read_dataset(path, passthrough, [])
    vectors, origins_A = _class_poses(data)
    keys = _image_keys(data)
    rows = match_particles(keys, len(data), stack, data.where("blob/path") if keys else str(path))
    return Rotation.from_rotvec(-vectors[rows]).as_matrix(), -origins_A[rows]


def _image_keys(data: Dataset) -> ImageKeys | None:
    if not {"blob/path", "blob/idx"} <= data.names:
        return None
    return ImageKeys.of(_blob_names(data)[0], data.field("blob/idx").astype(np.int64))


def read_cs_ctf(path: Path) -> tuple[Optics, Defocus]:
    """The CTF parameters of a .cs file's particles alone; the images need not be there. Raises InputError."""
    data = read_dataset(path, None, [*_OPTICS_FIELDS.values(), *_DEFOCUS_FIELDS[:3]])
    return _optics(data), _defocus(data)


def read_cs_labels(path: Path) -> tuple[np.ndarray, ImageKeys | None]:
    """Class (M,) of a .cs file's rows, from 0, and the images that they name, if they do.

    It is the most probable one of alignments3D_multi/class_posterior, of alignments_class_<k>/class_posterior where
    there are several, else alignments3D/class or alignments2D/class. Raises InputError if there is none of them.
    """
    data = read_dataset(path, None, _BLOB_FIELDS)
    if f"{MULTI}/class_posterior" in data.names:
        return most_probable_class(of_multi(data)[0]), _image_keys(data)
    numbered = sorted({int(m[1]) for m in map(_CLASS_POSTERIOR.fullmatch, data.names) if m})
    if len(numbered) > 1:
        posteriors = _posteriors(data, [f"alignments_class_{k}" for k in numbered])
        return np.array(numbered)[most_probable_class(posteriors)], _image_keys(data)
    for field in ("alignments3D/class", "alignments2D/class"):
        if field in data.names:
            return numbers(data.field(field), data.where(field)).astype(np.int64), _image_keys(data)
    raise InputError(f"{path}: lacks the field alignments3D/class (nor are there alignments_class_<k>/class_posterior)")


def read_cs_keys(path: Path) -> ImageKeys | None:
    """The images that a .cs file's rows name, None if they name none. Raises InputError."""
    return _image_keys(read_dataset(path, None, _BLOB_FIELDS))


def _class_poses(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Rotation vectors (N, 3) and origins (N, 2) in Å, each particle's of its most probable class."""
    if "alignments3D/pose" in data.names:
        return _poses_of(data, "alignments3D")
    groups = sorted({f"alignments_class_{m[1]}" for m in map(_CLASS_POSE.fullmatch, data.names) if m})
    if not groups:
        if f"{MULTI}/pose" in data.names:
            return of_multi(data)[1:]
        raise InputError(f"{data.path}: lacks the field alignments3D/pose (nor is there an alignments_class_<k>/pose)")
    if len(groups) == 1:
        return _poses_of(data, groups[0])
    vectors, origins = zip(*(_poses_of(data, group) for group in groups), strict=True)
    best = most_probable_class(_posteriors(data, groups))
    return of_class(np.stack(vectors, 1), best), of_class(np.stack(origins, 1), best)


def _posteriors(data: Dataset, groups: list[str]) -> np.ndarray:
    """class_posterior (N, K) of groups of fields, one a class."""
    fields = [f"{group}/class_posterior" for group in groups]
    return np.stack([numbers(data.field(field), data.where(field)) for field in fields], axis=1)


def _poses_of(data: Dataset, group: str) -> tuple[np.ndarray, np.ndarray]:
    pose, shift, pixel = (f"{group}/{name}" for name in ("pose", "shift", "psize_A"))
    vectors, shifts = (_vectors(data, name, width) for name, width in ((pose, 3), (shift, 2)))
    return vectors, shifts * limited(data.field(pixel), data.where(pixel), PIXEL_SIZE)[:, None]


def _vectors(data: Dataset, name: str, width: int) -> np.ndarray:
    values = data.field(name)
    if values.shape != (len(data), width):
        raise InputError(f"{data.where(name)} has shape {values.shape}; {(len(data), width)} is expected")
    return numbers(values.ravel(), data.where(name)).reshape(values.shape)


def _optics(data: Dataset) -> Optics:
    columns = {name: data.field(field) for name, field in _OPTICS_FIELDS.items()}
    return optics_from_columns(columns, {name: data.where(field) for name, field in _OPTICS_FIELDS.items()})


def _defocus(data: Dataset) -> Defocus:
    u, v, angle = (numbers(data.field(field), data.where(field)) for field in _DEFOCUS_FIELDS[:3])
    phase_field = _DEFOCUS_FIELDS[3]
    has_phase = phase_field in data.names
    phase = numbers(data.field(phase_field), data.where(phase_field)) if has_phase else np.zeros(len(u))
    defocus = Defocus(u, v, np.degrees(angle), np.degrees(phase))
    check_defocus(defocus, f"{data.where('ctf/df1_A')} and ctf/df2_A")
    return defocus


def _pixel_size_A(data: Dataset) -> float:
    values, where = data.field("blob/psize_A"), data.where("blob/psize_A")
    return one_pixel_size(limited(values, where, PIXEL_SIZE), _particle, where)


def _particle(row: int) -> str:
    return f"particle {row + 1}"


def _contrast(data: Dataset) -> np.ndarray | None:
    """+1 or -1 for each particle from blob/sign; None where all are +1 or nothing is said."""
    if "blob/sign" not in data.names:
        return None
    sign = numbers(data.field("blob/sign"), data.where("blob/sign"))
    if (np.abs(sign) != 1).any():
        bad = np.argmax(np.abs(sign) != 1)
        raise InputError(f"{data.where('blob/sign')} is {sign[bad]:g} in row {bad + 1}; 1 or -1 is allowed")
    return None if (sign == 1).all() else sign.astype(np.float32)


def _blob_names(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """File of each particle (N,) and the different files; '>' before a path marks cryoSPARC's project folder."""
    codes, unique = pd.factorize(data.field("blob/path"))
    clean = [name.decode(errors="surrogateescape") if isinstance(name, bytes) else str(name) for name in unique]
    files = np.array([name.removeprefix(">") for name in clean], dtype=object)
    return files[codes], files


def _open_images(data: Dataset, datadir: Path | None) -> ImageFiles:
    names, files = _blob_names(data)
    frames = numbers(data.field("blob/idx"), data.where("blob/idx")).astype(np.int64)
    shapes = data.field("blob/shape").reshape(len(data), -1)
    box = int(shapes[0, 0])
    if (shapes != box).any():
        i = int(np.argmax((shapes != box).any(1)))
        size = " x ".join(map(str, shapes[i]))
        raise InputError(
            f"{data.where('blob/shape')}: particle 1 has {box} px and particle {i + 1} has {size} px; all images must "
            "be square and of one size"
        )
    paths = locate(files, data.path, "blob/path", datadir)
    file_index = pd.Index(files).get_indexer(names)
    return ImageFiles.open(paths, file_index, frames, data.where("blob/idx"), box, data.where("blob/shape"))
