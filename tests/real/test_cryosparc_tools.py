"""The method `cryosparc` on the real cryosparc-tools, as far as that goes without a server and a licence."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydra_bench.cli.main import main
from hydra_bench.contracts.reconstruction import read_run
from hydra_bench.contracts.stack import write_stack_star
from hydra_bench.core.mrc import ImageStackWriter
from hydra_bench.methods import cards as method_cards
from hydra_bench.physics.ctf import Defocus, Optics

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build" / "envs" / "cryosparc" / "bin" / "python"
SCRIPT = method_cards.METHODS_FOLDER / "cryosparc" / "run_jobs.py"

pytestmark = pytest.mark.skipif(not PYTHON.is_file(), reason="cryosparc-tools is not installed: make envs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the last job's files lie, under the names that CryoSPARC gives them."""
    job = tmp_path / "J3"
    job.mkdir()
    for name in ("J3_00010_particles.cs", "J3_00062_particles.cs", "J3_passthrough_particles_all_classes.cs"):
        (job / name).write_bytes(b"")
    for k in range(2):
        (job / f"J3_class_0{k}_00062_volume.mrc").write_bytes(b"")
    return tmp_path


def called(folder: Path, **changed: Any) -> dict[str, Any]:
    settings = {
        "project": "P3",
        "workspace_title": "hydra-bench-0-abc",
        "lane": "gpus",
        "particles": "/data/stack/particles.star",
        "classes": 2,
        "seed": 5,
        "refine": True,
        "upload": False,
        "import_params": {"sign": 1},
        "abinit_params": {"abinit_max_res": 20},
        "refine_params": {},
    }
    (folder / "settings.json").write_text(json.dumps(settings | changed))
    checker = Path(__file__).parent / "cryosparc_calls.py"
    command = [PYTHON, checker, SCRIPT, folder / "settings.json", folder, folder / "J3"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_jobs_are_built_by_calls_that_the_package_takes(folder: Path) -> None:
    found = called(folder)
    title = "hydra-bench-0-abc"
    files = {"particle_meta_path": "/data/stack/particles.star", "particle_blob_path": "/data/stack", "sign": 1}
    abinit = {"random_seed": 5, "abinit_K": 2, "abinit_max_res": 20}
    maps = [["J2", "volume_class_0"], ["J2", "volume_class_1"]]
    inputs = {"particles": ["J2", "particles_all_classes"], "volume": maps}
    assert found["calls"] == [
        ["workspace", title],
        ["create", "W1", "import_particles", {}, files, title],
        ["queue", "J1", None],
        ["create", "W1", "homo_abinit", {"particles": ["J1", "imported_particles"]}, abinit, title],
        ["queue", "J2", "gpus"],
        ["create", "W1", "hetero_refine", inputs, {}, title],
        ["queue", "J3", "gpus"],
    ]
    assert found["again"] == []
    account = json.loads((folder / "jobs.json").read_text())
    assert (account["version"], account["last"]) == ("v5.0.3", "J3")
    assert [(step["status"], step["wall_s"], step["seeded"]) for step in account["steps"].values()] == [
        ("completed", 120, False),
        ("completed", 120, True),
        ("completed", 120, False),
    ]
    fetched = method_cards.method_module("cryosparc_import/files.py").job_files({"job": str(folder / "files")})
    assert fetched.particles.name == "J3_00062_particles.cs"
    assert [path.name for path in fetched.volumes] == [f"J3_class_0{k}_00062_volume.mrc" for k in range(2)]


def test_a_stack_may_be_sent_and_one_class_is_refined_homogeneously(folder: Path) -> None:
    star = folder / "particles.star"
    star.touch()
    (folder / "particles.mrcs").touch()
    found = called(folder, upload=True, particles=str(star), classes=1)["calls"]
    target = "hydra_bench/hydra-bench-0-abc"
    assert found[:2] == [["upload", f"{target}/particles.star"], ["upload", f"{target}/particles.mrcs"]]
    assert found[3][4]["particle_meta_path"] == f"/projects/P3/{target}/particles.star"
    assert [call[2] for call in found if call[0] == "create"] == ["import_particles", "homo_abinit", "homo_refine_new"]


def test_a_server_that_does_not_answer_is_a_failed_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens on that port."""
    for name, value in (("BASE_URL", "http://127.0.0.1:9"), ("PROJECT", "P3"), ("EMAIL", "me"), ("PASSWORD", "secret")):
        monkeypatch.setenv(f"CRYOSPARC_{name}", value)
    for name in ("MASTER_HOSTNAME", "BASE_PORT"):
        monkeypatch.delenv(f"CRYOSPARC_{name}", raising=False)
    stack = tmp_path / "stack"
    write_stack_star(stack, Defocus(*np.full((4, 1), 1e4)), Optics(300, 2.7, 0.1), 16, 4.0, np.zeros(0))
    with ImageStackWriter(stack / "particles.mrcs", 1, 16, 4.0) as writer:
        writer.write(np.zeros(1, np.int64), np.ones((1, 16, 16)))
    parameters = method_cards.filled_parameters("cryosparc", {})
    definition = json.dumps({"name": "sparc", "program": "cryosparc", "parameters": parameters})
    files = ["--particles", str(stack / "particles.star"), "--evaluation-list", str(stack / "evaluation_particles.txt")]
    places = ["--state", str(tmp_path / "state"), "--out", str(tmp_path / "out")]
    places += ["--environments", str(PYTHON.parents[2])]
    assert main(["reconstruct", *files, *places, "--definition", definition]) == 0
    run = read_run(tmp_path / "out")
    assert run.state == "failed"
    assert "cryosparc-tools 5.0.3: Could not connect to CryoSPARC at http://127.0.0.1:9" in run.reason
    assert run.notes["versions"] == {"cryosparc-tools": "5.0.3"}
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert not kept
