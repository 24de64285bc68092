"""Methods of other programs through real Snakemake to the page, as baselines-demo.yaml defines them, made small."""

import csv
import shutil
from pathlib import Path

import pytest
from clone import Clone
from net_runs import ROOT, configuration
from warm_commands import warm_commands

from hydra_bench.methods.programs.programs import find_executable

ENVIRONMENTS = ROOT / "build" / "envs"
OVERLAY = Path(__file__).parent / "baselines-demo.yaml"
INSTALLED = {
    "cryodrgn": find_executable("cryodrgn", ENVIRONMENTS / "cryodrgn") is not None,
    "relion": shutil.which("relion_refine") is not None,
}
PROGRAMS = {"drgnai": "cryodrgn", "cryodrgn2": "cryodrgn", "cryodrgn_fixed": "cryodrgn", "relion": "relion"}
"""What has to be installed for a program of the configuration."""

pytestmark = pytest.mark.skipif(
    not any(INSTALLED.values()), reason="neither cryodrgn nor relion is there: make envs; apt-get install relion"
)


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The state of each method's row."""
    with warm_commands(tmp_path_factory.mktemp("warm")) as commands:
        clone = Clone.make(tmp_path_factory.mktemp("clone"), commands)
        shutil.copy(OVERLAY, clone.folder / "mine.yaml")
        environments = ["--config", f"environments_folder={ENVIRONMENTS}"]
        clone.run("--cores", "2", "--configfile", "config/baselines-demo.yaml", "mine.yaml", *environments)
    page = (clone.folder / "results" / "report" / "index.html").read_text()
    assert "baselines_demo" in page
    rows = csv.DictReader((clone.folder / "results" / "tables" / "table1.csv").read_text().splitlines())
    return {row["method"]: row["state"] for row in rows}


@pytest.mark.parametrize("method", configuration("baselines-demo", OVERLAY)["methods"])
def test_a_method_of_another_program_runs_to_the_page(states: dict[str, str], method: str) -> None:
    program = configuration("baselines-demo", OVERLAY)["method_definitions"][method]["program"]
    needed = PROGRAMS.get(program)
    if needed is not None and not INSTALLED[needed]:
        assert states[method] == "failed"
        pytest.skip(f"{needed} is not installed: its row says so")
    assert states[method] == "ok"
