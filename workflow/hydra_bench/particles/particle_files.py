"""Any particle file in: which reader takes it is told by its suffix, or by its first bytes if that tells nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.mrc_header import read_mrc_header
from hydra_bench.core.types import BoolArray, FloatArray, IntArray
from hydra_bench.particles import cryosparc, cryosparc_alignments, relion
from hydra_bench.particles.columns import CtfSource, Microscope
from hydra_bench.particles.cryodrgn import read_ctf_table
from hydra_bench.particles.identity import ImageNames, Repeated, find_images, match_images
from hydra_bench.physics.ctf import Defocus, Optics
from hydra_bench.physics.magnification import undistorted_shifts

_FORMATS = {".star": "star", ".cs": "cs", ".mrcs": "mrcs", ".mrc": "mrcs"}


def read_particles(
    path: Path | str,
    datadir: Path | str | None = None,
    *,
    ctf: CtfSource = "file",
    pixel_size_A: float | None = None,
    microscope: Microscope = Microscope(),  # noqa: B008 - frozen
    passthrough: Path | str | None = None,
    repeated: Repeated = "refuse",
) -> Stack:
    """Read a stack of particles; the images stay on disk.

    Parameters
    ----------
    path : a STAR file (RELION 3.0 to 5), a cryoSPARC .cs file, or an image stack (.mrcs).
    datadir : where the images lie, if not where the file says; see `locate`.
    ctf : "file" takes the CTF from the file; "none" leaves it out, for images that have none or are corrected.
    pixel_size_A : replaces the pixel size that the file states.
    microscope : constants of the CTF that replace the file's, or that it lacks.
    passthrough : for .cs, a second .cs file that holds missing fields; see `cryosparc`.
    repeated : what becomes of an image that is listed twice: see `identity`.

    Raises
    ------
    InputError
        If anything is missing, malformed or implausible; one line that names the file and the field.
    """
    path = Path(path)
    if ctf not in ("file", "none"):
        raise InputError(f"ctf: {ctf!r}; file or none is allowed")
    if pixel_size_A is not None and not 0 < pixel_size_A < np.inf:
        raise InputError(f"pixel_size_A: {pixel_size_A}; a number above 0 is allowed")
    kind = file_format(path)
    if passthrough is not None and kind != "cs":
        raise InputError(f"passthrough: {passthrough}; only a .cs file has one, and {path} is none")
    folder = None if datadir is None else Path(datadir)
    if folder is not None and not folder.is_dir():
        raise InputError(f"datadir: {folder} is not a folder")
    if kind == "star":
        stack = relion.read_star_stack(path, folder, ctf, pixel_size_A, microscope)
    elif kind == "cs":
        stack = cryosparc.read_cs_stack(path, folder, ctf, pixel_size_A, microscope, _path(passthrough))
    else:
        stack = _read_image_stack(path, ctf, pixel_size_A)
    return _listed_once(stack, repeated)


def _listed_once(stack: Stack, repeated: Repeated) -> Stack:
    """The stack as `repeated` wants it. Raises InputError if it refuses an image that is listed twice."""
    names = ImageNames.of_stack(stack)
    if repeated == "refuse":
        names.refuse_repeated("; remove them, or take each once by repeated: first, or every row by repeated: keep")
    twice = names.repeated()
    if not twice.any():
        return stack
    note = f"{stack.path}: {int(twice.sum())} rows list an image again"
    if repeated == "keep":
        return replace(stack, notes=(*stack.notes, f"{note}; they are kept"))
    return replace(stack.take(np.flatnonzero(~twice)), notes=(*stack.notes, f"{note}; they are left out"))


def read_poses(
    path: Path | str, stack: Stack, *, passthrough: Path | str | None = None, repeated: Repeated = "refuse"
) -> tuple[FloatArray, FloatArray]:
    """Poses of a stack's particles, as given in a STAR or .cs file, matched by what `identity` says.

    Returns
    -------
    rotations (N, 3, 3), map to view, and shifts (N, 2) in Å, the (x, y) displacement of the particle in its image.

    Raises
    ------
    InputError
        If the file holds no poses, or not those of all of the stack's particles.
    """
    rotations, shifts_A, _ = _poses_and_rows(Path(path), stack, _path(passthrough), repeated)
    return rotations, shifts_A


def read_poses_and_classes(
    path: Path | str, stack: Stack, *, passthrough: Path | str | None = None, repeated: Repeated = "refuse"
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Poses of a stack's particles as `read_poses` gives them, and the class of each: (N,).

    Classes are numbered from 0, in the order of their numbers in the file and without those that no particle of the
    stack has; -1 is a particle of none: rlnClassNumber 0, or junk of a truth.

    Raises
    ------
    InputError
        If the file holds no poses or no classes, or not those of all of the stack's particles.
    """
    path = Path(path)
    rotations, shifts_A, rows = _poses_and_rows(path, stack, _path(passthrough), repeated)
    if file_format(path) == "star":
        numbers = relion.read_star_classes(path)[rows]
    else:
        numbers = cryosparc_alignments.read_cs_labels(path, _path(passthrough))[0][rows]
    there = np.unique(numbers[numbers >= 0])
    if not len(there):
        raise InputError(f"{path}: rlnClassNumber says that no image is of a class; 1 or more is expected of some")
    return rotations, shifts_A, np.where(numbers < 0, -1, np.searchsorted(there, numbers))


