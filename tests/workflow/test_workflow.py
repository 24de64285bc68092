"""The whole workflow, small: structures in, a report out, through Snakemake and with nothing replaced."""

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import handing_in
import numpy as np
import pytest
from clone import INSTALLED, Clone
from independent_scores import deviations
from net_runs import arguments, configuration
from packaging.utils import canonicalize_name
from test_net import check_results
from warm_commands import RECORDER

from hydra_bench.contracts.reconstruction import read_assignments
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.checksums import write_checksums
from hydra_bench.core.files import read_json
from hydra_bench.jobs.doctor import OF_THE_WORKFLOW, requirements
from hydra_bench.sharing.archive import unpacked
from hydra_bench.sharing.board import Submission, add
from hydra_bench.sharing.identity import identity_of

SMALL, N = arguments("config"), 120
NOT_REACHED = {"requests", "rocrate", "urllib3"}
"""What hydra-bench needs only where it fetches, and where it makes an archive: in no job."""
COLUMNS = "dataset,method,n_seeds,ari_mean,ari_sd,fsc_auc_mean,fsc_auc_sd,wall_s,peak_rss_mb,state"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the names of what is imported while the workflow runs, a file a process."""
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture(scope="module")
def finished(make_clone: Callable[[Path], Clone], warm: Path, recorded: Path) -> Clone:
    clone = make_clone(warm)
    clone.add_net()
    known = os.environ.get("PYTHONPATH")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(RECORDER), *([known] if known else [])]))
        patch.setenv("RECORDED_IMPORTS", str(recorded))
        clone.run(*SMALL)
    return clone


@pytest.fixture(scope="module")
def rows(finished: Clone) -> dict[str, dict[str, str]]:
    """The rows of the table by their labels."""
    lines = (finished.folder / "results" / "tables" / "table1.csv").read_text().splitlines()
    assert lines[0].startswith(f"{COLUMNS},")
    return {row["method"]: row for row in csv.DictReader(lines)}


def test_the_table_has_a_row_for_each_method(finished: Clone) -> None:
    check_results(finished.folder / "results", "config")


def test_what_a_run_imports_is_what_pyproject_lists(finished: Clone, recorded: Path) -> None:
    """Read through importlib.resources, too; tests/house/test_environments.py holds the other lists to pyproject's."""
    distributions = metadata.packages_distributions()
    packages = {package for path in recorded.iterdir() for package in path.read_text().split()}
    own = {*sys.stdlib_module_names, "hydra_bench", "hydra_bench_methods", "snakemake"}
    used = {canonicalize_name(distributions[package][0]) for package in packages - own}
    listed = {canonicalize_name(requirement.name) for requirement in requirements()} - set(OF_THE_WORKFLOW)
    assert used - listed == set(), "imported, and not listed"
    assert listed - used == NOT_REACHED, "listed, and not imported"


def test_the_oracle_is_the_ceiling_and_shuffled_labels_the_floor(finished: Clone) -> None:
    oracle, shuffled = (metrics(finished.folder, name) for name in ("oracle", "shuffled"))
    assert oracle["state"] == shuffled["state"] == "ok"
    assert (oracle["given"], oracle["clustering"]["ari"], oracle["pose"]) == (["labels", "poses"], None, None)
    assert (shuffled["given"], shuffled["pose"]) == (["poses"], None)
    assert abs(shuffled["clustering"]["ari"]) < 0.2


def test_who_is_given_true_poses_is_a_bound_and_keeps_them(finished: Clone) -> None:
    given, ab_initio = (metrics(finished.folder, name) for name in ("true_poses", "hydra_k3"))
    assert given["state"] == "ok"
    assert given["reads_truth"]
    assert not ab_initio["reads_truth"]
    assert (given["given"], given["pose"], ab_initio["given"]) == (["poses"], None, [])
    assert given["clustering"]["ari"] is not None
    folder = finished.folder / "results"
    ours = read_assignments(folder / "reconstructions" / "demo" / "true_poses" / "0", N)
    truth = read_truth(folder / "datasets" / "demo" / "truth")
    np.testing.assert_allclose(ours.rotations, truth.rotations, atol=1e-4)
    np.testing.assert_allclose(ours.shifts_A, truth.shifts_A, atol=1e-3)


def test_who_begins_at_the_truth_is_a_bound_and_searches_on(finished: Clone) -> None:
    begun, ab_initio = (metrics(finished.folder, name) for name in ("hydra_from_truth", "hydra_k3"))
    assert begun["state"] == "ok"
    assert (begun["reads_truth"], begun["notes"]["init_from"], begun["given"]) == (True, "truth", [])
    assert begun["pose"] is not None  # its poses are its own, and are scored
    assert begun["clustering"]["ari"] > ab_initio["clustering"]["ari"]
    page = (finished.folder / "results" / "report" / "index.html").read_text()
    assert "Begins at poses and classes of" in page


