"""Contract 1, the stack: what a method may see.

A RELION 3.1 STAR file (an optics table and a particles table) beside one MRC image stack. It carries
image names, CTF parameters and nothing else: no pose, no class, no order that gives the class away.
`evaluation_particles.txt` beside it lists the particles for which a method must write its own volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd

from hydra_bench.ctf import Defocus, Optics
from hydra_bench.errors import InputError
from hydra_bench.files import read_star, write_star, write_text

STAR_NAME, IMAGES_NAME, EVALUATION_NAME = "particles.star", "particles.mrcs", "evaluation_particles.txt"

_OPTICS_COLUMNS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnImagePixelSize", "rlnImageSize")
_PARTICLE_COLUMNS = ("rlnImageName", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift")
_TRUTH_COLUMNS = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnClassNumber")


@dataclass(frozen=True)
class Stack:
    """A stack on disk. `images_path` holds N images (D, D) in the order of `defocus`."""

    star_path: Path
    images_path: Path
    box_px: int
    pixel_size_A: float
    optics: Optics
    defocus: Defocus

    def __len__(self) -> int:
        return len(self.defocus)

    def open_images(self) -> np.ndarray:
        """The images (N, D, D) float32 as a read-only memory map: nothing is loaded until indexed."""
        return np.memmap(
            self.images_path, dtype="<f4", mode="r", offset=1024, shape=(len(self), self.box_px, self.box_px)
        )


def particle_table(n: int, defocus: Defocus, images_name: str = IMAGES_NAME) -> pd.DataFrame:
    """The particles table of the contract for n images of one stack file."""
    return pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@{images_name}" for i in range(n)],
            "rlnOpticsGroup": 1,
            "rlnDefocusU": np.round(defocus.u_A, 2),
            "rlnDefocusV": np.round(defocus.v_A, 2),
            "rlnDefocusAngle": np.round(defocus.angle_deg, 3),
            "rlnPhaseShift": np.round(defocus.phase_shift_deg, 3),
        }
    )


def optics_table(optics: Optics, box_px: int, pixel_size_A: float) -> pd.DataFrame:
    """The optics table of the contract: one group."""
    row = {
        "rlnOpticsGroup": 1,
        "rlnOpticsGroupName": "opticsGroup1",
        "rlnVoltage": optics.voltage_kV,
        "rlnSphericalAberration": optics.spherical_aberration_mm,
        "rlnAmplitudeContrast": optics.amplitude_contrast,
        "rlnImagePixelSize": pixel_size_A,
        "rlnImageSize": box_px,
        "rlnImageDimensionality": 2,
    }
    return pd.DataFrame([row])


def write_stack_star(
    folder: Path, defocus: Defocus, optics: Optics, box_px: int, pixel_size_A: float, evaluation: np.ndarray
) -> None:
    """Write particles.star and the evaluation list; the images are written by ImageStackWriter."""
    particles = particle_table(len(defocus), defocus)
    write_star(folder / STAR_NAME, {"optics": optics_table(optics, box_px, pixel_size_A), "particles": particles})
    write_text(folder / EVALUATION_NAME, "".join(f"{i}\n" for i in sorted(evaluation.tolist())))


def read_stack(star_path: Path | str) -> Stack:
    """Read and check a stack.

    Raises
    ------
    InputError
        If a table or column is missing, the image file is missing or truncated, its box differs from the
        optics table, or the particles table gives a pose or a class away.
    """
    star_path = Path(star_path)
    tables = read_star(star_path)
    for name, columns in (("optics", _OPTICS_COLUMNS), ("particles", _PARTICLE_COLUMNS)):
        if name not in tables:
            raise InputError(f"{star_path}: no data_{name} table; RELION 3.1 STAR files have one")
        missing = [column for column in columns if column not in tables[name]]
        if missing:
            raise InputError(f"{star_path}: data_{name} lacks the column {missing[0]}")
    optics, particles = tables["optics"], tables["particles"]
    if len(optics) != 1:
        raise InputError(f"{star_path}: {len(optics)} optics groups; exactly one is supported")
    leaked = [column for column in _TRUTH_COLUMNS if column in particles]
    if leaked:
        raise InputError(f"{star_path}: column {leaked[0]} gives truth away; a stack holds no pose and no class")
    row = optics.iloc[0]
    images_path = _images_path(star_path, particles["rlnImageName"])
    box = int(row["rlnImageSize"])
    _check_images(images_path, len(particles), box)
    return Stack(
        star_path=star_path,
        images_path=images_path,
        box_px=box,
        pixel_size_A=float(row["rlnImagePixelSize"]),
        optics=Optics(
            float(row["rlnVoltage"]), float(row["rlnSphericalAberration"]), float(row["rlnAmplitudeContrast"])
        ),
        defocus=Defocus(*(particles[column].to_numpy(np.float64) for column in _PARTICLE_COLUMNS[1:])),
    )


def _images_path(star_path: Path, names: pd.Series) -> Path:
    """The one image file that rlnImageName names, entries 1..N in order."""
    parts = names.astype(str).str.split("@", n=1, expand=True)
    if parts.shape[1] != 2:
        raise InputError(f"{star_path}: rlnImageName {names.iloc[0]!r}; <number>@<file>.mrcs is expected")
    numbers = pd.to_numeric(parts[0], errors="coerce").to_numpy()
    if parts[1].nunique() != 1 or not np.array_equal(numbers, np.arange(1, len(names) + 1)):
        raise InputError(f"{star_path}: rlnImageName must number one image file's entries 1..{len(names)} in order")
    return star_path.parent / parts[1].iloc[0]


def _check_images(path: Path, n: int, box: int) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file; the STAR file names it in rlnImageName")
    try:
        with mrcfile.open(path, header_only=True) as mrc:
            shape, mode = (int(mrc.header.nz), int(mrc.header.ny), int(mrc.header.nx)), int(mrc.header.mode)
    except ValueError as error:
        raise InputError(f"{path}: not a readable MRC stack ({error})") from None
    if shape != (n, box, box) or mode != 2:
        raise InputError(f"{path}: shape {shape}, mode {mode}; the STAR file says {(n, box, box)}, mode 2")
    expected = 1024 + 4 * n * box * box
    if path.stat().st_size != expected:
        raise InputError(f"{path}: {path.stat().st_size} bytes; {expected} are expected, so it is truncated or padded")


def read_evaluation_list(path: Path | str, n_particles: int) -> np.ndarray:
    """Particle numbers (0-based, sorted) for which a method writes its own volume. Raises InputError."""
    try:
        indices = np.array([int(line) for line in Path(path).read_text().split()], dtype=np.int64)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise InputError(f"{path}: one particle number a line is expected") from None
    if len(indices) and (indices.min() < 0 or indices.max() >= n_particles):
        raise InputError(f"{path}: particle numbers must lie in 0..{n_particles - 1}")
    return indices
