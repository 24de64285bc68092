"""Poses of CryoSPARC's .cs files as this package reads them, against cryoDRGN's own converter of the same files."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from hydra_bench.methods.programs.programs import find_executable
from hydra_bench.particles.cryodrgn import read_pose_table
from hydra_bench.particles.cryosparc_alignments import read_class_alignments
from hydra_bench.physics.rotations import angular_distance_deg

CRYODRGN = find_executable("cryodrgn", Path(__file__).parents[2] / "build" / "envs" / "cryodrgn")
BOX, PIXEL_A, N = 64, 2.5, 50

pytestmark = pytest.mark.skipif(CRYODRGN is None, reason="cryodrgn is missing: make envs")


@pytest.mark.parametrize(("group", "option"), [("alignments3D", []), ("alignments_class_0", ["--abinit"])])
def test_poses_are_read_as_cryodrgn_reads_them(tmp_path: Path, group: str, option: list[str]) -> None:
    generator = np.random.default_rng(0)
    fields = {
        f"{group}/pose": generator.normal(size=(N, 3)).astype(np.float32),
        f"{group}/shift": generator.uniform(-6, 6, (N, 2)).astype(np.float32),
        f"{group}/psize_A": np.full(N, PIXEL_A, np.float32),
        f"{group}/class_posterior": np.ones(N, np.float32),
        "blob/path": np.full(N, b"J1/imported/particles.mrcs"),
        "blob/idx": np.arange(N, dtype=np.uint32),
    }
    rows = np.empty(N, dtype=[(name, values.dtype, values.shape[1:]) for name, values in fields.items()])
    for name, values in fields.items():
        rows[name] = values
    path, poses = tmp_path / "particles.cs", tmp_path / "poses.pkl"
    with open(path, "wb") as file:
        np.save(file, rows)
    command = [CRYODRGN, "parse_pose_csparc", path, *option, "-D", str(BOX), "-o", poses]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rotations, displacements = read_pose_table(poses)
    ours = read_class_alignments(path, None, None)
    assert angular_distance_deg(ours.rotations, rotations).max() < 0.05
    np.testing.assert_allclose(ours.shifts_A, displacements * BOX * PIXEL_A, atol=1e-3)
