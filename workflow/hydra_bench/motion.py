"""A part of a species that turns: which atoms, about which axis, by which angles.

The moving atoms turn as a rigid body; the others rest in the frame of the species, so that its states
differ by the motion alone. Everything is decided by the atoms and the definition, nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from hydra_bench.errors import InputError
from hydra_bench.structures import Atoms, matching_chains

CONTACT_A = 8.0
"""Moving atoms this near to resting ones make the interface; neighbours across one are mostly 3 to 5 Å apart."""

_SHORTEST_LEVER_A = 1e-3


@dataclass(frozen=True)
class Motion:
    """What a definition says of a motion; see the configuration schema.

    chains: shell patterns; angle_deg: lowest and highest angle; axis: direction (3,) of any length, and
    through: a point (3,) in Å, both in the frame of the entry, None for the defaults of `hinge`; states:
    number of evenly spaced angles, both ends among them.
    """

    chains: tuple[str, ...]
    angle_deg: tuple[float, float]
    axis: tuple[float, float, float] | None = None
    through: tuple[float, float, float] | None = None
    states: int = 16

    @classmethod
    def from_definition(cls, definition: dict[str, Any]) -> Motion:
        """From a species' `motion` block, as the configuration schema describes it."""
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in definition.items()})

    @property
    def angles_deg(self) -> np.ndarray:
        """The angle (states,) of each state, rising."""
        return np.linspace(*self.angle_deg, self.states)


@dataclass(frozen=True)
class Hinge:
    """A rigid part and the axis it turns about: moving (N,) bool, point_A (3,), direction (3,) of length 1."""

    moving: np.ndarray
    point_A: np.ndarray
    direction: np.ndarray


def moving_atoms(atoms: Atoms, patterns: tuple[str, ...]) -> np.ndarray:
    """Which atoms (N,) lie in chains that match one of the patterns.

    Raises
    ------
    InputError
        If a pattern selects nothing, or if all of them together leave nothing at rest.
    """
    chains = atoms.chains
    names = list(dict.fromkeys(chains.tolist()))
    moving = np.isin(chains, list(matching_chains(names, patterns)))
    if moving.all():
        raise InputError(f"{', '.join(patterns)} selects everything; some chains must rest: {', '.join(names)}")
    return moving


def hinge(atoms: Atoms, motion: Motion, moving: np.ndarray) -> Hinge:
    """The axis of a motion in the frame of the atoms, with defaults for what the definition leaves open.

    By default the axis goes through the interface, and of the directions perpendicular to the line from
    there to the centre of mass of the moving atoms it takes the one about which they move most.

    Raises
    ------
    InputError
        If there is no interface to put the axis through.
    """
    positions, masses = atoms.positions_A[moving], atoms.masses_Da[moving]
    if motion.through is None:
        point = interface_centre(positions, atoms.positions_A[~moving])
    else:
        point = np.array(motion.through, dtype=np.float64) - atoms.centre_A
    if motion.axis is None:
        direction = widest_direction(positions - point, masses)
    else:
        direction = np.array(motion.axis, dtype=np.float64)
    return Hinge(moving, point, direction / np.linalg.norm(direction))


def interface_centre(moving_A: np.ndarray, resting_A: np.ndarray) -> np.ndarray:
    """Mean (3,) of the moving atoms (M, 3) that lie within CONTACT_A of a resting one (R, 3), in Å."""
    distance = cKDTree(resting_A).query(moving_A, distance_upper_bound=CONTACT_A)[0]
    touching = np.isfinite(distance)
    if not touching.any():
        raise InputError(
            f"null is not allowed; no moving atom lies within {CONTACT_A:g} Å of a resting one, "
            "so a point [x, y, z] is expected"
        )
    return moving_A[touching].mean(0)


def widest_direction(lever_A: np.ndarray, masses_Da: np.ndarray) -> np.ndarray:
    """The direction (3,) about which atoms at (M, 3) from a point on the axis move most.

    Turning by a small angle about a unit vector u moves an atom at r by |u × r|; the mass-weighted mean
    square of that is uᵀ I u, with I the tensor of inertia about the point. Its largest value among the u
    perpendicular to the centre of mass is an eigenvector's. Of the two senses the one whose largest
    component is positive is taken, so that the result depends on the atoms alone.
    """
    squares = (lever_A * masses_Da[:, None]).T @ lever_A
    inertia = np.eye(3) * np.trace(squares) - squares
    centre = masses_Da @ lever_A / masses_Da.sum()
    length = np.linalg.norm(centre)
    across = np.eye(3)
    if length > _SHORTEST_LEVER_A:  # else every direction is perpendicular
        across -= np.outer(centre, centre) / length**2
    direction = np.linalg.eigh(across @ inertia @ across)[1][:, -1]
    return direction * np.sign(direction[np.abs(direction).argmax()])


def turned(positions_A: np.ndarray, part: Hinge, angle_deg: float) -> np.ndarray:
    """Positions (N, 3) with the moving ones turned by an angle, right-handed about the direction."""
    rotation = Rotation.from_rotvec(angle_deg * part.direction, degrees=True)
    result = positions_A.copy()
    result[part.moving] = rotation.apply(positions_A[part.moving] - part.point_A) + part.point_A
    return result
