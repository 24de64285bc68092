"""Rotations, and what they mean here.

A rotation R (3, 3) takes the map to the view: x_view = R x_map, with vectors (x, y, z). The projection
runs along the view's z. A central slice therefore samples the volume's transform at Rᵀ k, which for
row vectors is ``k @ R``.

Angles are RELION's: rot, tilt, psi in degrees, intrinsic ZYZ. RELION's matrix takes the map to the
view too, which makes its angles SciPy's ``as_euler('ZYZ')`` of Rᵀ.
"""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from hydra_bench.core.types import FloatArray

MIRROR = np.diag([1.0, 1.0, -1.0])
"""The reflection used for a change of hand."""


def matrices_from_euler(angles_deg: FloatArray) -> FloatArray:
    """RELION angles (N, 3) = (rot, tilt, psi) in degrees -> rotations (N, 3, 3), map to view."""
    return np.swapaxes(Rotation.from_euler("ZYZ", angles_deg, degrees=True).as_matrix(), -1, -2)


def euler_from_matrices(rotations: FloatArray) -> FloatArray:
    """Rotations (N, 3, 3), map to view -> RELION angles (N, 3) = (rot, tilt, psi) in degrees."""
    transposed = np.swapaxes(np.asarray(rotations, dtype=np.float64), -1, -2)
    return Rotation.from_matrix(transposed).as_euler("ZYZ", degrees=True, suppress_warnings=True)


def random_rotations(n: int, generator: np.random.Generator) -> FloatArray:
    """n rotations (n, 3, 3), uniform over SO(3)."""
    return Rotation.random(n, random_state=generator).as_matrix()


def hopf_grid(order: int) -> FloatArray:
    """A near-uniform grid of rotations (72·8^order, 3, 3): HEALPix views times in-plane turns.

    Order 2 has 192 views x 24 turns = 4608 rotations about 15° apart; each order halves the spacing.
    Source: Yershova, Jain, LaValle, Mitchell, Int. J. Robotics Research 29 (2010) 801; Górski et al.,
    ApJ 622 (2005) 759.
    """
    from astropy_healpix import HEALPix  # brings astropy.coordinates, 1.3 s that only a search of poses needs

    nside = 2**order
    healpix = HEALPix(nside=nside, order="nested")
    longitude, latitude = healpix.healpix_to_lonlat(np.arange(healpix.npix))
    rot = np.repeat(np.degrees(longitude.value), 6 * nside)
    tilt = np.repeat(90.0 - np.degrees(latitude.value), 6 * nside)
    psi = np.tile(np.arange(6 * nside) * 360.0 / (6 * nside), healpix.npix)
    return matrices_from_euler(np.stack([rot, tilt, psi], axis=1))


def half_hopf_grid(order: int) -> FloatArray:
    """Rotations (36·8^order, 3, 3) of `hopf_grid` with in-plane turns below 180°: the others are these upside down."""
    turns = 6 * 2**order
    return hopf_grid(order).reshape(-1, turns, 3, 3)[:, : turns // 2].reshape(-1, 3, 3)


def grid_spacing_deg(order: int) -> float:
    """The spacing of `hopf_grid(order)`, in degrees."""
    return 60.0 * 0.5**order


def angular_distance_deg(a: FloatArray, b: FloatArray) -> FloatArray:
    """The angle in degrees of the rotation between a and b (..., 3, 3)."""
    trace = np.einsum("...ij,...ij->...", a, b)
    angles: FloatArray = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
    return angles


def rotation_from_vector(vectors: torch.Tensor) -> torch.Tensor:
    """Rotation vectors (..., 3) in radians -> rotations (..., 3, 3), differentiable at zero.

    Rodrigues' formula with sin(a)/a and (1-cos(a))/a² written through sinc, which has no pole.
    """
    angle = torch.sqrt(vectors.square().sum(-1, keepdim=True) + 1e-24)
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    first = torch.sinc(angle / torch.pi)[..., None]
    second = 0.5 * torch.sinc(angle / (2 * torch.pi)).square()[..., None]
    return torch.eye(3, dtype=vectors.dtype, device=vectors.device) + first * cross + second * (cross @ cross)
