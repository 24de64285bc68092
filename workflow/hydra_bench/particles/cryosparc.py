"""cryoSPARC's .cs files: NumPy structured arrays, one row a particle.

Fields used: blob/path, blob/idx (from 0), blob/shape, blob/psize_A, blob/sign; ctf/accel_kv, ctf/cs_mm,
ctf/amp_contrast, ctf/df1_A, ctf/df2_A, ctf/df_angle_rad, ctf/phase_shift_rad, ctf/bfactor, ctf/scale, ctf/anisomag;
poses and classes are read by `cryosparc_alignments`. ctf/tilt_A, ctf/trefoil_A, ctf/tetra_A and ctf/shift_A are not
used, which is noted where they are not zero.

Jobs leave out what they did not change and write it to a second, "passthrough" file with the same particles; rows are
joined by uid.

Source: CryoSPARC guide, "Manipulating .cs files created by CryoSPARC".
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.npy import read_npy
from hydra_bench.core.types import FloatArray, IntArray, StringArray
from hydra_bench.particles import columns
from hydra_bench.particles.columns import CtfSource, Microscope
from hydra_bench.particles.identity import ImageNames
from hydra_bench.particles.locate import locate
from hydra_bench.physics.ctf import Defocus, Optics

_OPTICS_FIELDS = ("ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast")
_DEFOCUS_FIELDS = ("ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad", "ctf/phase_shift_rad")
UNUSED_FIELDS = {
    "ctf/tilt_A": "beam tilt",
    "ctf/trefoil_A": "trefoil",
    "ctf/tetra_A": "tetrafoil",
    "ctf/shift_A": "image shift",
}
BLOB_FIELDS = ("blob/path", "blob/idx", "blob/shape")

Rows: TypeAlias = npt.NDArray[np.void]


@dataclass(frozen=True)
class Dataset:
    """The rows of a .cs file, and of its passthrough file in the same order if there is one.

    `beside` are passthrough files in its folder of which none could be taken, for messages.
    """

    path: Path
    main: Rows
    passthrough_path: Path | None = None
    passthrough: Rows | None = None
    beside: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.main)

    @property
    def own_names(self) -> set[str]:
        """Fields of the .cs file itself; those that pass through are of the jobs before."""
        return set(self.main.dtype.names or ())

    @property
    def names(self) -> set[str]:
        return self.own_names | set(() if self.passthrough is None else self.passthrough.dtype.names or ())

    def field(self, name: str, otherwise: str = "") -> npt.NDArray[Any]:
        """A field (N, ...), of the .cs file itself if it is there. Raises InputError if neither has it.

        `otherwise` is what the message says could be done instead.
        """
        if name in self.own_names:
            return self.main[name]
        if self.passthrough is not None and name in self.names:
            return self.passthrough[name]
        second = f" and its passthrough file {self.passthrough_path}" if self.passthrough_path else ""
        lack = "lack" if second else "lacks"
        missing = "CTF missing: " if name.startswith("ctf/") else ""
        advice = "" if second else f"; if a passthrough .cs file holds it, name that by passthrough{self.candidates}"
        raise InputError(f"{self.path}{second}: {missing}{lack} the field {name}{advice}{otherwise}")

    @property
    def candidates(self) -> str:
        """What messages add of the passthrough files that were not taken."""
        if not self.beside:
            return ""
        names = ", ".join(path.name for path in self.beside[:4]) + (", ..." if len(self.beside) > 4 else "")
        return f" (beside it: {names}; none was taken, since none has it for all of the uids, or they differ)"

    def where(self, name: str) -> str:
        """File and field, for messages."""
        path = self.path if name in self.own_names else self.passthrough_path
        return f"{path}: {name}"


def read_dataset(path: Path, passthrough: Path | None, needed: Iterable[str]) -> Dataset:
    """Read a .cs file, and its passthrough file: the named one, or one beside it if `needed` fields are missing.

    Of several beside it that is taken whose uids cover the particles' and that has most of those fields, of the file's
    own job before others'. Where those that are left say different things, none is taken.
    """
    main = _load(path)
    if len(main) == 0:
        raise InputError(f"{path}: holds no particles; at least one is needed")
    if passthrough is not None:
        return Dataset(path, main, passthrough, _joined(path, main, passthrough))
    lacking = [name for name in needed if name not in (main.dtype.names or ())]
    beside = tuple(other for other in sorted(path.parent.glob("*passthrough*.cs")) if other != path) if lacking else ()
    found: dict[Path, Rows] = {}
    for other in beside:
        with suppress(InputError):
            found[other] = _joined(path, main, other)
    best = _best(path, found, lacking)
    return Dataset(path, main, beside=beside) if best is None else Dataset(path, main, best, found[best])


_JOB = re.compile(r"J\d+(?=_)")


def _best(path: Path, found: dict[Path, Rows], lacking: list[str]) -> Path | None:
    """The passthrough file to take of those that cover the particles, None if there is none, or they differ."""

    def worth(other: Path) -> tuple[int, bool]:
        of_the_job = _JOB.search(path.name), _JOB.search(other.name)
        same_job = None not in of_the_job and of_the_job[0][0] == of_the_job[1][0]  # type: ignore[index]
        return len(set(lacking) & set(found[other].dtype.names or ())), same_job

    most = max(map(worth, found), default=(0, False))
    best = [other for other in found if worth(other) == most]
    names = [name for name in lacking if name in (found[best[0]].dtype.names or ())] if best else []
    differ = any(found[best[0]][name].tolist() != found[other][name].tolist() for other in best[1:] for name in names)
    return None if differ or not best or most[0] == 0 else best[0]


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
    rows: Rows = read_npy(path, "a .cs file")
    if rows.dtype.names is None or rows.ndim != 1:
        raise InputError(f"{path}: not a .cs file; a NumPy array of rows with named fields is expected")
    return rows


def read_cs_stack(
    path: Path,
    datadir: Path | None,
    ctf: CtfSource,
    pixel_size_A: float | None,
    given: Microscope,
    passthrough: Path | None,
) -> Stack:
    """Read a .cs file of particles.

    Without `passthrough`, a passthrough file beside the .cs file is used where fields are missing: see `read_dataset`.
    Raises InputError; see `particle_files`.
    """
    needed = [*BLOB_FIELDS, *([] if pixel_size_A else ["blob/psize_A"])]
    if ctf == "file":
        known = [value is not None for value in vars(given).values()]
        needed += [name for name, is_known in zip(_OPTICS_FIELDS, known, strict=True) if not is_known]
        needed += _DEFOCUS_FIELDS[:3]
    data = read_dataset(path, passthrough, needed)
    pixel_size, stated = pixel_size_A, None
    if pixel_size is None or "blob/psize_A" in data.names:
        where = data.where("blob/psize_A")
        stated = columns.limited(data.field("blob/psize_A"), where, columns.PIXEL_SIZE)
        pixel_size = columns.one_pixel_size(stated, pixel_size_A, lambda row: f"particle {row + 1}", where)
    notes: list[str] = []
    optics, defocus = (None, None) if ctf == "none" else (_optics(data, given, notes), _defocus(data))
    images = _open_images(data, datadir)
    notes += columns.sizes_note(path, pixel_size, stated, images) + columns.unused_note(path, _aberrations(data))
    notes += [] if defocus is None else columns.defocus_notes(path, defocus)
    return Stack(
        path=path,
        images=images,
        pixel_size_A=pixel_size,
        optics=optics,
        defocus=defocus,
        contrast=_contrast(data),
        magnification=magnification_of(data),
        uids=data.main["uid"] if "uid" in data.own_names else None,
        passthrough=data.passthrough_path,
        stated_pixel_sizes_A=stated,
        notes=tuple(notes),
    )


def image_names(data: Dataset) -> ImageNames:
    """Which images the rows are of, by the uids and names that they have."""
    uids = data.main["uid"] if "uid" in data.own_names else None
    if not {"blob/path", "blob/idx"} <= data.names:
        return ImageNames.nameless(f"{data.path}{data.candidates}", len(data), uids)
    file_index, files = blob_files(data)
    where = data.where("blob/idx")
    frames = columns.numbers(data.field("blob/idx"), where).astype(np.int64)
    return ImageNames(data.where("blob/path"), tuple(files), file_index, frames, uids)


def read_cs_ctf(path: Path) -> tuple[Optics, Defocus]:
    """The CTF parameters of a .cs file's particles alone; the images need not be there. Raises InputError."""
    data = read_dataset(path, None, [*_OPTICS_FIELDS, *_DEFOCUS_FIELDS[:3]])
    return _optics(data, Microscope(), []), _defocus(data)


