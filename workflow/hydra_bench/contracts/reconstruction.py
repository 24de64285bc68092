"""Contract 3, the reconstruction: what every method gives back.

particles.star   in the order of the stack: class, posterior of each class, pose, shift, latents
volumes/         class_<k>.mrc, k = 1..K, at the stack's box and pixel size
samples/         <particle>.mrc, the method's own volume for each particle of the evaluation list
history.csv      what was seen on the way (optional; columns are the method's own)
history_labels.npy  (rows of history.csv, N) integers, the label of every particle at each row (optional)
run.json         what ran, how it ended, what it cost
source/          which rows of the user's own file the particles are, of a run on anybody's (see `contracts.source`)

A failed method leaves a run.json with state "failed" and a reason, and need leave nothing else; so does one whose
program has no licence or host here, which is no failure: its state is "not configured"; or a bound that has no meaning
for the dataset: its state is "not applicable".

Its particles.star, or a truth's, can give another method the poses that it need not find.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from hydra_bench.contracts.places import PARTICLES_NAME, RUN_NAME, class_volume_path
from hydra_bench.contracts.poses import pose_table, poses_from_table
from hydra_bench.contracts.tables import columns_of_numbers, whole_numbers
from hydra_bench.core.checksums import check_file
from hydra_bench.core.errors import InputError, NotConfiguredError, RunFailedError
from hydra_bench.core.files import read_json, write_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.mrc import write_map
from hydra_bench.core.npy import read_npy
from hydra_bench.core.star import columns_named, read_star, write_star
from hydra_bench.core.types import FloatArray, IntArray

HISTORY_NAME, HISTORY_LABELS_NAME = "history.csv", "history_labels.npy"
POSTERIOR_COLUMN, LATENT_COLUMN = "hydraBenchPosterior", "hydraBenchLatent"
AT_NOISE_COLUMN, JUNK_COLUMN = "hydraBenchAtNoisePosterior", "hydraBenchJunkPosterior"
IS_JUNK, JUNK_IMAGES = 0.5, "junk_images"
"""The posterior of junk above which a particle counts as junk; a note: how many do."""
OK, FAILED, NOT_CONFIGURED, NOT_APPLICABLE = STATES = ("ok", "failed", "not configured", "not applicable")
NO_FAILURES = (NOT_CONFIGURED, NOT_APPLICABLE)
"""States of runs that gave nothing, for which nobody is to blame."""
FRAME, TRUTH_FRAME, NO_MAPS = "frame", "truth", "no maps"
"""A note of a bound: its maps lie where the true ones do, so that nothing is to be aligned; or it has none at all."""
GIVEN, LABELS, POSES, MAPS = "given", "labels", "poses", "maps"
"""A note of a bound: what of its results is the truth's own, so that a score of it would say nothing."""
_POSTERIORS_OFF = 1e-2
"""By how much the posteriors of a particle may miss 1 in sum: they are written with six digits, one a class."""
EMPTY_SHARE, EMPTY_PART = 0.02, 0.25
EMPTY_TEXT = f"{EMPTY_SHARE:.0%} of all particles, or a quarter of an equal share where there are many classes"
"""What a class must have, in words, not to be called empty."""


def least_share(n_classes: int) -> float:
    """The share of the particles below which one of so many classes is called empty."""
    return min(EMPTY_SHARE, EMPTY_PART / n_classes)


@dataclass(frozen=True)
class Cost:
    """What a run cost, and where; the only fields that differ between two runs of the same seed.

    Times are those of all attempts whose end is known; peaks are the largest of any. `attempts` counts every start of
    the run until it ended, `attempts_lost` those that were killed outright, whose cost nobody recorded. `slurm_job` is
    the last attempt's number, "" outside SLURM.
    """

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    gpu_memory_mb: float = 0.0
    node: str = ""
    gpus: str = ""
    slurm_job: str = ""
    attempts: int = 1
    attempts_lost: int = 0


