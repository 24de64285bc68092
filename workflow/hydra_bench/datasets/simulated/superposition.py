"""Two states of one molecule brought together: rigid superposition, and the way from the one to the other.

The way keeps rigid what moves as one: in each chain, the largest set of atoms that changes place without changing its
form turns and slides along the screw that takes it from the first state to the second, then the next largest; only
what is left of the difference is interpolated straight. A straight line alone would shrink a domain half way through a
large turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import RigidTransform, Rotation

from hydra_bench.core.errors import InputError
from hydra_bench.datasets.simulated.structures import Atoms

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
    ends = [_trimmed(fixed_A, moving_A, start) for start in _starts(len(fixed_A))]
    return max(ends, key=lambda end: int(end[1].sum()))


def _starts(n: int) -> list[np.ndarray]:
    """All of n points, and stretches of neighbours, which mostly lie in one domain."""
    count = min(_STRETCHES, n // _FEWEST)
    return [np.arange(n), *(np.array_split(np.arange(n), count) if count > 1 else [])]


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


def atom_keys(atoms: Atoms) -> list[tuple[str, str, str, str]]:
    """Chain, residue number with insertion code, residue and atom name of each atom, in order."""
    return [(s.chain.name, str(s.residue.seqid), s.residue.name, s.atom.name) for s in atoms.model.all()]


def common_atoms(first: Atoms, second: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (M,) of the atoms that two states share, in the first and in the second.

    Told by chain, residue and atom name; of copies in an assembly the n-th is the other's n-th.

    Raises
    ------
    InputError
        If they share less than half of the smaller one's atoms.
    """
    number_of = {key: i for i, key in enumerate(_numbered(atom_keys(second)))}
    pairs = [(i, number_of[key]) for i, key in enumerate(_numbered(atom_keys(first))) if key in number_of]
    fewest = min(len(first.positions_A), len(second.positions_A))
    if len(pairs) < max(_FEWEST, fewest / 2):
        raise InputError(
            f"has {len(pairs)} atoms in common with the first state, by chain, residue number and names; at least "
            f"half of the {fewest} are expected"
        )
    of_first, of_second = zip(*pairs, strict=True)
    return np.array(of_first), np.array(of_second)


def _numbered(keys: list[tuple[str, str, str, str]]) -> list[tuple[str, str, str, str, int]]:
    seen: dict[tuple[str, str, str, str], int] = {}
    numbered = []
    for key in keys:
        seen[key] = seen.get(key, 0) + 1
        numbered.append((*key, seen[key]))
    return numbered


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
