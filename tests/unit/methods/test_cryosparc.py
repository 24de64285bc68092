"""CryoSPARC on a server: what is said where none is configured, and what can be known without one."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hydra_cases import Case

from hydra_bench.cli.main import main
from hydra_bench.core.errors import NotConfiguredError
from hydra_bench.methods import cards as method_cards

adapter = method_cards.method_module("cryosparc/adapter.py")
VARIABLES = ("BASE_URL", "MASTER_HOSTNAME", "BASE_PORT", "EMAIL", "PASSWORD", "PROJECT", "LANE", "LICENSE_ID")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"CRYOSPARC_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_without_a_server_the_row_says_not_configured_and_what_to_set(case: Case, tmp_path: Path) -> None:
    parameters = method_cards.filled_parameters("cryosparc", {})
    definition = {"name": "sparc", "program": "cryosparc", "parameters": parameters}
    stack, out, metrics = case.stack.path, tmp_path / "out", tmp_path / "metrics" / "case" / "sparc" / "0.json"
    particles = ["--particles", str(stack)]
    files = [*particles, "--evaluation-list", str(stack.parent / "evaluation_particles.txt")]
    state = ["--state", str(tmp_path / "state"), "--environments", str(tmp_path), "--out", str(out)]
    assert main(["reconstruct", *files, *state, "--definition", json.dumps(definition)]) == 0
    names = ["--dataset", "case", "--method", "sparc", "--label", "CryoSPARC"]
    judged = ["--truth", str(stack.parents[1] / "truth"), "--reconstruction", str(out)]
    places = ["--out", str(metrics), "--aligned", str(tmp_path / "aligned")]
    assert main(["evaluate", *names, *particles, *judged, *places]) == 0
    assert main(["tables", "--metrics", str(metrics), "--out", str(tmp_path / "tables")]) == 0
    (row,) = csv.DictReader((tmp_path / "tables" / "table1.csv").read_text().splitlines())
    assert (row["method"], row["state"]) == ("sparc", "not configured")
    assert json.loads(metrics.read_text())["reason"] == (
        "not configured: set CRYOSPARC_BASE_URL (http://host:39000), CRYOSPARC_EMAIL and CRYOSPARC_PASSWORD (or log in "
        "by `python -m cryosparc.tools login`), CRYOSPARC_PROJECT (P3); docs/how-to/baselines.md says more"
    )


def test_only_what_is_missing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYOSPARC_BASE_URL", "http://here:39000")
    monkeypatch.setenv("CRYOSPARC_PROJECT", "P3")
    with pytest.raises(NotConfiguredError, match=r"^not configured: set CRYOSPARC_EMAIL and CRYOSPARC_PASSWORD \("):
        adapter.check_configured()
    adapter.login_file().parent.mkdir(parents=True)
    adapter.login_file().write_text("{}")
    assert adapter.check_configured() == "P3"
    adapter.login_file().unlink()
    monkeypatch.setenv("CRYOSPARC_EMAIL", "me@here")
    monkeypatch.setenv("CRYOSPARC_PASSWORD", "secret")
    assert adapter.check_configured() == "P3"


def script() -> Any:
    """The module of the script, which imports cryosparc-tools only when it runs."""
    return method_cards.method_module("cryosparc/run_jobs.py")


def test_only_files_of_the_last_iteration_are_fetched() -> None:
    names = [f"J4_class_0{k}_{i}_volume.mrc" for k in range(2) for i in ("00000", "00100", "final")]
    names += ["J4_00062_particles.cs", "J4_00010_particles.cs", "J4_passthrough_particles_all_classes.cs", "job.json"]
    names += ["J4_007_volume_map.mrc", "J4_007_volume_map_sharp.mrc", "J4_007_volume_map_half_A.mrc", "events.bson"]
    names += ["imported/1_particles.cs", "J4_class_00_final_volume.cs", "J4_007_volume_mask_fsc.mrc"]
    assert script().last_files(names) == [
        "J4_00062_particles.cs",
        "J4_007_volume_map.mrc",
        "J4_class_00_final_volume.mrc",
        "J4_class_01_final_volume.mrc",
        "J4_passthrough_particles_all_classes.cs",
        "job.json",
    ]


def test_what_departs_from_the_defaults_is_told() -> None:
    class Task:
        parameters = {"abinit_params": {"abinit_max_res": 20}, "refine_params": {}}  # noqa: RUF012

    steps = {"import": {"type": "import_particles"}, "abinit": {"type": "homo_abinit", "seeded": True}}
    found = adapter.departures({"steps": steps | {"refine": {"type": "hetero_refine", "seeded": False}}}, Task())
    assert found[1:] == [
        'abinit: {"abinit_max_res": 20}',
        "the seed was not passed on: hetero_refine of this CryoSPARC has no random_seed",
    ]
