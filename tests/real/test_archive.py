"""An archive before a validator of RO-Crates that was not written here."""

from __future__ import annotations

import subprocess
import zipfile
from importlib import resources
from pathlib import Path

import pytest

from hydra_bench.contracts.places import Results
from hydra_bench.sharing.archive import Author, archive

ROOT = Path(__file__).parents[2]
TINY = ROOT / ".test" / "results"
PYTHON = ROOT / "build" / "envs" / "roc-validator" / "bin" / "python"
pytestmark = pytest.mark.skipif(
    not (TINY / "report" / "index.html").is_file() or not PYTHON.is_file(),
    reason="no .test/results or no validator: `make tiny build/envs/roc-validator/installed`",
)


def issues(path: Path, profile: str) -> list[str]:
    """What the validator finds wrong."""
    context = resources.files("rocrate") / "data" / "ro-crate.jsonld"
    command = [str(PYTHON), str(Path(__file__).with_name("validate_crate.py")), str(path), str(context), profile]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == bool(done.stdout), done.stdout + done.stderr
    return done.stdout.splitlines()


def test_an_archive_is_a_workflow_crate(tmp_path: Path) -> None:
    archive(Results(TINY), tmp_path / "run.zip", Author("A. Person", "0000-0002-1825-0097"))
    assert not issues(tmp_path / "run.zip", "workflow-ro-crate-1.0")
    # The validator sees what is wrong: a crate whose file is missing is none.
    with zipfile.ZipFile(tmp_path / "run.zip") as whole, zipfile.ZipFile(tmp_path / "less.zip", "w") as less:
        for entry in whole.infolist():
            if entry.filename != "LICENSE":
                less.writestr(entry, whole.read(entry))
    assert any("LICENSE" in issue for issue in issues(tmp_path / "less.zip", "workflow-ro-crate-1.0"))