def _poses_and_rows(
    path: Path, stack: Stack, passthrough: Path | None, repeated: Repeated
) -> tuple[FloatArray, FloatArray, IntArray]:
    """What `read_poses` returns, and each particle's row in the file: (N,)."""
    if _table_format(path, "holds no poses") == "star":
        rotations, shifts_A, names = relion.read_star_poses(path, stack)
    else:
        rotations, shifts_A, names = cryosparc_alignments.read_cs_poses(path, passthrough)
    rows = match_images(ImageNames.of_stack(stack), names, repeated)
    shifts_A = shifts_A[rows]
    if path.resolve() == stack.path.resolve() and stack.stated_pixel_sizes_A is not None:
        # Å of a file whose pixel size was put right are as wrong as it was; px are not.
        shifts_A = shifts_A * (stack.pixel_size_A / stack.stated_pixel_sizes_A)[:, None]
    return rotations[rows], undistorted_shifts(shifts_A, stack.magnification), rows


def read_labels(
    path: Path | str, stack: Stack, *, passthrough: Path | str | None = None, repeated: Repeated = "refuse"
) -> IntArray:
    """The class of a stack's particles in a STAR or .cs file, -1 for those that it does not have: (N,).

    Labels are rlnClassNumber, from 1, or cryoSPARC's classes, from 0. Particles are matched by what `identity` says.

    Raises
    ------
    InputError
        If the file holds no classes, or names no particle of the stack.
    """
    path = Path(path)
    if _table_format(path, "holds no classes") == "star":
        labels, names = relion.read_star_labels(path)
    else:
        labels, names = cryosparc_alignments.read_cs_labels(path, _path(passthrough))
    rows = find_images(ImageNames.of_stack(stack), names, repeated)
    return np.where(rows < 0, -1, labels[rows])


def is_listed(
    path: Path | str, stack: Stack, *, passthrough: Path | str | None = None, repeated: Repeated = "refuse"
) -> BoolArray:
    """Which of a stack's particles (N,) a STAR or .cs file lists. Raises InputError if it lists none."""
    return find_images(ImageNames.of_stack(stack), read_image_names(path, passthrough=passthrough), repeated) >= 0


def read_image_names(path: Path | str, *, passthrough: Path | str | None = None) -> ImageNames:
    """What the rows of a STAR or .cs file are images of; they need not be there. Raises InputError."""
    path = Path(path)
    if _table_format(path, "lists no particles") == "star":
        return relion.read_star_images(path)
    return cryosparc.read_cs_images(path, _path(passthrough))


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


def read_ctf(path: Path | str) -> tuple[Defocus, Optics]:
    """Defocus and optics of all particles of a STAR, .cs or cryoDRGN .pkl file; the images need not be there.

    Raises
    ------
    InputError
        If the file is missing or its CTF parameters are not usable.
    """
    path = Path(path)
    if path.suffix not in (".star", ".cs", ".pkl"):
        raise InputError(f"{path}: .star, .cs and .pkl are allowed")
    if not path.is_file():
        raise InputError(f"{path}: no such file; CTF parameters are expected")
    if path.suffix == ".pkl":
        optics, defocus, _, _ = read_ctf_table(path)
    else:
        optics, defocus = relion.read_star_ctf(path) if path.suffix == ".star" else cryosparc.read_cs_ctf(path)
    return defocus, optics


def _read_image_stack(path: Path, ctf: CtfSource, pixel_size_A: float | None) -> Stack:
    """All images of an MRC file; its header gives the pixel size (cell length / samples) unless it is given here.

    Raises
    ------
    InputError
        If `ctf` is not "none", the file holds no usable images, or no pixel size is known.
    """
    header = read_mrc_header(path)
    if ctf != "none":
        raise InputError(
            f"{path}: CTF missing: an image stack holds none; give the STAR or .cs file instead, "
            "or ctf = none for images without CTF"
        )
    pixel = header.pixel_size_A if pixel_size_A is None else pixel_size_A
    if not 0 < pixel < np.inf:
        raise InputError(f"{path}: pixel size {pixel:g} Å in its header; above 0 is allowed: give pixel_size_A")
    index = np.zeros(header.n_images, dtype=np.int32)
    images = ImageFiles.open([path], index, np.arange(header.n_images), str(path))
    return Stack(path=path, images=images, pixel_size_A=pixel, optics=None, defocus=None)


def file_format(path: Path) -> str:
    """'star', 'cs' or 'mrcs'. Raises InputError for a file that is none of them, or is not there."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; a particle file (.star, .cs or .mrcs) is expected")
    if path.suffix.lower() in _FORMATS:
        return _FORMATS[path.suffix.lower()]
    with open(path, "rb") as file:
        start = file.read(4096)
    if start.startswith(b"\x93NUMPY"):
        return "cs"
    if start[208:211] == b"MAP":
        return "mrcs"
    if any(line.startswith(b"data_") for line in start.splitlines()):
        return "star"
    if path.suffix.lower() == ".csg":
        raise InputError(f"{path}: only says which .cs files belong together; name that of the particles, its metafile")
    raise InputError(f"{path}: neither a STAR file nor a .cs file nor an image stack (.star, .cs, .mrcs are allowed)")


def _table_format(path: Path, lack: str) -> str:
    """'star' or 'cs'. Raises InputError for an image stack, of which `lack` says why it will not do."""
    kind = file_format(path)
    if kind == "mrcs":
        raise InputError(f"{path}: an image stack {lack}; a STAR or .cs file is allowed")
    return kind
