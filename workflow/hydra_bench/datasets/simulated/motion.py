"""How atoms move between the states of a species: a part turns or slides, or all go from one given state to the next.

A part that turns or slides moves as a rigid body; the other atoms rest in the frame of the species, so that its states
differ by the motion alone. Given states are superposed, and the way from the one to the other keeps rigid what moves as
one: in each chain, the largest set of atoms that changes place without changing its form turns and slides along the
screw that takes it from the first state to the second, then the next largest; only what is left of the difference is
interpolated straight. A straight line alone would shrink a domain half way through a large turn.

Everything is decided by the atoms and the definition, nothing is drawn.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import RigidTransform, Rotation

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.types import FloatArray
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
    def from_definition(cls, definition: JsonObject) -> Motion:
        """From a species' `motion` block, as the configuration schema describes it."""
        values: JsonObject = {k: tuple(v) if isinstance(v, list) else v for k, v in definition.items()}
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
    other = ~moving
    if motion.against is not None:
        with blaming("motion", "against"):
            other = atoms.selected(motion.against)
            if (other & moving).any():
                problem = "selects atoms that move; the part that they move against rests"
                raise InputError(f"{', '.join(motion.against)} {problem}")
    with blaming("motion", "axis" if motion.axis == "centres" else "through"):
        return _hinge_between(atoms, motion, moving, other)


def _hinge_between(atoms: Atoms, motion: Motion, moving: np.ndarray, other: np.ndarray) -> Hinge:
    positions, masses, slides = atoms.positions_A[moving], atoms.masses_Da[moving], motion.shift_A is not None
    centre = _centre_of_mass(atoms, moving)
    other_centre = _centre_of_mass(atoms, other)
    point: FloatArray
    if motion.through is not None:
        point = np.array(motion.through, dtype=np.float64) - atoms.centre_A
    elif motion.axis == "centres":
        point = other_centre
    elif slides and motion.axis is not None:
        point = centre  # of no effect: only the direction counts
    else:
        point = interface_centre(positions, atoms.positions_A[other])
    direction: FloatArray
    if motion.axis == "centres":
        direction = centre - other_centre
    elif motion.axis is not None:
        direction = np.array(motion.axis, dtype=np.float64)
    else:
        direction = centre - point if slides else widest_direction(positions - point, masses)
    return Hinge(moving, point, _unit(direction), slides)


def _centre_of_mass(atoms: Atoms, chosen: np.ndarray) -> FloatArray:
    masses = atoms.masses_Da[chosen]
    centre: FloatArray = masses @ atoms.positions_A[chosen] / masses.sum()
    return centre


def _unit(vector: FloatArray) -> FloatArray:
    length = np.linalg.norm(vector)
    if length < _SHORTEST_LEVER_A:
        raise InputError("null or centres is not allowed; both points of the axis are one, so [x, y, z] is expected")
    return vector / length


def interface_centre(moving_A: FloatArray, resting_A: FloatArray) -> FloatArray:
    """Mean (3,) of the moving atoms (M, 3) that lie within CONTACT_A of a resting one (R, 3), in Å."""
    distance = cKDTree(resting_A).query(moving_A, distance_upper_bound=CONTACT_A)[0]
    touching = np.isfinite(distance)
    if not touching.any():
        raise InputError(
            f"null is not allowed; no moving atom lies within {CONTACT_A:g} Å of a resting one, "
            "so a point [x, y, z] is expected"
        )
    centre: FloatArray = moving_A[touching].mean(0)
    return centre


def widest_direction(lever_A: FloatArray, masses_Da: FloatArray) -> FloatArray:
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
    direction: FloatArray = np.linalg.eigh(across @ inertia @ across)[1][:, -1]
    direction *= np.sign(direction[np.abs(direction).argmax()])
    return direction


def moved(positions_A: np.ndarray, part: Hinge, coordinate: float) -> np.ndarray:
    """Positions (N, 3) with the moving ones turned by degrees, right-handed about the axis, or slid by Å along it."""
    result = positions_A.copy()
    if part.slides:
        result[part.moving] += coordinate * part.direction
    else:
        rotation = Rotation.from_rotvec(coordinate * part.direction, degrees=True)
        result[part.moving] = rotation.apply(positions_A[part.moving] - part.point_A) + part.point_A
    return result


CORE_A = 2.0
"""Atoms that superpose to within this distance count as at rest."""

_ROUNDS, _STRETCHES = 20, 8
_FEWEST = 6
"""Atoms that a rigid body has at least."""


