"""What a run says of itself: each remark where it is true, and none where nothing is off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hydra_bench.methods.hydra.model.tables import ParticleTables
from hydra_bench.methods.hydra.output.remarks import remarks
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.physics.rotations import random_rotations

BOX_PX, N, K = 48, 600, 3
SETTINGS = Settings(classes=K)
EXTENT_PX = SETTINGS.shift_extent * BOX_PX


@pytest.fixture
def tables() -> ParticleTables:
    """Of a good run: sure classes, views from everywhere, shifts over all that is searched."""
    rng = np.random.default_rng(0)
    tables = ParticleTables(N, (2,) * K)
    tables.posteriors[:] = torch.nn.functional.one_hot(torch.arange(N) % K, K).float() * 0.97 + 0.01
    tables.rotations[:] = torch.from_numpy(random_rotations(N, rng)).float()[:, None]
    tables.shifts_px[:] = torch.from_numpy(rng.uniform(-EXTENT_PX, EXTENT_PX, (N, 1, 2))).float()
    return tables


def test_a_good_run_has_none(tables: ParticleTables) -> None:
    assert remarks(SETTINGS, SETTINGS, tables, [], BOX_PX) == []


def test_posteriors_at_chance(tables: ParticleTables) -> None:
    tables.posteriors[:] = torch.softmax(0.3 * torch.randn(N, K, generator=torch.Generator().manual_seed(0)), 1)
    (said,) = remarks(SETTINGS, SETTINGS, tables, [], BOX_PX)
    assert "% of the entropy of chance" in said
    assert "--preset field" in said


def test_one_class_is_not_at_chance() -> None:
    alone = ParticleTables(N, (2,))
    alone.rotations[:] = torch.from_numpy(random_rotations(N, np.random.default_rng(1))).float()[:, None]
    assert remarks(Settings(classes=1), SETTINGS, alone, [], BOX_PX) == []


def test_shifts_beyond_what_is_searched(tables: ParticleTables) -> None:
    """Twice as far off centre as the search goes: those beyond are found at its edge."""
    step = 2 * EXTENT_PX / (SETTINGS.shift_points - 1)
    tables.shifts_px[:] = (2 * tables.shifts_px).clamp(-EXTENT_PX - 0.9 * step, EXTENT_PX + 0.9 * step)
    (said,) = remarks(SETTINGS, SETTINGS, tables, [], BOX_PX)
    assert "farther off centre than the 2.3 px" in said
    assert "--set shift_extent=0.094" in said
    assert remarks(replace(SETTINGS, poses="fixed"), SETTINGS, tables, [], BOX_PX) == []


def test_views_along_one_axis(tables: ParticleTables) -> None:
    """Of one class, from either side."""
    tilted = random_rotations(N, np.random.default_rng(2))
    tilted[:, 2] = [0, 0, 1]
    tables.rotations[1::K] = torch.from_numpy(tilted).float()[1::K, None]
    (said,) = remarks(SETTINGS, SETTINGS, tables, [], BOX_PX)
    assert said.startswith("views of class 2 are mostly along one axis (mean squared cosine 1.00")


def test_empty_classes(tables: ParticleTables) -> None:
    (said,) = remarks(SETTINGS, SETTINGS, tables, [2, 3], BOX_PX)
    assert said.startswith("empty (less than ")
    assert "class 2, 3" in said
