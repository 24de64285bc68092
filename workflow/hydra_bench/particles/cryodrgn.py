"""cryoDRGN's pickled tables: CTF parameters, poses, and lists of indices or labels.

ctf.pkl: an array (N, 9) of image size in px, pixel size in Å, defocus U and V in Å, astigmatism angle in degrees,
voltage in kV, spherical aberration in mm, amplitude contrast, phase shift in degrees.
poses.pkl: rotations (N, 3, 3) and translations (N, 2), or the rotations alone. The rotations are as here, map to
view. A translation, in boxes, is that which centres the image: the particle's displacement is its negative.

A pickle can run anything when it is loaded. Here it can make NumPy arrays and plain values, and nothing else.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from hydra_bench.core.errors import InputError
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.particles.columns import MICROSCOPE_LIMITS, check_defocus, limited, numbers
from hydra_bench.physics.ctf import Defocus, Optics

CTF_COLUMNS = ("D", "Apix", "DefocusU", "DefocusV", "DefocusAngle", "Voltage", "Cs", "w", "phase shift")

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    *((f"numpy.{core}.{module}", name) for core in ("core", "_core")
      for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))),
}  # fmt: skip


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, and only NumPy arrays are allowed")
        # The old name of a module that NumPy 2 warns of.
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


def read_pickle(path: Path) -> Any:
    """Arrays and plain values of a pickle. Raises InputError if it is missing, broken or holds anything else."""
    return read_pickles(path, 1)[0]


def read_pickles(path: Path, count: int) -> list[Any]:
    """The first `count` contents of a file of several pickles, as `read_pickle` reads one. Raises InputError."""
    try:
        with open(path, "rb") as file:
            return [_ArraysOnly(file).load() for _ in range(count)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a broken pickle raises whatever its bytes say
        raise InputError(f"{path}: not a pickle of arrays ({' '.join(str(error).split())})") from None


def read_ctf_table(path: Path) -> tuple[Optics, Defocus, float, int]:
    """Optics, defocus, pixel size in Å and image size in px. Raises InputError."""
    table = read_pickle(path)
    if not isinstance(table, np.ndarray) or table.ndim != 2 or table.shape[1] != len(CTF_COLUMNS) or not len(table):
        shape = getattr(table, "shape", type(table).__name__)
        raise InputError(f"{path}: {shape}; an array (particles, {len(CTF_COLUMNS)}) of CTF parameters is expected")
    columns = {name: numbers(table[:, j], f"{path}: {name}") for j, name in enumerate(CTF_COLUMNS)}
    constants = zip(("Voltage", "Cs", "w"), MICROSCOPE_LIMITS, strict=True)
    optics = Optics.of_particles(*(limited(columns[name], f"{path}: {name}", limits) for name, limits in constants))
    defocus = Defocus(*(columns[name] for name in ("DefocusU", "DefocusV", "DefocusAngle", "phase shift")))
    check_defocus(defocus, f"{path}: DefocusU and DefocusV")
    for name in ("D", "Apix"):
        if np.ptp(columns[name]) > 1e-4 * columns[name][0] or not columns[name][0] > 0:
            raise InputError(f"{path}: {name} is not one number above 0 for all particles")
    return optics, defocus, float(columns["Apix"][0]), int(columns["D"][0])


def read_pose_table(path: Path) -> tuple[FloatArray, FloatArray]:
    """Rotations (N, 3, 3), map to view, and displacements (N, 2) as (x, y) in boxes. Raises InputError."""
    rotations, displacements = read_pose_arrays(path)
    if (largest := np.abs(displacements).max()) > 1:
        raise InputError(f"{path}: translations up to {largest:g}; shares of the box, within 1, are expected")
    return rotations, displacements


def read_pose_arrays(path: Path) -> tuple[FloatArray, FloatArray]:
    """As `read_pose_table`, the displacements in whatever unit the file has them. Raises InputError."""
    content = read_pickle(path)
    rotations, centring = content if isinstance(content, tuple | list) and len(content) == 2 else (content, None)
    rotations = np.asarray(rotations, dtype=np.float64)
    if rotations.ndim != 3 or rotations.shape[1:] != (3, 3) or not len(rotations):
        raise InputError(f"{path}: rotations of shape {rotations.shape}; (particles, 3, 3) is expected")
    centring = np.zeros((len(rotations), 2)) if centring is None else np.asarray(centring, dtype=np.float64)
    if centring.shape != (len(rotations), 2):
        raise InputError(f"{path}: translations of shape {centring.shape}; {(len(rotations), 2)} is expected")
    # float32 in the file; -R.Rᵀ tells a matrix that is none.
    off = np.abs(rotations @ rotations.swapaxes(1, 2) - np.eye(3)).max()
    if not off < 1e-3 or not (np.linalg.det(rotations) > 0).all():
        raise InputError(f"{path}: holds matrices that are no rotations")
    if not np.isfinite(centring).all():
        raise InputError(f"{path}: holds translations that are no numbers")
    return rotations, -centring


def read_numbers(path: Path) -> IntArray:
    """Whole numbers (n,) of a .pkl, .npy or text file: indices or labels. Raises InputError."""
    if path.suffix == ".pkl":
        values = np.asarray(read_pickle(path))
    else:
        try:
            values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path, ndmin=1)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
        except ValueError:
            raise InputError(f"{path}: whole numbers are expected, in a text file one a line") from None
    if values.ndim != 1 or values.dtype.kind not in "iuf" or (values != np.round(values)).any():
        raise InputError(f"{path}: whole numbers, one a particle, are expected")
    return values.astype(np.int64)
