"""Surface meshes: they lie where the map crosses its level, enclose what they say, and face outwards."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from test_report_figures import ball

from hydra_bench.report.page.meshes import SHARES, Detail, enclosed_volumes, surfaces

FINE = Detail(4000, (0.8,), True)
PIXEL = 5.0


def corners_and_triangles(mesh: dict[str, object]) -> tuple[np.ndarray, np.ndarray]:
    """Corners (V, 3) in voxels from the origin of a 48-voxel box, triangles (F, 3)."""
    points = np.frombuffer(base64.b64decode(str(mesh["points"])), "<u2").reshape(-1, 3)
    triangles = np.frombuffer(base64.b64decode(str(mesh["triangles"])), "<u4" if mesh["wide"] else "<u2").reshape(-1, 3)
    # 0 ... 65535 are the first and the last of 96 fine voxels, half a voxel each; the origin is the 48th.
    return points / 65535 * 95 / 2 - 24, triangles


def enclosed(corners: np.ndarray, triangles: np.ndarray) -> float:
    """The volume inside a closed mesh whose triangles face outwards (signed)."""
    a, b, c = (corners[triangles[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def test_the_mesh_of_a_ball_is_a_ball_in_its_place() -> None:
    wanted = 4 / 3 * np.pi * 9**3
    (found,) = surfaces(ball(48, (5.0, -3.0, 2.0), 9.0), PIXEL, [wanted * PIXEL**3], FINE)
    corners, triangles = corners_and_triangles(found["mesh"])
    assert len(triangles) <= 4000
    assert (corners.min(0) + corners.max(0)) / 2 == pytest.approx([5, -3, 2], abs=0.3)
    assert np.linalg.norm(corners - [5, -3, 2], axis=1) == pytest.approx(9, abs=0.4)
    assert enclosed(corners, triangles) == pytest.approx(wanted, rel=0.05)
    assert found["volume_nm3"] == pytest.approx(wanted * PIXEL**3 / 1000, abs=0.1)


def test_levels_of_larger_shares_enclose_more() -> None:
    volumes = enclosed_volumes(ball(24, (0.0, 0.0, 0.0), 5.0), PIXEL, Detail(1000, SHARES, True))
    assert volumes == sorted(volumes)
    assert len(set(volumes)) == len(SHARES)


def test_an_empty_map_has_no_surface() -> None:
    (found,) = surfaces(np.zeros((16, 16, 16), np.float32), PIXEL, [1000.0], Detail(1000, (0.8,), False))
    assert found["mesh"] is None
    assert found["level_sd"] is None


def test_many_maps_are_coarser_and_all_together_no_larger() -> None:
    few, many = Detail.for_maps(18), Detail.for_maps(500)
    assert few.triangles * len(few.shares) * 18 <= 450_000
    assert many.triangles * len(many.shares) * 500 <= 450_000
    assert many.triangles >= 400
