"""Contract 1, the stack: what a method may see.

A RELION 3.1 STAR file (an optics table and a particles table) beside one MRC image stack. It carries
image names, CTF parameters and nothing else: no pose, no class, no order that gives the class away.
Images without CTF, or corrected for it, have one that is 1 everywhere: no defocus, amplitude contrast 1.
`evaluation_particles.txt` beside it lists the particles for which a method must write its own volume.
`read_stack` takes nothing else; for anybody's particles see `hydra_bench.particles`, which gives a Stack too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hydra_bench.contracts.places import EVALUATION_NAME, IMAGES_NAME, PARTICLES_NAME
from hydra_bench.contracts.tables import file_beside, numbers, whole_numbers
from hydra_bench.core.checksums import check_unchanged
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import sha256, write_text
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.mrc_header import MRC_HEADER_BYTES, read_mrc_header
from hydra_bench.core.reading import read_text
from hydra_bench.core.star import read_star, write_star
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.physics.ctf import Defocus, Optics, contrast_transfer
from hydra_bench.physics.magnification import undistorted

_OPTICS_COLUMNS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnImagePixelSize", "rlnImageSize")
_OPTICS_LIMITS = ((1, 1e4), (0, 1e3), (0, 1))
"""Of voltage in kV, spherical aberration in mm and amplitude contrast: wider than any microscope's."""
_PARTICLE_COLUMNS = ("rlnImageName", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift")
DAMPING_COLUMNS = ("rlnCtfBfactor", "rlnCtfScalefactor")
"""What else a particle's CTF may have: without the column, a B-factor of 0 and a scale of 1."""
_TRUTH_COLUMNS = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnClassNumber")


_FINGERPRINT_IMAGES = 64


@dataclass(frozen=True)
class Stack:
    """N particles on disk: where their images lie, and what their microscope did to them.

    `path` is the file that lists them: the STAR or .cs file, or the image stack itself. `optics` and `defocus` are
    None together, where no CTF is known or wanted. `contrast` (N,), +1 or -1, multiplies the images; None means +1.
    `magnification` (N, 2, 2), where it is not the same in all directions: see `physics.magnification`; images are given
    undistorted. `uids` (N,) are cryoSPARC's, if there are any; `rows` (N,) the rows of the file, from 0, that the
    particles are of, None for all in their order. `passthrough` is the second file that holds fields of the same rows,
    if there is one; `stated_pixel_sizes_A` (N,) are what the file says, where another pixel size may have been given.
    `notes` say what a reader of results should know of how the file was read.
    """

    path: Path
    images: ImageFiles
    pixel_size_A: float
    optics: Optics | None
    defocus: Defocus | None
    contrast: FloatArray | None = None
    magnification: FloatArray | None = None
    uids: IntArray | None = None
    rows: IntArray | None = None
    passthrough: Path | None = None
    stated_pixel_sizes_A: FloatArray | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def box_px(self) -> int:
        return self.images.box_px

    @property
    def source_rows(self) -> IntArray:
        """The rows (N,) of the file that lists them, from 0."""
        return np.arange(len(self)) if self.rows is None else self.rows

    def read_images(self, indices: IntArray) -> FloatArray:
        """The given images (B, D, D) float32, white particles; see ImageFiles.read, which raises InputError."""
        images = self.images.read(indices)
        if self.contrast is not None:
            images *= self.contrast[indices, None, None]
        return images if self.magnification is None else undistorted(images, self.magnification[indices])

    def transfer(self, indices: IntArray, frequencies_per_A: torch.Tensor) -> torch.Tensor:
        """CTF of the given particles at frequencies (n, 2 or 3) in 1/Å: (B, n) float32, 1 where there is no CTF."""
        if self.defocus is None or self.optics is None:
            return torch.ones(len(indices), len(frequencies_per_A), device=frequencies_per_A.device)
        return contrast_transfer(frequencies_per_A, self.defocus.take(indices), self.optics.take(indices))

    def take(self, indices: IntArray) -> Stack:
        """The stack of the given particles (B,), in that order; nothing is read."""
        images = self.images
        return replace(
            self,
            images=replace(images, file_index=images.file_index[indices], frame_index=images.frame_index[indices]),
            optics=None if self.optics is None else self.optics.take(indices),
            defocus=None if self.defocus is None else self.defocus.take(indices),
            contrast=None if self.contrast is None else self.contrast[indices],
            magnification=None if self.magnification is None else self.magnification[indices],
            uids=None if self.uids is None else self.uids[indices],
            stated_pixel_sizes_A=None if self.stated_pixel_sizes_A is None else self.stated_pixel_sizes_A[indices],
            rows=self.source_rows[indices],
        )

    def fingerprint(self) -> dict[str, int | float | str | None]:
        """A small identity, the same whenever the same stack is read, wherever it lies; values go into JSON.

        All of the metadata count, and the sizes of the image files; of the pixels only up to 64 evenly spaced images
        do, so it takes no longer for more images. An image stack without metadata has no `file_sha256`.
        Raises InputError if one of those images is unusable.
        """
        sample = np.unique(np.linspace(0, len(self) - 1, _FINGERPRINT_IMAGES).round().astype(np.int64))
        return {
            "n_particles": len(self),
            "box_px": self.box_px,
            "pixel_size_A": float(self.pixel_size_A),
            "file_sha256": None if self.path in self.images.paths else sha256(self.path),
            "ctf_sha256": _ctf_checksum(self),
            "image_bytes": self.images.total_bytes,
            "image_sample_sha256": hashlib.sha256(self.read_images(sample).astype("<f4").tobytes()).hexdigest(),
        }


def _ctf_checksum(stack: Stack) -> str | None:
    """Checksum of the CTF parameters, which may come from a second file; None without CTF."""
    if stack.optics is None or stack.defocus is None:
        return None
    digest = hashlib.sha256()
    for field in (*vars(stack.optics).values(), *vars(stack.defocus).values()):
        if field is not None:
            digest.update(np.asarray(field, dtype="<f8").tobytes())
    return digest.hexdigest()


def particle_table(
    n: int, defocus: Defocus, images_name: str = IMAGES_NAME, groups: IntArray | int = 1
) -> pd.DataFrame:
    """The particles table of the contract for n images of one stack file; groups (n,) from 1, or one for all."""
    table = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@{images_name}" for i in range(n)],
            "rlnOpticsGroup": groups,
            "rlnDefocusU": np.round(defocus.u_A, 2),
            "rlnDefocusV": np.round(defocus.v_A, 2),
            "rlnDefocusAngle": np.round(defocus.angle_deg, 3),
            "rlnPhaseShift": np.round(defocus.phase_shift_deg, 3),
        }
    )
    for column, values in zip(DAMPING_COLUMNS, (defocus.b_factor_A2, defocus.scale), strict=True):
        if values is not None:
            table[column] = np.round(values, 5)
    return table


