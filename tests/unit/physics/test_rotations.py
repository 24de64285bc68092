"""Rotations: RELION's angles, the Hopf grid's spacing and coverage, exponential map."""

import numpy as np
import pytest
import torch

from hydra_bench.physics.rotations import (
    angular_distance_deg,
    euler_from_matrices,
    grid_spacing_deg,
    hopf_grid,
    matrices_from_euler,
    random_rotations,
    rotation_from_vector,
)


def test_euler_angles_are_relions() -> None:
    """RELION's manual: rot about z, tilt about the new y, psi about the new z; A takes the map to the view."""
    rot, tilt, psi = np.radians([30.0, 50.0, -70.0])

    def about_z(a: float) -> np.ndarray:
        return np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])

    about_y = np.array([[np.cos(tilt), 0, -np.sin(tilt)], [0, 1, 0], [np.sin(tilt), 0, np.cos(tilt)]])
    expected = about_z(psi) @ about_y @ about_z(rot)
    np.testing.assert_allclose(matrices_from_euler(np.array([[30.0, 50.0, -70.0]]))[0], expected, atol=1e-12)


def test_euler_angles_round_trip() -> None:
    rotations = random_rotations(200, np.random.default_rng(0))
    np.testing.assert_allclose(matrices_from_euler(euler_from_matrices(rotations)), rotations, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_hopf_grid_spacing_and_coverage(order: int) -> None:
    grid = hopf_grid(order)
    spacing = grid_spacing_deg(order)
    assert len(grid) == 72 * 8**order
    nearest = [np.partition(angular_distance_deg(one, grid), 1)[1] for one in grid[:: len(grid) // 60]]
    assert 0.6 * spacing < np.median(nearest) < 1.3 * spacing
    anywhere = random_rotations(200, np.random.default_rng(1))
    farthest = max(angular_distance_deg(one, grid).min() for one in anywhere)
    assert farthest < spacing


def test_rotation_vectors_turn_by_their_length_and_have_a_gradient_at_zero() -> None:
    turned = rotation_from_vector(torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64)).numpy()
    assert angular_distance_deg(np.eye(3), turned) == pytest.approx(np.degrees(0.5))
    assert turned[1, 0] == pytest.approx(np.sin(0.5))
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    rotation_from_vector(zero)[1, 0].backward()
    np.testing.assert_allclose(zero.grad.numpy(), [0, 0, 1], atol=1e-9)