def read_cs_images(path: Path, passthrough: Path | None) -> ImageNames:
    """Which images a .cs file's rows are of. Raises InputError."""
    return image_names(read_dataset(path, passthrough, BLOB_FIELDS[:2]))


def _optics(data: Dataset, given: Microscope, notes: list[str]) -> Optics:
    def stated(number: int) -> FloatArray:
        name = _OPTICS_FIELDS[number]
        values = data.field(name, columns.microscope_advice(number))
        return columns.limited(values, data.where(name), columns.MICROSCOPE_LIMITS[number])

    return columns.microscope_of_particles(given, len(data), stated, notes, data.path)


def _defocus(data: Dataset) -> Defocus:
    u, v = (columns.numbers(data.field(field), data.where(field)) for field in _DEFOCUS_FIELDS[:2])
    angle_field, phase_field = _DEFOCUS_FIELDS[2:]
    angle = columns.limited(data.field(angle_field), data.where(angle_field), columns.ANGLE_RAD)
    phase = _optional(data, phase_field)
    if phase is not None:
        phase = columns.limited(phase, data.where(phase_field), columns.ANGLE_RAD)
    b_factor, scale = (_optional(data, name) for name in ("ctf/bfactor", "ctf/scale"))
    if scale is not None and is_unfilled(scale):
        scale = None
    phase = np.zeros(len(u)) if phase is None else phase
    defocus = Defocus(u, v, np.degrees(angle), np.degrees(phase), *columns.damping(b_factor, scale))
    columns.check_defocus(defocus, f"{data.where('ctf/df1_A')} and ctf/df2_A")
    return defocus


