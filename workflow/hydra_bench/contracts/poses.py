"""Poses as the contracts write them: RELION's angles and origins in a STAR table, and the class that a pose is of.

Rotations (N, 3, 3) take the map to the view. A shift (x, y) in Å is the displacement of the particle in its image;
RELION's rlnOrigin, which moves the image back, is its negative.
"""

import numpy as np
import pandas as pd

from hydra_bench.contracts.tables import columns_of_numbers
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.physics.rotations import euler_from_matrices, matrices_from_euler

ANGLE_COLUMNS = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
ORIGIN_COLUMNS = ["rlnOriginXAngst", "rlnOriginYAngst"]


def pose_table(rotations: FloatArray, shifts_A: FloatArray) -> pd.DataFrame:
    """RELION's pose columns for rotations (N, 3, 3) and shifts (N, 2) in Å."""
    columns = np.concatenate([euler_from_matrices(rotations), -np.asarray(shifts_A)], axis=1)
    return pd.DataFrame(np.round(columns, 5) + 0.0, columns=[*ANGLE_COLUMNS, *ORIGIN_COLUMNS])


def poses_from_table(table: pd.DataFrame, where: str) -> tuple[FloatArray, FloatArray]:
    """The inverse of `pose_table`: rotations (N, 3, 3), shifts (N, 2) in Å. `where` names the file.

    Raises KeyError if a column is missing, InputError for what is no number.
    """
    lacks = [column for column in (*ANGLE_COLUMNS, *ORIGIN_COLUMNS) if column not in table]
    if lacks:
        raise KeyError(f"lacks the column {lacks[0]}")
    rotations = matrices_from_euler(columns_of_numbers(table, ANGLE_COLUMNS, where))
    return rotations, -columns_of_numbers(table, ORIGIN_COLUMNS, where)


def most_probable_class(posteriors: FloatArray) -> IntArray:
    """The class (N,), from 0, whose pose is a particle's pose; of equally probable ones (N, K) the first."""
    classes: IntArray = posteriors.argmax(1)
    return classes


def of_class(values: FloatArray, classes: IntArray) -> FloatArray:
    """What values (N, K, ...), one a class, are in the given class (N,) of each particle: (N, ...)."""
    return values[np.arange(len(classes)), classes]
