"""A stack of a particle file as usual, which others are compared with."""

from pathlib import Path

import pytest
from particle_files import relion_tables, write_two_files

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.star import write_star
from hydra_bench.particles.particle_files import read_particles


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    write_two_files(tmp_path)
    write_star(tmp_path / "p.star", relion_tables())
    return read_particles(tmp_path / "p.star")
