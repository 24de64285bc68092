"""The rotations that leave a true map as it is, from the name of its point group.

A point group says how many axes there are, of which order, at which angles; not how they lie in a map. That is found:
the map is aligned to itself, and the orientation of the group is taken whose elements all are among the alignments.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from hydra_bench.core.errors import InputError
from hydra_bench.maps.alignment import self_alignments
from hydra_bench.physics.rotations import angular_distance_deg

NO_SYMMETRY = "C1"
_TOLERANCE_DEG = 6.0


def point_group(name: str) -> np.ndarray:
    """The elements (G, 3, 3) of a point group (C3, D2, T, O, I) about axes of its own, the identity first."""
    elements = Rotation.create_group(name).as_matrix()  # type: ignore[arg-type]  # its stubs have n for a number
    return elements[np.argsort(angular_distance_deg(elements, np.eye(3)), kind="stable")]


def group_of_map(volume: np.ndarray, name: str) -> np.ndarray:
    """The elements (G, 3, 3) of the named point group as they lie in a map (D, D, D).

    Raises InputError if the map has no such symmetry.
    """
    elements = point_group(name)
    if len(elements) == 1:
        return elements
    found = self_alignments(volume, 2 * len(elements) + 10)
    best, least = elements, np.inf
    for frame in _frames(elements, found):
        placed = frame @ elements @ frame.T
        distances = [angular_distance_deg(found, element).min() for element in placed]
        if max(distances) < least:
            best, least = placed, max(distances)
    if least > _TOLERANCE_DEG:
        raise InputError(f"symmetry {name}: a true map does not have it; its orientations are {least:.0f}° off")
    return best


def _frames(elements: np.ndarray, found: np.ndarray) -> list[np.ndarray]:
    """Rotations (3, 3) that take axes of the group to axes of found rotations (F, 3, 3) of the same angles."""
    first = elements[1]
    own = _axis(first)
    across = next((e for e in elements[1:] if abs(_axis(e) @ own) < 0.99), None)
    frames = []
    for turned in _alike(first, found):
        if across is None:
            frames += [_taking((own,), (sign * turned,)) for sign in (1, -1)]
            continue
        for other in _alike(across, found):
            for a, b in ((turned, other), (turned, -other), (-turned, other), (-turned, -other)):
                between = np.degrees(np.arccos(np.clip(a @ b, -1, 1)))
                wanted = np.degrees(np.arccos(np.clip(own @ _axis(across), -1, 1)))
                if abs(between - wanted) < _TOLERANCE_DEG:
                    frames.append(_taking((own, _axis(across)), (a, b)))
    return frames


def _axis(rotation: np.ndarray) -> np.ndarray:
    """The unit axis (3,) of a rotation other than the identity."""
    vector = Rotation.from_matrix(rotation).as_rotvec()
    axis: np.ndarray = vector / np.linalg.norm(vector)
    return axis


def _alike(element: np.ndarray, found: np.ndarray) -> list[np.ndarray]:
    """Axes of the found rotations that turn by the same angle."""
    angles = angular_distance_deg(found, np.eye(3))
    wanted = float(angular_distance_deg(element, np.eye(3)))
    return [_axis(rotation) for rotation in found[np.abs(angles - wanted) < _TOLERANCE_DEG]]


def _taking(own: tuple[np.ndarray, ...], to: tuple[np.ndarray, ...]) -> np.ndarray:
    """The rotation that takes one or two unit vectors nearest to others."""
    matrix: np.ndarray = Rotation.align_vectors(np.array(to), np.array(own))[0].as_matrix()
    return matrix
