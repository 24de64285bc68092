"""cryoDRGN's pickled tables: CTF parameters, poses, and lists of indices or labels.

ctf.pkl: an array (N, 9) of image size in px, pixel size in Å, defocus U and V in Å, astigmatism angle in degrees,
voltage in kV, spherical aberration in mm, amplitude contrast, phase shift in degrees.
poses.pkl: rotations (N, 3, 3) and translations (N, 2), or the rotations alone. The rotations are as here, map to
view. A translation, in boxes, is that which centres the image: the particle's displacement is its negative.

What may be in a pickle, `pickles` says.
"""

from pathlib import Path

import numpy as np

from hydra_bench.core.errors import InputError
from hydra_bench.core.npy import read_npy
from hydra_bench.core.reading import read_text
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.particles.columns import MICROSCOPE_LIMITS, check_defocus, limited, numbers
from hydra_bench.particles.pickles import read_pickle
from hydra_bench.physics.ctf import Defocus, Optics

_LARGEST_NUMBER = 2**53
"""To which every whole number is one as a float64, too."""
CTF_COLUMNS = ("D", "Apix", "DefocusU", "DefocusV", "DefocusAngle", "Voltage", "Cs", "w", "phase shift")


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
    rotations = _floats(rotations, f"{path}: rotations")
    if rotations.ndim != 3 or rotations.shape[1:] != (3, 3) or not len(rotations):
        raise InputError(f"{path}: rotations of shape {rotations.shape}; (particles, 3, 3) is expected")
    centring = np.zeros((len(rotations), 2)) if centring is None else _floats(centring, f"{path}: translations")
    if centring.shape != (len(rotations), 2):
        raise InputError(f"{path}: translations of shape {centring.shape}; {(len(rotations), 2)} is expected")
    if not (np.abs(rotations) < 2).all():  # NaN is not, and what is large overflows in a product
        raise InputError(f"{path}: holds matrices that are no rotations")
    # float32 in the file; -R.Rᵀ tells a matrix that is none.
    off = np.abs(rotations @ rotations.swapaxes(1, 2) - np.eye(3)).max()
    if not off < 1e-3 or not (np.linalg.det(rotations) > 0).all():
        raise InputError(f"{path}: holds matrices that are no rotations")
    if not np.isfinite(centring).all():
        raise InputError(f"{path}: holds translations that are no numbers")
    return rotations, -centring


def _floats(values: object, what: str) -> FloatArray:
    """Raises InputError for lists of different lengths, and for what is no number."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: an array of numbers is expected ({error})") from None


def read_numbers(path: Path) -> IntArray:
    """Whole numbers (n,) of a .pkl, .ind, .npy or text file: indices or labels. Raises InputError."""
    if path.suffix in (".pkl", ".ind"):
        values = _floats(read_pickle(path), str(path))
    elif path.suffix == ".npy":
        values = read_npy(path)
    else:
        lines = (line.partition("#")[0].strip() for line in read_text(path).splitlines())
        values = _floats([line for line in lines if line], str(path))
    is_list = values.ndim == 1 and values.dtype.kind in "iuf"
    if not is_list or not (np.abs(values) < _LARGEST_NUMBER).all() or (values != np.round(values)).any():
        raise InputError(f"{path}: whole numbers, one a particle, are expected; in a text file one a line")
    return values.astype(np.int64)
