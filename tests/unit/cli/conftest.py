"""A user's own files of particles, as RELION and cryoSPARC have them."""

from pathlib import Path

import numpy as np
import pytest
from particle_files import (
    N,
    cs_blob,
    cs_ctf,
    cs_rows,
    joined,
    relion_tables,
    save_cs,
    write_two_files,
)

from hydra_bench.core.star import write_star


@pytest.fixture
def star(tmp_path: Path) -> Path:
    """RELION 3.1: two files, two optics groups, a column that nobody knows, and digits that must stay."""
    write_two_files(tmp_path)
    tables = relion_tables()
    tables["particles"]["someoneElsesColumn"] = [f"1.{i}00e-09" for i in range(N)]
    tables["particles"]["rlnOriginXAngst"] = 99.0
    write_star(tmp_path / "particles.star", tables)
    return tmp_path / "particles.star"


@pytest.fixture
def cs(tmp_path: Path) -> Path:
    """A .cs file of uids in no order, with what it lacks in a passthrough file of another order."""
    write_two_files(tmp_path)
    location = cs_rows(
        location__micrograph_path=np.array([f">mics/m{i}.mrc".encode() for i in range(N)]),
        location__micrograph_shape=np.full((N, 2), (100, 200), dtype=np.uint32),
        location__center_x_frac=np.full(N, 0.25, dtype="f4"),
        location__center_y_frac=np.full(N, 0.5, dtype="f4"),
        pick_stats__ncc_score=np.arange(N, dtype="f4"),
    )
    blob = cs_blob(b">")
    blob["blob/sign"] = 1
    save_cs(tmp_path / "J9_passthrough_particles.cs", joined(cs_ctf(), location)[::-1])
    return save_cs(tmp_path / "J9_particles.cs", blob)