def fitted(fixed_A: np.ndarray, moving_A: np.ndarray) -> RigidTransform:
    """The rigid transform that takes points (N, 3) onto others (N, 3) by least squares (Kabsch)."""
    a, b = fixed_A.mean(0), moving_A.mean(0)
    u, _, vt = np.linalg.svd((fixed_A - a).T @ (moving_A - b))
    rotation = Rotation.from_matrix(u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt)
    return RigidTransform.from_components(a - rotation.apply(b), rotation)


def superposed(fixed_A: np.ndarray, moving_A: np.ndarray) -> tuple[RigidTransform, np.ndarray]:
    """The transform that takes most of the points (N, 3) onto others (N, 3), and which (N,) of them it fits.

    Starting from all points, and from each of some stretches of them, those that fit worst are left out in turn until
    the others lie within CORE_A; of the ends that this comes to, that with the most points counts. So a domain that
    moves does not pull at the superposition of what rests.
    """
    every = np.arange(len(fixed_A))
    # Neighbours along the chain mostly lie in one domain.
    stretches = np.array_split(every, max(min(_STRETCHES, len(every) // _FEWEST), 1))
    ends = [_trimmed(fixed_A, moving_A, start) for start in (every, *stretches)]
    return max(ends, key=lambda end: int(end[1].sum()))


def _trimmed(fixed_A: np.ndarray, moving_A: np.ndarray, start: np.ndarray) -> tuple[RigidTransform, np.ndarray]:
    keep = np.isin(np.arange(len(fixed_A)), start)
    for _ in range(_ROUNDS):
        transform = fitted(fixed_A[keep], moving_A[keep])
        distance = np.linalg.norm(transform.apply(moving_A) - fixed_A, axis=1)
        within = distance <= max(CORE_A, float(np.median(distance[keep])))
        if within.sum() < _FEWEST or np.array_equal(within, keep):
            break
        keep = within
    return transform, distance <= CORE_A


def atom_keys(atoms: Atoms) -> dict[tuple[str, str, str, str, int], int]:
    """The number of each atom by its chain, residue number with insertion code, residue and atom name, and copy."""
    copies: Counter[tuple[str, str, str, str]] = Counter()
    found = {}
    for number, site in enumerate(atoms.model.all()):
        names = (site.chain.name, str(site.residue.seqid), site.residue.name, site.atom.name)
        copies[names] += 1
        found[*names, copies[names]] = number
    return found


def common_atoms(first: Atoms, second: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (M,) of the atoms that two states share, in the first and in the second.

    Told by chain, residue and atom name; of copies in an assembly the n-th is the other's n-th.

    Raises
    ------
    InputError
        If they share less than half of the smaller one's atoms.
    """
    number_of = atom_keys(second)
    pairs = [(number, number_of[key]) for key, number in atom_keys(first).items() if key in number_of]
    fewest = min(len(first.positions_A), len(second.positions_A))
    if len(pairs) < max(_FEWEST, fewest / 2):
        raise InputError(
            f"has {len(pairs)} atoms in common with the first state, by chain, residue number and names; at least "
            f"half of the {fewest} are expected"
        )
    of_first, of_second = zip(*pairs, strict=True)
    return np.array(of_first), np.array(of_second)


@dataclass(frozen=True)
class Way:
    """From positions (N, 3) to others (N, 3): bodies are atom numbers with the transform that takes them there."""

    start_A: np.ndarray
    end_A: np.ndarray
    bodies: tuple[tuple[np.ndarray, RigidTransform], ...]

    @classmethod
    def between(cls, start_A: np.ndarray, end_A: np.ndarray, chains: np.ndarray) -> Way:
        """Both superposed already; in each chain, the atoms (N,) that move are cut into bodies that fit each other."""
        moves = np.linalg.norm(end_A - start_A, axis=1) > CORE_A
        bodies = []
        for chain in dict.fromkeys(chains.tolist()):
            left = np.flatnonzero(moves & (chains == chain))
            while len(left) >= _FEWEST:
                transform, fits = superposed(end_A[left], start_A[left])
                if fits.sum() < _FEWEST:
                    break
                bodies.append((left[fits], transform))
                left = left[~fits]
        return cls(start_A, end_A, tuple(bodies))

    def at(self, share: float) -> np.ndarray:
        """Positions (N, 3) at a share of the way, from 0 to 1."""
        positions = (1 - share) * self.start_A + share * self.end_A
        for body, transform in self.bodies:
            # Where the end would be if the body had not moved: only its change of form is interpolated straight.
            unmoved = transform.inv().apply(self.end_A[body])
            shape = (1 - share) * self.start_A[body] + share * unmoved
            part = RigidTransform.from_exp_coords(share * transform.as_exp_coords())
            positions[body] = part.apply(shape)
        return positions
