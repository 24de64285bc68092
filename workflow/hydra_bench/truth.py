"""Contract 2, the truth: what only the evaluation, and methods whose card says so, may see.

truth.star: `particles` (poses, classes, conformations, in the order of the stack) and `classes` (one
row a species: its name and its map). volumes/*.mrc: one map a class. provenance.json: where it all came
from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hydra_bench.errors import InputError
from hydra_bench.files import read_map, read_star, write_star
from hydra_bench.rotations import euler_from_matrices, matrices_from_euler

STAR_NAME, PROVENANCE_NAME = "truth.star", "provenance.json"
CONFORMATION_COLUMN = "hydraBenchConformation"

_POSE_COLUMNS = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
_ORIGIN_COLUMNS = ["rlnOriginXAngst", "rlnOriginYAngst"]


@dataclass(frozen=True)
class Truth:
    """True state of every particle.

    rotations (N, 3, 3), map to view; shifts_A (N, 2), the (x, y) displacement of the particle in its
    image (RELION's rlnOrigin is its negative); classes (N,), 0-based; conformations (N, d), d may be 0;
    class_names and volume_paths, one a class.
    """

    rotations: np.ndarray
    shifts_A: np.ndarray
    classes: np.ndarray
    conformations: np.ndarray
    class_names: tuple[str, ...]
    volume_paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    def particle_volume_path(self, particle: int) -> Path:
        """The map that this particle is an image of."""
        return self.volume_paths[self.classes[particle]]

    def class_volume(self, k: int) -> np.ndarray:
        """The map (D, D, D) of class k."""
        return read_map(self.volume_paths[k])[0]


def pose_table(rotations: np.ndarray, shifts_A: np.ndarray) -> pd.DataFrame:
    """RELION's pose columns for rotations (N, 3, 3) and shifts (N, 2) in Å."""
    columns = np.concatenate([euler_from_matrices(rotations), -np.asarray(shifts_A)], axis=1)
    return pd.DataFrame(np.round(columns, 5) + 0.0, columns=[*_POSE_COLUMNS, *_ORIGIN_COLUMNS])


def poses_from_table(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `pose_table`: rotations (N, 3, 3), shifts (N, 2) in Å."""
    rotations = matrices_from_euler(table[_POSE_COLUMNS].to_numpy(np.float64))
    return rotations, -table[_ORIGIN_COLUMNS].to_numpy(np.float64)


def write_truth_star(folder: Path, truth: Truth) -> None:
    """Write truth.star; the maps and provenance.json are the simulator's to write."""
    particles = pose_table(truth.rotations, truth.shifts_A)
    particles.insert(0, "rlnClassNumber", truth.classes + 1)
    for j in range(truth.conformations.shape[1]):
        particles[f"{CONFORMATION_COLUMN}{j + 1}"] = np.round(truth.conformations[:, j], 6)
    classes = pd.DataFrame(
        {
            "rlnReferenceImage": [str(path.relative_to(folder)) for path in truth.volume_paths],
            "hydraBenchClassName": truth.class_names,
        }
    )
    write_star(folder / STAR_NAME, {"classes": classes, "particles": particles})


def read_truth(folder: Path | str) -> Truth:
    """Read and check a truth folder. Raises InputError if a table, column, class or map is missing."""
    folder = Path(folder)
    path = folder / STAR_NAME
    tables = read_star(path)
    for name, columns in (
        ("classes", ["rlnReferenceImage", "hydraBenchClassName"]),
        ("particles", ["rlnClassNumber", *_POSE_COLUMNS, *_ORIGIN_COLUMNS]),
    ):
        if name not in tables:
            raise InputError(f"{path}: no data_{name} table")
        missing = [column for column in columns if column not in tables[name]]
        if missing:
            raise InputError(f"{path}: data_{name} lacks the column {missing[0]}")
    particles, classes = tables["particles"], tables["classes"]
    volume_paths = tuple(folder / name for name in classes["rlnReferenceImage"])
    for volume_path in volume_paths:
        if not volume_path.is_file():
            raise InputError(f"{volume_path}: no such file; {path} names it in rlnReferenceImage")
    labels = particles["rlnClassNumber"].to_numpy(np.int64) - 1
    if labels.min() < 0 or labels.max() >= len(classes):
        raise InputError(f"{path}: rlnClassNumber must lie in 1..{len(classes)}")
    rotations, shifts = poses_from_table(particles)
    conformation_columns = [c for c in particles if c.startswith(CONFORMATION_COLUMN)]
    return Truth(
        rotations=rotations,
        shifts_A=shifts,
        classes=labels,
        conformations=particles[conformation_columns].to_numpy(np.float64),
        class_names=tuple(classes["hydraBenchClassName"].astype(str)),
        volume_paths=volume_paths,
    )
