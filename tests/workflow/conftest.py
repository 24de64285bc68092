"""Fresh copies of the clone for the tests of the workflow."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from clone import Clone

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Clone]:
    def make(commands: Path) -> Clone:
        folder = tmp_path_factory.mktemp("clone")
        shutil.copy(ROOT / "Snakefile", folder)
        shutil.copy(ROOT / "slurm", folder, follow_symlinks=False)
        for name in ("config", "envs", "profiles", "workflow", "resources"):
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "cache")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        return Clone(folder, commands)

    return make