def is_unfilled(scale: npt.NDArray[Any]) -> bool:
    """Whether ctf/scale was never filled: with 0 throughout there would be no image."""
    return not scale.any()


def _optional(data: Dataset, name: str) -> FloatArray | None:
    """A field as numbers, flat; None where it is not there. Raises InputError."""
    return columns.numbers(data.field(name).ravel(), data.where(name)) if name in data.names else None


def _aberrations(data: Dataset) -> dict[str, FloatArray]:
    """What is known of aberrations that are not used, by name."""
    values = {f"{what} ({name})": _optional(data, name) for name, what in UNUSED_FIELDS.items()}
    return {name: field for name, field in values.items() if field is not None}


def magnification_of(data: Dataset) -> FloatArray | None:
    """The magnification matrices (N, 2, 2) of ctf/anisomag, None where they are neutral or not there.

    Its four numbers are RELION's rlnMagMat, the matrix in Fourier space, less the identity, so 0 is neutral; files of
    converters have the matrix. CryoSPARC's documents name the field and do not say what it holds: this is what readers
    of it by others (Ghostbuster) take, and with it displacements as in the image as it was recorded.
    """
    values = _optional(data, "ctf/anisomag")
    if values is None or not values.any():
        return None
    matrices = values.reshape(len(data), 2, 2)
    whole = np.abs(np.trace(matrices, axis1=1, axis2=2) - 2) < 1
    return columns.magnification_of_particles(
        np.where(whole[:, None, None], matrices, matrices + np.eye(2)), data.where("ctf/anisomag")
    )


def _contrast(data: Dataset) -> FloatArray | None:
    """+1 or -1 for each particle from blob/sign; None where all are +1 or nothing is said."""
    if "blob/sign" not in data.names:
        return None
    sign = columns.numbers(data.field("blob/sign"), data.where("blob/sign"))
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
    frames = columns.numbers(data.field("blob/idx"), data.where("blob/idx")).astype(np.int64)
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
    named_by, box_by = data.where("blob/idx"), data.where("blob/shape")
    return ImageFiles.open(paths, file_index, frames, named_by, box, box_by, listed_as=files.tolist())
