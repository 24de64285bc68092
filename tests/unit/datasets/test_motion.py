"""Parts that turn: where the axis lies, what moves and what rests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from structure_files import atoms_of, rod

from hydra_bench.core.errors import InputError
from hydra_bench.datasets.simulated.density import density_map
from hydra_bench.datasets.simulated.motion import Hinge, Motion, hinge, moved, moving_atoms, widest_direction
from hydra_bench.datasets.simulated.species import Species


def test_a_quarter_turn_about_z_through_a_point() -> None:
    part = Hinge(np.array([True, False, True]), np.array([1.0, 0, 5]), np.array([0, 0, 1.0]))
    positions = np.array([[2.0, 0, 0], [2, 0, 0], [1, 3, 7]])
    expected = [[1, 1, 0], [2, 0, 0], [-2, 0, 7]]
    np.testing.assert_allclose(moved(positions, part, 90), expected, atol=1e-12)
    np.testing.assert_allclose(moved(moved(positions, part, 33), part, -33), positions, atol=1e-12)


def test_the_axis_goes_through_the_interface_by_default() -> None:
    touching = np.array([[10.0, 0, 0], [10, 4, 0], [10, 2, 3]])
    away = np.array([[40.0, 0, 0], [40, 10, 0]])
    atoms = atoms_of(A=np.array([[5.0, 0, 0], [5, 4, 0]]), B=np.concatenate([touching, away]))
    motion = Motion(("B",), (-10, 10))
    found = hinge(atoms, motion, moving_atoms(atoms, motion.chains))
    np.testing.assert_array_equal(found.moving, [False, False, True, True, True, True, True])
    np.testing.assert_allclose(found.point_A, touching.mean(0))
    lever = np.concatenate([touching, away]).mean(0) - found.point_A
    assert abs(found.direction @ lever) < 1e-9
    assert np.linalg.norm(found.direction) == pytest.approx(1)


def test_by_default_the_part_moves_most() -> None:
    generator = np.random.default_rng(1)
    lever = generator.normal(size=(200, 3)) * [4, 20, 9] + [30, 5, -3]
    masses = generator.uniform(1, 16, 200)
    best = widest_direction(lever, masses)
    centre = masses @ lever / masses.sum()

    def moved(direction: np.ndarray) -> float:
        return float(masses @ np.square(np.cross(direction, lever)).sum(1))

    for angle in np.linspace(0, 180, 90, endpoint=False):
        other = Rotation.from_rotvec(angle * centre / np.linalg.norm(centre), degrees=True).apply(best)
        assert moved(other) <= moved(best) * (1 + 1e-9)
    np.testing.assert_array_equal(best, widest_direction(lever.copy(), masses))


def test_a_part_balanced_on_the_hinge_has_a_direction_too() -> None:
    lever = np.array([[10.0, 0, 0], [-10, 0, 0], [0, 3, 0], [0, -3, 0]])
    np.testing.assert_allclose(widest_direction(lever, np.ones(4)), [0, 0, 1], atol=1e-12)


def test_a_given_axis_is_in_the_frame_of_the_entry() -> None:
    atoms = atoms_of(np.array([100.0, 50, 0]), A=rod(10, np.zeros(3)), B=rod(10, np.array([15.0, 0, 0])))
    motion = Motion(("B",), (0, 20), axis=(0, 0, -2), through=(112, 50, 0))
    found = hinge(atoms, motion, moving_atoms(atoms, ("B",)))
    np.testing.assert_allclose(found.point_A, [12, 0, 0])
    np.testing.assert_allclose(found.direction, [0, 0, -1])


def test_what_cannot_turn_is_refused_in_one_line() -> None:
    atoms = atoms_of(A=np.zeros((2, 3)), B=np.full((2, 3), 50.0))
    with pytest.raises(InputError, match="pattern 'C' selects nothing; chains are A, B"):
        moving_atoms(atoms, ("C",))
    with pytest.raises(InputError, match="selects everything"):
        moving_atoms(atoms, ("A", "?"))
    with pytest.raises(InputError, match="no moving atom lies within 8 Å"):
        hinge(atoms, Motion(("B",), (0, 1)), moving_atoms(atoms, ("B",)))


def test_angles_are_even_and_the_middle_state_stands_for_all() -> None:
    motion = Motion.from_definition({"chains": ["B"], "angle_deg": [-10, 20], "axis": None, "states": 7})
    np.testing.assert_allclose(motion.coordinates, [-10, -5, 0, 5, 10, 15, 20])
    species = Species(atoms_of(A=np.zeros((1, 3))), motion.coordinates[:, None])
    assert (species.n_states, species.central_state) == (7, 3)


def test_maps_of_states_differ_only_where_atoms_move() -> None:
    box, pixel = 48, 3.0
    atoms = atoms_of(A=rod(30, np.array([-35.0, 0, 0])), B=rod(30, np.array([3.0, 0, 0])))
    motion = Motion(("B",), (-25, 25), axis=(0, 0, 1), states=2)
    part = hinge(atoms, motion, moving_atoms(atoms, motion.chains))
    species = Species(atoms, motion.coordinates[:, None], part)
    low, high = (density_map(species.state_source(state), box, pixel, 500.0) for state in range(2))
    axis = (torch.arange(box) - box // 2) * pixel
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1).reshape(-1, 3)
    moving = [torch.from_numpy(species.state_source(s).positions_A[part.moving]).float() for s in range(2)]
    far = torch.cdist(grid.float(), torch.cat(moving)).min(1).values > 12
    difference = (low - high).abs().flatten()
    assert difference.max() > 0.5 * low.max()
    assert difference[far].max() < 0.02 * low.max()
    resting = torch.cdist(grid.float(), torch.from_numpy(atoms.positions_A[~part.moving]).float()).min(1).values < 4
    assert low.flatten()[far & resting].mean() > 0.3 * low.max()
    # The frame stays: turning about z mirrors the two states in y, which centring each anew would not change,
    # but it would move the resting part.
    first, last = (species.state_source(s).positions_A for s in range(2))
    np.testing.assert_array_equal(first[~part.moving], last[~part.moving])