@dataclass(frozen=True)
class Run:
    """run.json. `parameters` are all that the method was given, `images_seen` counts repeats."""

    method: str
    program: str
    version: str
    seed: int
    parameters: JsonObject
    device: str
    state: str  # one of STATES
    reason: str
    images_seen: int
    cost: Cost
    reads_truth: bool = False
    notes: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class Assignments:
    """What a method says of every particle.

    classes (N,), 0-based; posteriors (N, K), rows sum to 1; rotations (N, 3, 3), map to view; shifts_A
    (N, 2); latents (N, d), d may be 0, in the latent space of the particle's own class. at_noise (N, K): posteriors at
    the noise's own level, of a method that learns with others. junk (N,): posterior that a particle is of no class,
    beside those of the classes, of a method that tells.
    """

    classes: IntArray
    posteriors: FloatArray
    rotations: FloatArray
    shifts_A: FloatArray
    latents: FloatArray
    at_noise: FloatArray | None = None
    junk: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, indices: IntArray) -> Self:
        """Of the given particles (B,), in that order."""
        return replace(self, **{name: values[indices] for name, values in vars(self).items() if values is not None})

    @classmethod
    def of_classes(cls, classes: IntArray, n_classes: int, rotations: FloatArray, shifts_A: FloatArray) -> Self:
        """What a method says that is certain of every class, and has no latents."""
        return cls(classes, np.eye(n_classes)[classes], rotations, shifts_A, np.zeros((len(classes), 0)))


def sample_path(folder: Path, particle: int) -> Path:
    """Path of the method's own volume for a particle (0-based number)."""
    return folder / "samples" / f"{particle:06d}.mrc"


def write_class_map(folder: Path, k: int, volume: FloatArray, pixel_size_A: float, members: IntArray) -> None:
    """Write the map (D, D, D) of class k, and the same as the own map of the class's evaluated particles (M,)."""
    for path in (class_volume_path(folder, k), *(sample_path(folder, int(particle)) for particle in members)):
        write_map(path, volume, pixel_size_A)


def write_run(folder: Path, run: Run) -> None:
    write_json(folder / RUN_NAME, asdict(run))


def read_run(folder: Path | str) -> Run:
    """Read run.json. Raises InputError if it is missing or a field is."""
    path = Path(folder) / RUN_NAME
    content = read_json(path)
    try:
        run = Run(**{**content, "cost": Cost(**content["cost"])})
        # In JSON's terms, in which a list may stand for a tuple.
        TypeAdapter(Run).validate_json(json.dumps(content, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'][:200]}") from None
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a run of this version ({str(error)[:200]})") from None
    if run.state not in STATES:
        raise InputError(f"{path}: state is {run.state!r}; {', '.join(STATES[:-1])} or {STATES[-1]} is expected")
    return run


def write_assignments(folder: Path, assignments: Assignments, star_name: str = PARTICLES_NAME) -> None:
    table = pose_table(assignments.rotations, assignments.shifts_A)
    table.insert(0, "rlnClassNumber", assignments.classes + 1)
    extra = {f"{POSTERIOR_COLUMN}{k + 1}": assignments.posteriors[:, k] for k in range(assignments.posteriors.shape[1])}
    if assignments.at_noise is not None:
        extra |= {f"{AT_NOISE_COLUMN}{k + 1}": column for k, column in enumerate(assignments.at_noise.T)}
    if assignments.junk is not None:
        extra[JUNK_COLUMN] = assignments.junk
    extra |= {f"{LATENT_COLUMN}{j + 1}": assignments.latents[:, j] for j in range(assignments.latents.shape[1])}
    table = pd.concat([table, pd.DataFrame(extra).round(6) + 0.0], axis=1)
    write_star(folder / star_name, {"particles": table})


def read_assignments(folder: Path | str, n_particles: int) -> Assignments:
    """Read a method's particles.star. Raises InputError if it does not cover the stack's particles."""
    path = Path(folder) / PARTICLES_NAME
    tables = read_star(path)
    if "particles" not in tables:
        raise InputError(f"{path}: no data_particles table")
    table = tables["particles"]
    if len(table) != n_particles:
        raise InputError(f"{path}: {len(table)} particles; the stack has {n_particles}")
    posterior_columns = columns_named(table, POSTERIOR_COLUMN)
    if "rlnClassNumber" not in table or not posterior_columns:
        raise InputError(f"{path}: lacks rlnClassNumber or {POSTERIOR_COLUMN}1")
    where = f"{path}: data_particles"
    classes = whole_numbers(table, "rlnClassNumber", where, 1, len(posterior_columns)) - 1
    posteriors = _shares(table, POSTERIOR_COLUMN, where)
    at_noise = _shares(table, AT_NOISE_COLUMN, where) if columns_named(table, AT_NOISE_COLUMN) else None
    if at_noise is not None and at_noise.shape != posteriors.shape:
        raise InputError(f"{where}: {at_noise.shape[1]} columns {AT_NOISE_COLUMN}; as many as classes are expected")
    try:
        rotations, shifts = poses_from_table(table, where)
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]}") from None
    return Assignments(
        classes=classes,
        posteriors=posteriors,
        rotations=rotations,
        shifts_A=shifts,
        latents=columns_of_numbers(table, columns_named(table, LATENT_COLUMN), where),
        at_noise=at_noise,
        junk=_probabilities(table, JUNK_COLUMN, where) if JUNK_COLUMN in table else None,
    )


