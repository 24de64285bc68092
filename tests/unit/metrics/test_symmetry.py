"""Point groups: found as they lie in a map, and not where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hydra_bench.core.errors import InputError
from hydra_bench.metrics.pose import pose_errors
from hydra_bench.metrics.symmetry import group_of_map, point_group
from hydra_bench.physics.rotations import angular_distance_deg, random_rotations

BOX = 24


def symmetric(group: str, frame: np.ndarray) -> np.ndarray:
    """A map of units turned by the elements of a point group whose axes lie as `frame` says."""
    unit = np.random.default_rng(3).normal(size=(6, 3)) * 0.05 * BOX + np.array([0.24, 0.02, 0.06]) * BOX
    axis, volume = np.arange(BOX) - BOX // 2, np.zeros((BOX,) * 3)
    for element in Rotation.create_group(group).as_matrix():
        moved = unit @ (frame @ element).T
        x, y, z = (np.exp(-((axis - moved[:, [i]]) ** 2) / (2 * 1.1**2)) for i in range(3))
        volume += np.einsum("nz,ny,nx->zyx", z, y, x)
    return volume.astype(np.float32)


@pytest.mark.parametrize("group", ["C6", "D2"])
def test_perfect_poses_of_a_symmetric_particle_have_no_error(group: str) -> None:
    frame = random_rotations(1, np.random.default_rng(1))[0]
    found = group_of_map(symmetric(group, frame), group)
    elements = frame @ point_group(group) @ frame.T
    assert max(angular_distance_deg(found, element).min() for element in elements) < 2
    true = random_rotations(50, np.random.default_rng(2))
    chosen = elements[np.random.default_rng(3).integers(len(elements), size=50)]
    shifts = np.zeros((50, 2))
    assert pose_errors(true @ chosen, shifts, true, shifts).angle_deg.max() > 100
    assert pose_errors(true @ chosen, shifts, true, shifts, found).angle_deg.max() < 2


def test_a_symmetry_that_a_map_does_not_have_is_refused() -> None:
    volume = symmetric("C2", np.eye(3))
    with pytest.raises(InputError, match="symmetry C5: a true map does not have it"):
        group_of_map(volume, "C5")
    np.testing.assert_array_equal(group_of_map(volume, "C1"), np.eye(3)[None])
