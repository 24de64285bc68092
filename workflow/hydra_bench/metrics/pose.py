"""Errors of poses and shifts, after the map has been aligned to the truth.

How an alignment acts on a method's poses. Its map moves by x_ref = A x_map + t, A = Q or Q M with M the
reflection z -> -z. The method sees the map's point at x_view = R x_map = R Aᵀ (x_ref - t), and its image is
the projection of that along z, displaced by s.

Same hand: R' = R Qᵀ, and the projected points move by -(R' t), so s' = s - (R' t)_xy.
Other hand: R Aᵀ = R M Qᵀ is a reflection, no pose. But a projection along z is the same for x_view and
M x_view, so R' = M R M Qᵀ, a rotation, explains the same image; M leaves x and y alone, and again
s' = s - (R' t)_xy.
"""

from dataclasses import dataclass

import numpy as np

from hydra_bench.maps.alignment import Alignment
from hydra_bench.physics.rotations import MIRROR, angular_distance_deg


@dataclass(frozen=True)
class PoseErrors:
    """Per particle: angle_deg (N,), the angle between the rotations; shift_A (N,), the in-plane distance."""

    angle_deg: np.ndarray
    shift_A: np.ndarray


def aligned_poses(
    rotations: np.ndarray, shifts_A: np.ndarray, alignment: Alignment, pixel_size_A: float
) -> tuple[np.ndarray, np.ndarray]:
    """A method's rotations (N, 3, 3) and shifts (N, 2) in Å, for the aligned map."""
    if alignment.mirrored:
        rotations = MIRROR @ rotations @ MIRROR
    turned = rotations @ alignment.rotation.T
    displaced = turned @ (alignment.shift_px * pixel_size_A)
    return turned, shifts_A - displaced[:, :2]


def pose_errors(
    rotations: np.ndarray,
    shifts_A: np.ndarray,
    true_rotations: np.ndarray,
    true_shifts_A: np.ndarray,
    symmetry: np.ndarray | None = None,
) -> PoseErrors:
    """Errors of aligned poses.

    symmetry (G, 3, 3) are the rotations that leave the true map as it is (identity included); the nearest
    of a pose's equivalents R g counts. None: no symmetry.
    """
    group = np.eye(3)[None] if symmetry is None else symmetry
    angles = np.stack([angular_distance_deg(rotations, true_rotations @ g) for g in group])
    return PoseErrors(angles.min(0), np.linalg.norm(shifts_A - true_shifts_A, axis=1))
