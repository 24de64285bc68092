"""cryoSPARC's .cs files: NumPy structured arrays, one row a particle.

Fields used: blob/path, blob/idx (from 0), blob/shape, blob/psize_A, blob/sign; ctf/accel_kv, ctf/cs_mm,
ctf/amp_contrast, ctf/df1_A, ctf/df2_A, ctf/df_angle_rad, ctf/phase_shift_rad; poses and classes are read by
`cryosparc_alignments`. Jobs leave out what they did not change and write it to a second, "passthrough" file with the
same particles; rows are joined by uid.

Source: CryoSPARC guide, "Manipulating .cs files created by CryoSPARC".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.types import FloatArray, IntArray, StringArray
from hydra_bench.particles.columns import (
    PIXEL_SIZE,
    CtfSource,
    check_defocus,
    limited,
    numbers,
    one_pixel_size,
    optics_from_columns,
)
from hydra_bench.particles.cs_dataset import Dataset, read_dataset
from hydra_bench.particles.locate import locate
from hydra_bench.particles.matching import image_names
from hydra_bench.physics.ctf import Defocus, Optics

_OPTICS_FIELDS = ("ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast")
_DEFOCUS_FIELDS = ("ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad", "ctf/phase_shift_rad")
BLOB_FIELDS = ("blob/path", "blob/idx", "blob/shape")


def read_cs_stack(
    path: Path, datadir: Path | None, ctf: CtfSource, pixel_size_A: float | None, passthrough: Path | None
) -> Stack:
    """Read a .cs file of particles.

    Without `passthrough`, a passthrough file beside the .cs file is used where fields are missing and there is
    just one. Raises InputError; see `particle_files`.
    """
    needed = [*BLOB_FIELDS, *([] if pixel_size_A else ["blob/psize_A"])]
    if ctf == "file":
        needed += [*_OPTICS_FIELDS, *_DEFOCUS_FIELDS[:3]]
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


def named_images(data: Dataset) -> pd.MultiIndex | None:
    """The images that the rows name, None if they name none."""
    if not {"blob/path", "blob/idx"} <= data.names:
        return None
    file_index, files = blob_files(data)
    return image_names(files[file_index], data.field("blob/idx").astype(np.int64))


def read_cs_ctf(path: Path) -> tuple[Optics, Defocus]:
    """The CTF parameters of a .cs file's particles alone; the images need not be there. Raises InputError."""
    data = read_dataset(path, None, [*_OPTICS_FIELDS, *_DEFOCUS_FIELDS[:3]])
    return _optics(data), _defocus(data)


def read_cs_images(path: Path) -> pd.MultiIndex | None:
    """The images that a .cs file's rows name, None if they name none. Raises InputError."""
    return named_images(read_dataset(path, None, BLOB_FIELDS))


def _optics(data: Dataset) -> Optics:
    return optics_from_columns(_OPTICS_FIELDS, data.field, data.where)


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
    return one_pixel_size(limited(values, where, PIXEL_SIZE), lambda row: f"particle {row + 1}", where)


def _contrast(data: Dataset) -> FloatArray | None:
    """+1 or -1 for each particle from blob/sign; None where all are +1 or nothing is said."""
    if "blob/sign" not in data.names:
        return None
    sign = numbers(data.field("blob/sign"), data.where("blob/sign"))
    if (np.abs(sign) != 1).any():
        bad = np.argmax(np.abs(sign) != 1)
        raise InputError(f"{data.where('blob/sign')} is {sign[bad]:g} in row {bad + 1}; 1 or -1 is allowed")
    return None if (sign == 1).all() else sign.astype(np.float32)


def blob_files(data: Dataset) -> tuple[IntArray, StringArray]:
    """Each particle's file (N,), a row of the different files (F,), and those; '>' marks CryoSPARC's project folder."""
    file_index, unique = pd.factorize(data.field("blob/path"))
    clean = [name.decode(errors="surrogateescape") if isinstance(name, bytes) else str(name) for name in unique]
    return file_index, np.array([name.removeprefix(">") for name in clean], dtype=object)


def _open_images(data: Dataset, datadir: Path | None) -> ImageFiles:
    file_index, files = blob_files(data)
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
    return ImageFiles.open(paths, file_index, frames, data.where("blob/idx"), box, data.where("blob/shape"))
