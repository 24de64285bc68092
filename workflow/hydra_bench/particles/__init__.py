"""Anybody's particles: RELION STAR files, cryoSPARC .cs files and bare image stacks in, a Stack out.

`read_particles` and `read_poses` choose the reader by the file's suffix, or by its first bytes if that tells
nothing. Poses and classes in a particle file are not looked at unless `read_poses` or `read_labels` is asked for them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.particles import cryosparc, mrcs, relion
from hydra_bench.particles.columns import CtfSource
from hydra_bench.particles.matching import find_particles

_FORMATS = {".star": "star", ".cs": "cs", ".mrcs": "mrcs", ".mrc": "mrcs"}


def read_particles(
    path: Path | str,
    datadir: Path | str | None = None,
    *,
    ctf: CtfSource = "file",
    pixel_size_A: float | None = None,
    passthrough: Path | str | None = None,
) -> Stack:
    """Read a stack of particles; the images stay on disk.

    Parameters
    ----------
    path : a STAR file (RELION 3.0 to 5), a cryoSPARC .cs file, or an image stack (.mrcs).
    datadir : where the images lie, if not where the file says; see `particles.locate`.
    ctf : "file" takes the CTF from the file; "none" leaves it out, for images that have none or are corrected.
    pixel_size_A : replaces the pixel size that the file states.
    passthrough : for .cs, a second .cs file that holds missing fields; see `particles.cryosparc`.

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
    kind = _format(path)
    if passthrough is not None and kind != "cs":
        raise InputError(f"passthrough: {passthrough}; only a .cs file has one, and {path} is none")
    folder = None if datadir is None else _existing_folder(Path(datadir))
    if kind == "star":
        return relion.read_star_stack(path, folder, ctf, pixel_size_A)
    if kind == "cs":
        second = None if passthrough is None else Path(passthrough)
        return cryosparc.read_cs_stack(path, folder, ctf, pixel_size_A, second)
    return mrcs.read_mrcs_stack(path, ctf, pixel_size_A)


def read_poses(
    path: Path | str, stack: Stack, *, passthrough: Path | str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Poses of a stack's particles, as given in a STAR or .cs file.

    Particles are matched by the image that they name (file name and number), so the two files may be in different
    order; a file that names no images must be in the order of the stack.

    Returns
    -------
    rotations (N, 3, 3), map to view, and shifts (N, 2) in Å, the (x, y) displacement of the particle in its image.

    Raises
    ------
    InputError
        If the file holds no poses, or not those of all of the stack's particles.
    """
    path = Path(path)
    kind = _format(path)
    if kind == "mrcs":
        raise InputError(f"{path}: an image stack holds no poses; a STAR or .cs file is allowed")
    if kind == "star":
        return relion.read_star_poses(path, stack)
    return cryosparc.read_cs_poses(path, stack, None if passthrough is None else Path(passthrough))


def read_labels(path: Path | str, stack: Stack) -> np.ndarray:
    """The class of a stack's particles in a STAR or .cs file, -1 for those that it does not have: (N,).

    Labels are rlnClassNumber, from 1, or cryoSPARC's classes, from 0. Particles are matched by the image that they
    name; a file that names none must have those of the stack in the stack's order.

    Raises
    ------
    InputError
        If the file holds no classes, or names no particle of the stack.
    """
    path = Path(path)
    kind = _format(path)
    if kind == "mrcs":
        raise InputError(f"{path}: an image stack holds no classes; a STAR or .cs file is allowed")
    labels, keys = relion.read_star_labels(path) if kind == "star" else cryosparc.read_cs_labels(path)
    if keys is None and len(labels) == len(stack):
        return labels
    rows = find_particles(keys, stack, str(path))
    if (rows < 0).all():
        raise InputError(f"{path}: names no image of the stack {stack.path}")
    return np.where(rows < 0, -1, labels[rows])


def is_listed(path: Path | str, stack: Stack) -> np.ndarray:
    """Which of a stack's particles (N,) a STAR or .cs file lists. Raises InputError if it lists none."""
    path = Path(path)
    kind = _format(path)
    if kind == "mrcs":
        raise InputError(f"{path}: an image stack lists no particles; a STAR or .cs file is allowed")
    keys = relion.read_star_keys(path) if kind == "star" else cryosparc.read_cs_keys(path)
    listed = find_particles(keys, stack, str(path)) >= 0
    if not listed.any():
        raise InputError(f"{path}: names no image of the stack {stack.path}")
    return listed


def _format(path: Path) -> str:
    """'star', 'cs' or 'mrcs'."""
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
    raise InputError(f"{path}: neither a STAR file nor a .cs file nor an image stack (.star, .cs, .mrcs are allowed)")


def _existing_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"datadir: {folder} is not a folder")
    return folder