def test_a_failed_method_is_a_failed_row_and_stops_nothing(finished: Clone, rows: dict[str, dict[str, str]]) -> None:
    failed = metrics(finished.folder, "too_many")
    assert failed["state"] == "failed"
    assert failed["reason"]
    assert [row["state"] for row in rows.values()].count("failed") == 1


def test_the_report_is_one_page_that_needs_no_other_file(finished: Clone) -> None:
    page = (finished.folder / "results" / "report" / "index.html").read_text()
    content = configuration("config")
    for name in content["methods"]:
        assert content["method_definitions"][name]["label"] in page
    # A link to the paper may be followed; nothing may be loaded.
    assert not re.search(r'<(?!a\b)[^>]*(src|href)="(http|\.\./)', page)
    assert "@import" not in page


def test_every_score_is_found_again_from_the_definitions(finished: Clone) -> None:
    """By other code, which shares nothing with the package."""
    checked = deviations(finished.folder / "results")
    wrong = [f"{what}: {deviation:.2g} off" for deviation, tolerance, what in checked if not deviation <= tolerance]
    assert not wrong
    assert len(checked) > 300


def test_figures_are_there(finished: Clone) -> None:
    assert list((finished.folder / "results" / "figures").rglob("*.svg"))


def test_a_second_run_does_nothing(finished: Clone) -> None:
    assert not finished.jobs(*SMALL)


def test_snakemakes_own_report_is_made(finished: Clone, tmp_path: Path) -> None:
    finished.run(*SMALL, "--report", str(tmp_path / "report.zip"))


def test_the_same_seed_gives_the_same_bytes_on_one_core_and_from_the_installed_command(
    finished: Clone, make_clone: Callable[[Path], Clone]
) -> None:
    again = make_clone(INSTALLED)
    again.add_net()
    again.run(*SMALL, "--cores", "1", "results/metrics/demo/hydra_k3/0.json", "results/metrics/demo/oracle/0.json")
    made = digests(again.folder)
    assert made
    assert made == {path: digest for path, digest in digests(finished.folder).items() if path in made}