def optics_table(optics: Optics, box_px: int, pixel_size_A: float) -> tuple[pd.DataFrame, IntArray | int]:
    """The optics table of the contract, and each particle's group (N,) from 1, or 1 where all are in one."""
    fields = np.broadcast_arrays(*(np.atleast_1d(field) for field in vars(optics).values()))
    rows, group = np.unique(np.stack(fields, axis=1), axis=0, return_inverse=True)
    numbers = np.arange(1, len(rows) + 1)
    table = {
        "rlnOpticsGroup": numbers,
        "rlnOpticsGroupName": [f"opticsGroup{number}" for number in numbers],
        **{column: rows[:, j] for j, column in enumerate(_OPTICS_COLUMNS[:3])},
        "rlnImagePixelSize": pixel_size_A,
        "rlnImageSize": box_px,
        "rlnImageDimensionality": 2,
    }
    return pd.DataFrame(table), group.ravel() + 1 if len(rows) > 1 else 1


def write_stack_star(
    folder: Path, defocus: Defocus, optics: Optics, box_px: int, pixel_size_A: float, evaluation: IntArray
) -> None:
    """Write particles.star and the evaluation list; the images are written by ImageStackWriter."""
    table, groups = optics_table(optics, box_px, pixel_size_A)
    particles = particle_table(len(defocus), defocus, groups=groups)
    write_star(folder / PARTICLES_NAME, {"optics": table, "particles": particles})
    write_text(folder / EVALUATION_NAME, "".join(f"{i}\n" for i in sorted(evaluation.tolist())))


