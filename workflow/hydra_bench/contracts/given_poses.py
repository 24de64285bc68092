"""The poses that a method is given and need not find: the truth's, or those of another method's run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hydra_bench.contracts.places import RUN_NAME
from hydra_bench.contracts.poses import poses_from_table
from hydra_bench.contracts.reconstruction import NOT_CONFIGURED, OK, read_run
from hydra_bench.core.errors import InputError, NotConfiguredError, RunFailedError
from hydra_bench.core.star import read_star
from hydra_bench.core.types import FloatArray, IntArray


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
        If the file is not readable or not of as many particles as the stack.
    """
    check_pose_source(path)
    table = read_star(path)["particles"]
    if len(table) != n_particles:
        raise InputError(f"{path}: {len(table)} particles; the stack has {n_particles}")
    try:
        rotations, shifts_A = poses_from_table(table)
    except KeyError:
        raise RunFailedError(f"{source} has no poses to be taken") from None
    return GivenPoses(rotations, shifts_A, table["rlnClassNumber"].to_numpy(np.int64) - 1, source)
