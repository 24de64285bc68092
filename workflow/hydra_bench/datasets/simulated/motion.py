"""A part of a species that turns or slides: which atoms, about or along which axis, how far.

The moving atoms move as a rigid body; the others rest in the frame of the species, so that its states
differ by the motion alone. Everything is decided by the atoms and the definition, nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from hydra_bench.core.errors import InputError
from hydra_bench.datasets.simulated.structures import Atoms, blaming

CONTACT_A = 8.0
"""Moving atoms this near to resting ones make the interface; neighbours across one are mostly 3 to 5 Å apart."""

_SHORTEST_LEVER_A = 1e-3


@dataclass(frozen=True)
class Motion:
    """What a definition says of a motion; see the configuration schema.

    chains: patterns of what moves; angle_deg or shift_A: lowest and highest, the other None; axis: direction (3,) of
    any length, "centres" for the line between the centres of mass, None for the default of `hinge`; through: a point
    (3,) in Å; both in the frame of the entry; against: patterns of the part that the hinge is shared with, None for
    all that rests; states: number of evenly spaced ones, both ends among them.
    """

    chains: tuple[str, ...]
    angle_deg: tuple[float, float] | None = None
    axis: tuple[float, float, float] | Literal["centres"] | None = None
    through: tuple[float, float, float] | None = None
    states: int = 16
    shift_A: tuple[float, float] | None = None
    against: tuple[str, ...] | None = None

    @classmethod
    def from_definition(cls, definition: dict[str, Any]) -> Motion:
        """From a species' `motion` block, as the configuration schema describes it."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in definition.items()}
        return cls(**values)

    @property
    def coordinates(self) -> np.ndarray:
        """The angle in degrees or shift in Å (states,) of each state, rising."""
        low, high = self.angle_deg or self.shift_A or (0.0, 0.0)
        return np.linspace(low, high, self.states)


@dataclass(frozen=True)
class Hinge:
    """A rigid part and its axis: moving (N,) bool, point_A (3,), direction (3,) of length 1.

    It turns about the axis by degrees, or slides along it by Å.
    """

    moving: np.ndarray
    point_A: np.ndarray
    direction: np.ndarray
    slides: bool = False


def moving_atoms(atoms: Atoms, patterns: tuple[str, ...]) -> np.ndarray:
    """Which atoms (N,) match one of the patterns.

    Raises
    ------
    InputError
        If a pattern selects nothing, or if all of them together leave nothing at rest.
    """
    moving = atoms.selected(patterns)
    if moving.all():
        names = dict.fromkeys(atoms.chains.tolist())
        raise InputError(f"{', '.join(patterns)} selects everything; some chains must rest: {', '.join(names)}")
    return moving


def other_part(atoms: Atoms, motion: Motion, moving: np.ndarray) -> np.ndarray:
    """Which atoms (N,) the moving ones are hinged to. Raises InputError if they are moving ones."""
    if motion.against is None:
        return ~moving
    other = atoms.selected(motion.against)
    if (other & moving).any():
        raise InputError(f"{', '.join(motion.against)} selects atoms that move; the part that they move against rests")
    return other


def hinge(atoms: Atoms, motion: Motion, moving: np.ndarray) -> Hinge:
    """The axis of a motion in the frame of the atoms, with defaults for what the definition leaves open.

    By default the axis goes through the interface with the other part. The moving part turns about the direction,
    among those perpendicular to the line from there to its centre of mass, about which it moves most, or slides along
    that line, away from the interface. "centres" is the line from the other part's centre of mass to its own.

    Raises
    ------
    InputError
        If there is no interface to put the axis through, or an axis has no length.
    """
    with blaming("motion", "against"):
        other = other_part(atoms, motion, moving)
    with blaming("motion", "axis" if motion.axis == "centres" else "through"):
        return _hinge_between(atoms, motion, moving, other)


def _hinge_between(atoms: Atoms, motion: Motion, moving: np.ndarray, other: np.ndarray) -> Hinge:
    positions, masses, slides = atoms.positions_A[moving], atoms.masses_Da[moving], motion.shift_A is not None
    centre, other_centre = masses @ positions / masses.sum(), _centre_of_mass(atoms, other)
    if motion.axis == "centres":
        point = other_centre if motion.through is None else np.array(motion.through) - atoms.centre_A
        return Hinge(moving, point, _unit(centre - other_centre), slides)
    if motion.through is not None:
        point = np.array(motion.through, dtype=np.float64) - atoms.centre_A
    elif slides and motion.axis is not None:
        point = centre  # of no effect: only the direction counts
    else:
        point = interface_centre(positions, atoms.positions_A[other])
    if motion.axis is not None:
        direction = np.array(motion.axis, dtype=np.float64)
    else:
        direction = centre - point if slides else widest_direction(positions - point, masses)
    return Hinge(moving, point, _unit(direction), slides)


def _centre_of_mass(atoms: Atoms, chosen: np.ndarray) -> np.ndarray:
    return atoms.masses_Da[chosen] @ atoms.positions_A[chosen] / atoms.masses_Da[chosen].sum()


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    if length < _SHORTEST_LEVER_A:
        raise InputError("null or centres is not allowed; both points of the axis are one, so [x, y, z] is expected")
    return vector / length


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


def moved(positions_A: np.ndarray, part: Hinge, coordinate: float) -> np.ndarray:
    """Positions (N, 3) with the moving ones turned by degrees, right-handed about the axis, or slid by Å along it."""
    result = positions_A.copy()
    if part.slides:
        result[part.moving] += coordinate * part.direction
    else:
        rotation = Rotation.from_rotvec(coordinate * part.direction, degrees=True)
        result[part.moving] = rotation.apply(positions_A[part.moving] - part.point_A) + part.point_A
    return result