def read_stack(star_path: Path | str) -> Stack:
    """Read and check a stack.

    Raises
    ------
    InputError
        If a table or column is missing, the image file is missing or truncated, its box differs from the
        optics table, or the particles table gives a pose or a class away; if a file is not as it was written.
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
    if len(particles) == 0:
        raise InputError(f"{star_path}: data_particles holds no particles; at least one is needed")
    leaked = [column for column in _TRUTH_COLUMNS if column in particles]
    if leaked:
        raise InputError(f"{star_path}: column {leaked[0]} gives truth away; a stack holds no pose and no class")
    if len(optics) == 0:
        raise InputError(f"{star_path}: data_optics holds no group; at least one is needed")
    at_optics, at_particles = f"{star_path}: data_optics", f"{star_path}: data_particles"
    box = int(whole_numbers(optics, "rlnImageSize", at_optics, 1, 65535)[0])
    pixel_size_A = float(numbers(optics, "rlnImagePixelSize", at_optics, 1e-3, 1e3)[0])
    for column in ("rlnImagePixelSize", "rlnImageSize"):
        if optics[column].nunique() != 1:
            raise InputError(f"{star_path}: data_optics: {column} is not the same for all; a stack has one")
    damping = [column if column in particles else None for column in DAMPING_COLUMNS]
    check_stack_files(star_path)
    return Stack(
        path=star_path,
        images=_open_images(_images_path(star_path, particles["rlnImageName"]), len(particles), box, star_path),
        pixel_size_A=pixel_size_A,
        optics=_read_optics(star_path, optics, particles),
        defocus=Defocus(
            *(numbers(particles, column, at_particles) for column in _PARTICLE_COLUMNS[1:]),
            *(None if column is None else numbers(particles, column, at_particles) for column in damping),
        ),
    )


def check_stack_files(star_path: Path) -> None:
    """Hold the files of a stack to their checksums, once, and again when one has changed. Raises InputError."""
    if star_path.name == PARTICLES_NAME:
        check_unchanged(star_path.parent, (PARTICLES_NAME, IMAGES_NAME, EVALUATION_NAME))


def _read_optics(star_path: Path, optics: pd.DataFrame, particles: pd.DataFrame) -> Optics:
    """One number each where there is one group, (N,) where there are several."""
    fields = [
        numbers(optics, column, f"{star_path}: data_optics", *limits)
        for column, limits in zip(_OPTICS_COLUMNS[:3], _OPTICS_LIMITS, strict=True)
    ]
    if len(optics) == 1:
        return Optics(*(float(field[0]) for field in fields))
    for name, table in (("optics", optics), ("particles", particles)):
        if "rlnOpticsGroup" not in table:
            raise InputError(f"{star_path}: data_{name} lacks the column rlnOpticsGroup, with {len(optics)} groups")
    rows = pd.Index(optics["rlnOpticsGroup"]).get_indexer(particles["rlnOpticsGroup"])
    if (rows < 0).any():
        group = particles["rlnOpticsGroup"].iloc[int(np.argmax(rows < 0))]
        raise InputError(f"{star_path}: rlnOpticsGroup {group} of data_particles is not in data_optics")
    return Optics.of_particles(*(field[rows] for field in fields))


def _images_path(star_path: Path, names: pd.Series) -> Path:
    """The one image file that rlnImageName names, entries 1..N in order."""
    parts = [str(name).partition("@") for name in names]
    bare = next((i for i, (_, at, _) in enumerate(parts) if not at), None)
    if bare is not None:
        raise InputError(f"{star_path}: rlnImageName {str(names.iloc[bare])[:100]!r}; <number>@<file>.mrcs is expected")
    files = {file for _, _, file in parts}
    if len(files) != 1 or [number.lstrip("0") for number, _, _ in parts] != [str(i + 1) for i in range(len(parts))]:
        raise InputError(f"{star_path}: rlnImageName must number one image file's entries 1..{len(names)} in order")
    return file_beside(star_path.parent, files.pop(), f"{star_path}: rlnImageName")


def _open_images(path: Path, n: int, box: int, star_path: Path) -> ImageFiles:
    """The contract's one image file, holding just the N images and nothing more."""
    file = read_mrc_header(path, f"{star_path}: rlnImageName")
    shape = (file.n_images, file.height_px, file.width_px)
    if shape != (n, box, box) or file.dtype != np.dtype("<f4"):
        raise InputError(f"{path}: shape {shape}, type {file.dtype}; the STAR file says {(n, box, box)}, float32")
    expected = MRC_HEADER_BYTES + n * file.image_bytes
    if file.size_bytes != expected:
        raise InputError(f"{path}: {file.size_bytes} bytes; {expected} are expected, so it is padded")
    return ImageFiles((file,), np.zeros(n, dtype=np.int32), np.arange(n), box)


def read_evaluation_list(path: Path | str, n_particles: int) -> IntArray:
    """Particle numbers (0-based, sorted) for which a method writes its own volume. Raises InputError."""
    text = read_text(path)
    try:
        indices = np.array([int(line) for line in text.split()], dtype=np.int64)
    except (ValueError, OverflowError):
        raise InputError(f"{path}: one particle number a line is expected") from None
    if len(indices) and (indices.min() < 0 or indices.max() >= n_particles):
        raise InputError(f"{path}: particle numbers must lie in 0..{n_particles - 1}")
    return indices