def _shares(table: pd.DataFrame, column: str, where: str) -> FloatArray:
    """Posteriors (N, K). Raises InputError for what are no shares of 1."""
    posteriors = columns_of_numbers(table, columns_named(table, column), where)
    impossible = np.flatnonzero((posteriors < 0).any(1) | (np.abs(posteriors.sum(1) - 1) > _POSTERIORS_OFF))
    if len(impossible):
        raise InputError(f"{where}: {column}1 and on: those of row {int(impossible[0]) + 1} are no shares of 1")
    return posteriors


def _probabilities(table: pd.DataFrame, column: str, where: str) -> FloatArray:
    """One (N,). Raises InputError for what is none."""
    values: FloatArray = columns_of_numbers(table, [column], where)[:, 0]
    impossible = np.flatnonzero((values < 0) | (values > 1))
    if len(impossible):
        row = int(impossible[0])
        raise InputError(f"{where}: {column}: {values[row]:g} in row {row + 1}; 0 to 1 is allowed")
    return values


def read_history_labels(folder: Path | str, n_particles: int) -> IntArray | None:
    """The label of every particle at each row of the history, (rows, N) integers; None where a method left none.

    Raises InputError if the file holds something else.
    """
    path = Path(folder) / HISTORY_LABELS_NAME
    if not path.is_file():
        return None
    labels: IntArray = read_npy(path, mapped=True)
    if labels.ndim != 2 or labels.shape[1] != n_particles or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{path}: {labels.dtype} {labels.shape}; integers (rows, {n_particles}) are expected")
    return labels


@dataclass(frozen=True)
class GivenPoses:
    """Poses of all N particles of a stack.

    rotations (N, 3, 3), map to view; shifts_A (N, 2), displacements in the image; classes (N,), 0-based, None where
    they are not given. `source` is the method that found them, "truth", or "" for a file of the user's.
    """

    rotations: FloatArray
    shifts_A: FloatArray
    classes: IntArray | None = None
    source: str = ""


def check_pose_source(poses: Path) -> None:
    """Whether the run whose particles.star is given as poses ended well; other files are no run's, and pass.

    Raises RunFailedError, or NotConfiguredError where that run was not configured: who waits for it shares its state.
    """
    if not (poses.parent / RUN_NAME).is_file():
        return
    run = read_run(poses.parent)
    if run.state != OK:
        error = NotConfiguredError if run.state == NOT_CONFIGURED else RunFailedError
        raise error(f"its poses are those of {run.method}, which ended as {run.state}: {run.reason}")


def read_given_poses(path: Path, source: str, n_particles: int) -> GivenPoses:
    """Poses and classes of a truth.star, or of another method's particles.star.

    Raises
    ------
    RunFailedError
        If that method failed, or there are no poses: what depends on it fails, too.
    InputError
        If the file is not readable, not as it was written, or not of as many particles as the stack.
    """
    check_pose_source(path)
    check_file(path)
    tables = read_star(path)
    if "particles" not in tables:
        raise InputError(f"{path}: no data_particles table")
    table = tables["particles"]
    if len(table) != n_particles:
        raise InputError(f"{path}: {len(table)} particles; the stack has {n_particles}")
    try:
        rotations, shifts_A = poses_from_table(table, str(path))
        classes = whole_numbers(table, "rlnClassNumber", str(path), 1) - 1
    except KeyError:
        raise RunFailedError(f"{source} has no poses to be taken") from None
    return GivenPoses(rotations, shifts_A, classes, source)
