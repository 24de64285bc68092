"""Maps as decimated surface meshes for the page's 3-D view.

Marching cubes by scikit-image, decimation by fast-simplification (quadric error). A level is not a density:
densities of different methods have no common scale. It is the volume that the surface encloses, which is the same for
a map and its truth, as in the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import fast_simplification
import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes

from hydra_bench.core.json_values import JsonObject
from hydra_bench.report.figures.isosurface import level_enclosing, level_holding, upsample
from hydra_bench.report.page.embedding import encoded

SHARES = (0.5, 0.65, 0.8, 0.9)
"""Of the positive density of a true map (of the map itself where there is no truth): the steps of the level slider."""
_FINEST = 65535
_ALL_TRIANGLES, _MANY_MAPS = 450_000, 60
_SMOOTHING_VOXELS = 0.6


@dataclass(frozen=True)
class Detail:
    """How finely maps are meshed: triangles a surface, shares of the density, whether maps are upsampled twofold."""

    triangles: int
    shares: tuple[float, ...]
    upsampled: bool

    @classmethod
    def for_maps(cls, count: int) -> Detail:
        """What keeps a page with `count` maps small, whatever their number: some 4 MB before compression."""
        many = count > _MANY_MAPS
        shares = (0.8,) if many else SHARES
        return cls(int(np.clip(_ALL_TRIANGLES // (count * len(shares)), 400, 6000)), shares, not many)


def surfaces(volume: np.ndarray, pixel_size_A: float, volumes_A3: list[float], detail: Detail) -> list[JsonObject]:
    """One entry a level of a map (D, D, D): level in sd of the map above its mean, the volume enclosed in nm³, mesh.

    `mesh` is None where the map crosses no level (an empty map). Vertices are (x, y, z), 0…65535 across the box, and
    like the triangles' vertex numbers, little-endian in base64.
    """
    fine, pixel = _sampled(volume, pixel_size_A, detail)
    smooth = gaussian_filter(fine, _SMOOTHING_VOXELS)
    mean, sd = float(volume.mean()), float(volume.std())
    result = []
    for volume_A3 in volumes_A3:
        level = level_enclosing(fine, round(volume_A3 / pixel**3))
        result.append(
            {
                "volume_nm3": round(volume_A3 / 1000, 1),
                "level_sd": round((level - mean) / sd, 2) if sd > 0 else None,
                "mesh": _mesh(smooth, level, detail.triangles),
            }
        )
    return result


def enclosed_volumes(volume: np.ndarray, pixel_size_A: float, detail: Detail) -> list[float]:
    """The volumes in Å³ above the levels that hold each of the detail's shares of the map's positive density."""
    fine, pixel = _sampled(volume, pixel_size_A, detail)
    return [float((fine >= level_holding(fine, share)).sum()) * pixel**3 for share in detail.shares]


def _sampled(volume: np.ndarray, pixel_size_A: float, detail: Detail) -> tuple[np.ndarray, float]:
    return (upsample(volume), pixel_size_A / 2) if detail.upsampled else (volume, pixel_size_A)


def _mesh(volume: np.ndarray, level: float, triangles: int) -> JsonObject | None:
    # A surface that leaves the box is closed at its faces by the border of low values.
    low = float(min(volume.min(), level - abs(level)))
    if not low < level < float(volume.max()):
        return None
    padded = np.pad(volume, 1, constant_values=low)
    corners, faces, _, _ = marching_cubes(padded, level)
    if len(faces) > triangles:
        corners, faces = fast_simplification.simplify(
            corners.astype(np.float32), faces.astype(np.int32), target_count=triangles
        )
    # scikit-image's triangles face inwards; z, y, x to x, y, z is a reflection, and turns them outwards.
    points = (corners[:, ::-1] - 1) / (len(volume) - 1)
    whole = np.clip(np.round(points * _FINEST), 0, _FINEST).astype("<u2")
    numbers = faces.astype("<u2" if len(whole) <= _FINEST else "<u4")
    return {"points": encoded(whole), "triangles": encoded(numbers), "wide": numbers.dtype.itemsize == 4}
