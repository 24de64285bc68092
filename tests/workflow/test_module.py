"""The workflow as a module of another one, in a folder that is no clone and has a space in its name.

A real run of that kind is in test_net.py; here a stand-in makes empty outputs in no time, but where it is said.
"""

from pathlib import Path

import pytest
import yaml
from clone import Clone
from net_runs import OVERLAYS

STAND_IN = Path(__file__).parent
MINE = OVERLAYS / "config.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Clone:
    """One in which all has run."""
    made = Clone.with_module(tmp_path_factory.mktemp("module") / "my lab", STAND_IN, MINE, warm)
    made.run("--cores", "2")
    return made


def test_what_ran_does_not_run_again(folder: Clone) -> None:
    (folder.folder / "results" / "configuration.json").touch()
    assert not folder.jobs()


def test_another_configuration_is_checked_and_recorded_and_reruns_what_it_concerns(folder: Clone) -> None:
    assert folder.jobs("--config", "report={main_method: hydra_k3}") == {"start": 1}


def test_the_check_comes_before_every_other_job(tmp_path: Path, warm: Path) -> None:
    """With the command itself, which finds in the file that the box is too small."""
    content = yaml.safe_load(MINE.read_text())
    content["dataset_definitions"]["demo"]["simulation"] |= {"box_px": 32}
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(content, sort_keys=False))
    folder = Clone.with_module(tmp_path / "my lab", warm, mine)
    done = folder.snakemake("--cores", "2")
    assert done.returncode != 0
    assert "hydra-bench: error: dataset_definitions.demo.simulation.box_px: 32 is too small" in done.stderr
    assert "rule start:" in done.stderr
    assert "rule simulate:" not in done.stderr
    assert not (folder.folder / "results" / "datasets").exists()
