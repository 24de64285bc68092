"""Every shipped configuration, made small, from its inputs to its page: nothing of a dry run, nothing replaced.

config.yaml, by itself, is in test_workflow.py. What runs here, and which part of each configuration, is said in the
overlays in net/.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from clone import Clone
from net_runs import OVERLAYS, ROOT, RUNS, arguments, configuration

EXPECTED = {
    ("config", "too_many"): ("failed", "1000 for the 120 images"),
    ("config", "single_map"): ("not applicable", "no species moves"),
    ("baselines-demo", "sparc"): ("not configured", "set CRYOSPARC_BASE_URL"),
}
"""State of the rows that do not end well, by run and method, and what the reason says; all others are ok."""
OTHER_PROGRAMS = {"drgnai", "cryodrgn2", "cryodrgn_fixed", "relion"}
LEAST_EXPERIMENTAL_ARI = 0.15
LEAST_ORACLE_FSC_AUC = {
    "cryobench": 0.5,
    "tomotwin3": 0.4,
    "ribosplike": 0.3,
    "config": 0.4,
    "readme": 0.1,
    "many": 0.1,
}


def test_every_shipped_configuration_has_a_run() -> None:
    shipped = {path.stem for path in (ROOT / "config").glob("*.yaml")}
    assert shipped == {*RUNS, "bench"}


def test_every_dataset_method_program_and_preset_has_a_run() -> None:
    contents = {name: configuration(name) for name in RUNS}
    shipped = {name: yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text()) for name in RUNS}
    run = {dataset for content in contents.values() for dataset in content["datasets"]}
    defined = {name: content.get("dataset_definitions", {}) for name, content in shipped.items()}
    # Those of a study differ in their troubles alone, all of which those that run must have.
    assert troubles(defined["robustness"]) == troubles(defined["robustness"], contents["robustness"]["datasets"])
    assert {dataset for name, found in defined.items() for dataset in found if name != "robustness"} <= run
    methods = {method: definition for name in RUNS for method, definition in methods_that_run(name).items()}
    for name, content in shipped.items():
        for method, definition in content.get("method_definitions", {}).items():
            # Overlays say why these leave some out. Other programs are in tests/real, with an overlay of their own.
            left_out = name in ("sweeps", "robustness")
            assert method in methods or left_out or definition["program"] in OTHER_PROGRAMS, method
    programs = {method["program"] for method in methods.values()}
    assert programs | OTHER_PROGRAMS == {
        path.parent.name for path in (ROOT / "workflow" / "methods").glob("*/card.yaml")
    }
    assert {"fine", "many", "paper"} <= {method.get("parameters", {}).get("preset") for method in methods.values()}


def troubles(definitions: dict[str, Any], names: Iterable[str] | None = None) -> set[str]:
    """Keys of the troubles of datasets, or of those named."""
    found = definitions.values() if names is None else (definitions[name] for name in names)
    return {key for definition in found for key in definition["simulation"].get("troubles", {})}


def test_every_way_of_being_given_poses_has_a_run() -> None:
    methods = [method for method in methods_that_run("baselines-demo").values() if method["program"] == "hydra"]
    given = {(method.get("poses_from"), method["parameters"].get("poses")) for method in methods}
    assert {("truth", "fixed"), ("consensus", "refine"), ("consensus", "fixed"), (None, None)} <= given


BY_MODULE = "ribosplike_offline"
"""The run of the net that is done from another folder, in which the workflow is a module. It reads embedded entries."""


def methods_that_run(name: str) -> dict[str, dict[str, Any]]:
    """Their definitions by their names."""
    content = configuration(name)
    return {method: content["method_definitions"][method] for method in content["methods"]}


@pytest.mark.parametrize("name", [name for name in RUNS if name not in ("config", BY_MODULE)])
def test_a_shipped_configuration_runs_to_its_page(
    name: str, make_clone: Callable[[Path], Clone], warm: Path, net_data: Path
) -> None:
    clone = make_clone(warm)
    clone.add_net(net_data)
    said = clone.run(*arguments(name))
    assert "FAILED" not in said
    check_results(clone.folder / "results", name)
    if name == "readme":
        row = next(csv.DictReader((clone.folder / "results" / "tables" / "table1.csv").read_text().splitlines()))
        assert (row["dataset"], row["n_seeds"], row["interval_of"]) == ("demo", "2", "new images and seeds")
    if name == "experimental":
        check_experiment(clone.folder / "results")
    if name == "ribosplike":
        check_motion(clone.folder / "results")
    if name == "robustness":
        check_study(clone.folder / "results")
    if name == "sweeps":
        assert len(list((clone.folder / "results" / "paper" / "demo" / "supplement").glob("*.svg"))) >= 3


def test_a_shipped_configuration_runs_to_its_page_as_a_module(tmp_path: Path, warm: Path) -> None:
    folder = Clone.with_module(tmp_path / "my lab", warm, OVERLAYS / f"{BY_MODULE}.yaml")
    folder.run("--cores", "2", "--configfile", str(ROOT / "config" / f"{BY_MODULE}.yaml"), "mine.yaml")
    check_results(folder.folder / "results", BY_MODULE)


def check_results(results: Path, name: str) -> None:
    """A row in the table, as expected, for every method on every dataset, and every dataset on the page."""
    content = configuration(name)
    rows = list(csv.DictReader((results / "tables" / "table1.csv").read_text().splitlines()))
    states = {(row["dataset"], row["method"]): row["state"] for row in rows}
    expected = {
        (dataset, method): EXPECTED.get((name, method), ("ok", ""))[0]
        for dataset in content["datasets"]
        for method in content["methods"]
    }
    assert states == expected, reasons(results)
    for (run, method), (_, words) in EXPECTED.items():
        if run == name:
            assert words in reasons(results)[method]
    for row in rows:
        if row["method"] == "oracle":
            assert (row["ari_mean"], row["given"]) == ("", "labels; poses")
            assert float(row["fsc_auc_mean"]) > LEAST_ORACLE_FSC_AUC[name]
    page = (results / "report" / "index.html").read_text()
    assert re.findall(r"<section[^>]*>\s*<h2 [^>]*>([^<]*)</h2>", page) == content["datasets"]


def check_motion(results: Path) -> None:
    """Species that move are read against the best single map, to which gains are differences, and not normalised."""
    rows = {row["method"]: row for row in csv.DictReader((results / "tables" / "table1.csv").read_text().splitlines())}
    assert abs(float(rows["single_map"]["fsc_gain_mean"])) < 1e-3
    assert float(rows["ceiling"]["fsc_gain_mean"]) < float(rows["single_map"]["fsc_auc_mean"]) < 1
    for name in ("hydra_ribosplike", "ceiling", "oracle", "single_map"):
        assert rows[name]["fsc_auc_normalised"] == ""
        assert 0 < float(rows[name]["fsc_auc_cryobench_mean"]) < 0.5
    text = (results / "tables" / "table1.md").read_text()
    assert "| Best single map |" in text
    assert "Chance 0, ceiling 1 |" not in text


def check_study(results: Path) -> None:
    """What troubles do to each method is in a table, a figure and on the page."""
    rows = list(csv.DictReader((results / "tables" / "robustness.csv").read_text().splitlines()))
    assert [(row["dataset"], row["method"]) for row in rows] == [
        (f"robust_{name}", method) for method in ("hydra_robust", "class_bound") for name in ("none", "mild")
    ]
    assert "contrast_log_sd: 0.3" in rows[1]["differs"]
    assert float(rows[2]["ari"]) > float(rows[3]["ari"])  # of the bound
    assert '<h2 id="robustness">' in (results / "report" / "index.html").read_text()
    assert (results / "figures" / "studies" / "robustness_1.svg").is_file()


def check_experiment(results: Path) -> None:
    """Labels are the job's own, windowed images no brighter than others, and what is not used is on the page."""
    found = {}
    for dataset in ("red_blood_cells", "with_reference"):
        (path,) = (results / "metrics" / dataset / "hydra_experimental").glob("*.json")
        found[dataset] = json.loads(path.read_text())
    confusion = found["red_blood_cells"]["clustering"]["confusion"]
    sizes = dict(zip(found["red_blood_cells"]["class_names"], map(sum, confusion), strict=True))
    assert (sizes["ryanodine_receptor"], sizes["p97"]) == (60, 60)
    assert sizes["complex_iii"] + sizes["junk"] == 9
    page = (results / "report" / "index.html").read_text()
    assert "not used: beam tilt (rlnBeamTiltX)" in page
    assert found["red_blood_cells"]["clustering"]["ari"] > LEAST_EXPERIMENTAL_ARI


def reasons(results: Path) -> dict[str, str]:
    """Why rows are not ok, by method."""
    runs = [json.loads(path.read_text()) for path in (results / "metrics").glob("*/*/*.json")]
    return {run["method"]: run["reason"] for run in runs if run["state"] != "ok"}


def test_the_benchmark_of_speed_measures_a_case_of_its_file(tmp_path: Path, warm: Path) -> None:
    command = [
        str(warm / "hydra-bench"),
        "bench",
        "--quick",
        "--cases",
        "pose_search",
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    folders = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, *folders], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "CPU per image" in (tmp_path / "out" / "bench.md").read_text()