def test_the_method_of_the_docs_runs_by_its_folder_alone(
    finished: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of docs/how-to/adding-a-method.md, as it stands there, in a clone whose dataset is made."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "adding-a-method.md").read_text()
    files = dict(re.findall(r"^`([^`\n]+)`, [^\n]+:\n\n```\w+\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL))
    folder = "workflow/methods/chance"
    assert set(files) == {f"{folder}/{n}" for n in ("card.yaml", "params.schema.yaml", "adapter.py")} | {"mine.yaml"}
    copied = Path(shutil.copytree(finished.folder, tmp_path / "clone", symlinks=True))
    clone = Clone(copied, finished.commands, finished.then)
    for name, text in files.items():
        (clone.folder / name).parent.mkdir(exist_ok=True)
        (clone.folder / name).write_text(text)
    # The package of that clone, which looks for methods beside itself.
    monkeypatch.setenv("PYTHONPATH", str(clone.folder / "workflow"))
    clone.run("results/tables/table1.csv", *SMALL, "mine.yaml")
    (row,) = csv.DictReader((clone.folder / "results" / "tables" / "table1.csv").read_text().splitlines())
    assert (row["method"], row["state"]) == ("chance_k2", "ok")
    assert abs(float(row["ari_mean"])) < 0.2
    assert float(row["fsc_auc_mean"]) < 0.6


def run_in(clone: Clone, command: str) -> str:
    """A command of the documents, run in a clone; what it prints."""
    environment = os.environ | {"PATH": clone.path}
    done = subprocess.run(
        ["bash", "-euc", command], cwd=clone.folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def board_rows(clone: Clone) -> dict[str, dict[str, Any]]:
    """The rows of the board by the names of their methods."""
    return {row["method"]["name"]: row for row in map(read_json, (clone.folder / "board" / "rows").glob("*.json"))}


def test_an_outsiders_files_get_a_row_by_the_five_commands_of_the_docs(finished: Clone) -> None:
    commands = [line for line in handing_in.YOURS if line]
    assert len(commands) == 5
    finished.run(*commands[0].split()[1:], *SMALL)  # there already
    reconstruction = finished.folder / "results" / "reconstructions" / "demo" / "oracle" / "0"
    stack = finished.folder / "results" / "datasets" / "demo" / "stack"
    handing_in.write_relion_files(finished.folder / "Class3D", reconstruction, stack)
    (finished.folder / "hand_in.py").write_text(handing_in.SCRIPT)
    for command in commands[2:4]:
        run_in(finished, command)
    row = board_rows(finished)["my_relion"]
    assert row["re_derived"]
    assert (row["by"], row["method"]["program"], row["handed_in_as"]) == (
        "A. Person",
        "relion_refine",
        "reconstruction",
    )
    oracle = metrics(finished.folder, "oracle")
    assert row["scores"]["clustering.ari"]["mean"] == 1
    # The bound's own maps lie in the true frame and are taken so; an outsider's are aligned.
    assert row["scores"]["fsc.auc_mean"]["mean"] == pytest.approx(oracle["fsc"]["auc_mean"], abs=0.02)
    assert row["scores"]["fsc.auc_mean"]["low"] <= row["scores"]["fsc.auc_mean"]["mean"]
    assert "RELION, my settings" in (finished.folder / "board" / "index.html").read_text()


def test_an_archive_is_scored_again_from_its_files(finished: Clone, tmp_path: Path) -> None:
    said = [run_in(finished, f"{command} 2>&1") for command in handing_in.WHOLE]
    assert re.search(r"^hydra-bench: run\.zip: too_many, seed 0, on demo: failed \(.+\); no row of it$", said[1], re.M)
    rows = board_rows(finished)
    assert {"hydra_k3", "hydra_k1", "hydra_k5"} <= set(rows)
    assert not {"oracle", "shuffled", "too_many"} & set(rows)
    for name in ("hydra_k3", "hydra_k1", "hydra_k5"):
        assert rows[name]["re_derived"]
        assert not rows[name]["differs"]
    # Another's metrics file is not believed where the dataset is at hand.
    ours = finished.folder / "results" / "datasets" / "demo"
    content = unpacked(finished.folder / "run.zip", tmp_path / "content").parent
    path = content / "results" / "metrics" / "demo" / "hydra_k1" / "0.json"
    said = read_json(path)
    said["clustering"]["ari"] = 0.99
    del said["cost"]["file_sha256"]  # a forger can do that, or compute it anew
    path.write_text(json.dumps(said))
    write_checksums(content)
    forged = Path(shutil.make_archive(str(tmp_path / "forged"), "zip", content))
    (row,) = (read_json(path) for path in add(tmp_path / "board", Submission(forged, "B. Person", ours, "hydra_k1")))
    assert row["differs"] == ["clustering.ari"]
    assert row["scores"]["clustering.ari"]["mean"] < 0.9
    (row,) = (read_json(path) for path in add(tmp_path / "board", Submission(forged, "C. Person", None, "hydra_k1")))
    assert not row["re_derived"]
    assert row["scores"]["clustering.ari"]["mean"] == 0.99


def test_a_dataset_is_its_definition_its_order_and_its_simulator(finished: Clone, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(finished.folder / "results" / "datasets" / "demo", tmp_path / "demo"))
    before = identity_of(dataset)
    path = dataset / "truth" / "provenance.json"
    content = read_json(path)
    (dataset / "truth" / "SHA256SUMS").unlink()  # the changes are wanted

    def changed(change: Callable[[dict[str, Any]], object]) -> str:
        new = json.loads(json.dumps(content))
        change(new)
        path.write_text(json.dumps(new))
        return identity_of(dataset).digest

    # Neither its name nor a key that a later version adds, nor where entries lay.
    assert changed(lambda c: c["definition"].update(name="other", new_key=None)) == before.digest
    assert changed(lambda c: c["definition"]["simulation"].update(snr=0.4)) != before.digest
    assert changed(lambda c: c.update(simulator_version=2)) != before.digest


def metrics(folder: Path, method: str) -> dict[str, Any]:
    return json.loads((folder / "results" / "metrics" / "demo" / method / "0.json").read_text())


def digests(folder: Path) -> dict[str, str]:
    """Checksums of all that was computed; of JSON without what the run cost, which alone may differ."""
    found = {}
    for kind in ("datasets", "reconstructions", "metrics"):
        for path in sorted((folder / "results" / kind).rglob("*")):
            if path.is_dir() or path.name == ".snakemake_timestamp":
                continue
            content = path.read_bytes()
            if path.suffix == ".json":
                content = json.dumps({**json.loads(content), "cost": None}).encode()
            if path.name == "history.csv":
                rows = csv.DictReader(content.decode().splitlines())
                content = json.dumps([{**row, "wall_s": None} for row in rows]).encode()
            found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found
