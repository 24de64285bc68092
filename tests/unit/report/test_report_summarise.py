"""The report of a workflow in which something failed, and the table of costs."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest
import yaml
from test_report_runs import identity

from hydra_bench.config.configuration import load, validate
from hydra_bench.config.identity import state_folder, write_configuration
from hydra_bench.core.files import write_json
from hydra_bench.jobs import attempts
from hydra_bench.report.results import read_all
from hydra_bench.report.summarise import summarise
from hydra_bench.report.tables.cost import cost_table

HYDRA = {"program": "hydra", "label": "Hydra"}
CONFIGURATION = {
    "datasets": ["demo"],
    "methods": ["hydra_k3", "hydra_k5", "hydra_k7", "hydra_k9", "oracle"],
    "dataset_definitions": {"demo": {"species": {s: {"entry": "3jb9", "images": 50} for s in ("z", "a")}}},
    "method_definitions": {
        **{f"hydra_k{k}": {**HYDRA, "label": f"Hydra, K={k}", "parameters": {"classes": k}} for k in (3, 5, 7, 9)},
        "oracle": {"program": "backprojection", "label": "Oracle"},
    },
}
START = attempts.Start("node7", "12", "0", "2026-01-01T00:00:00Z")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """K=3 has metrics; K=5 failed twice, K=7 was killed, K=9 was not evaluated, the oracle did not start."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIGURATION, sort_keys=False))
    settings, results = validate(load(["config.yaml"])), Path("results")
    write_configuration(results / "configuration.json", settings)
    write_json(results / "metrics" / "demo" / "hydra_k3" / "0.json", identity("hydra_k3", "Hydra, K=3", seed=0))
    failing = state_folder(settings, "demo", "hydra_k5", 0)
    for number in (1, 2):
        attempts.add(failing, START)
        attempts.add(failing, attempts.End(10.0 * number, 15.0, 900.0, 2))
    log = results / "logs" / "reconstruct" / "demo" / "hydra_k5" / "0.log"
    log.parent.mkdir(parents=True)
    log.write_text("# attempt 1\nhydra-bench: error: the first\n# attempt 2\nhydra-bench: error: the last\n")
    attempts.add(state_folder(settings, "demo", "hydra_k7", 0), START)
    (results / "reconstructions" / "demo" / "hydra_k9" / "0").mkdir(parents=True)
    return results


def test_what_is_not_finished_is_a_row_with_its_reason(results: Path) -> None:
    summarise(results / "configuration.json", results)
    table = (results / "tables" / "table1.md").read_text()
    for label, state, reason in (
        ("Hydra, K=3", "failed", "out of memory"),
        ("Hydra, K=5", "failed", "2 attempts; the last"),
        ("Hydra, K=7", "interrupted", "1 attempt; the last one was killed, or is still running"),
        ("Hydra, K=9", "interrupted", "reconstructed, but not evaluated"),
        ("Oracle", "interrupted", "did not start"),
    ):
        (row,) = (line for line in table.splitlines() if line.startswith(f"| {label} |"))
        assert row.endswith(f"| {state}: {reason} |")
    assert "Hydra, K=5" in (results / "report" / "index.html").read_text()
    with open(results / "tables" / "cost.csv") as file:
        costs = {row["method"]: row for row in csv.DictReader(file) if row["step"] == "reconstruct"}
    assert (costs["hydra_k5"]["attempts"], costs["hydra_k5"]["wall_s"], costs["hydra_k5"]["node"]) == (
        "2",
        "30",
        "node7",
    )
    assert (costs["hydra_k7"]["attempts"], costs["hydra_k7"]["attempts_lost"]) == ("1", "1")


@pytest.mark.parametrize(("status", "cause", "state"), [(2, "machine", "interrupted"), (137, "memory", "failed")])
def test_what_was_interrupted_did_not_fail(results: Path, status: int, cause: str, state: str) -> None:
    settings = validate(load(["config.yaml"]))
    attempts.add(state_folder(settings, "demo", "hydra_k5", 0), START)
    attempts.add(state_folder(settings, "demo", "hydra_k5", 0), attempts.End(1.0, 1.0, 1.0, status, cause))
    summarise(results / "configuration.json", results)
    (row,) = [line for line in (results / "tables" / "table1.csv").read_text().splitlines() if "hydra_k5" in line]
    assert f",{state}," in row


KILLED = attempts.End(1.0, 1.0, 1.0, 137, "machine")
NODE_LOST = "JobId=12 JobName=x UserId=me(1) JobState=NODE_FAIL Reason=NodeDown Dependency=(null) Requeue=1"
OUT_OF_MEMORY = "JobId=12 JobName=x UserId=me(1) JobState=OUT_OF_MEMORY Reason=OutOfMemory ExitCode=0:125"


@pytest.mark.parametrize(
    ("end", "controller", "accounting", "state", "reason"),
    [
        (None, OUT_OF_MEMORY, None, "failed", "3 attempts; the last one took more memory than its job may"),
        (KILLED, OUT_OF_MEMORY, None, "failed", "3 attempts; the last one took more memory than its job may"),
        (None, NODE_LOST, "OUT_OF_MEMORY", "interrupted", "3 attempts; the last one was killed"),
        # The controller has forgotten it.
        (None, None, "OUT_OF_MEMORY", "failed", "3 attempts; the last one took more memory than its job may"),
        (None, None, "TIMEOUT", "failed", "3 attempts; the last one took more time than its job may"),
        (KILLED, None, "CANCELLED by 1000", "interrupted", "3 attempts; "),
        (None, None, "PREEMPTED", "interrupted", "3 attempts; the last one was killed"),
        (None, None, "", "interrupted", "3 attempts; the last one was killed"),
        (None, None, None, "interrupted", "3 attempts; the last one was killed"),
        # It said itself how it ended: a disk was full, and the job that ran on was ended later.
        (attempts.End(1.0, 1.0, 1.0, 2, "machine"), OUT_OF_MEMORY, None, "interrupted", "3 attempts; "),
        (attempts.End(1.0, 1.0, 1.0, 143), None, "TIMEOUT", "interrupted", "3 attempts; "),
    ],
)
def test_what_slurm_says_of_a_killed_job_decides(
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: attempts.End | None,
    controller: str | None,
    accounting: str | None,
    state: str,
    reason: str,
) -> None:
    """None: it does not answer, as where no accounts are kept, or the job is long forgotten."""
    for name, said in (("scontrol", controller), ("sacct", accounting)):
        command = results.parent / "bin" / name
        command.parent.mkdir(exist_ok=True)
        answer = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1" if said is None else ""
        command.write_text(f"#!/bin/sh\n{answer or f'echo {shlex.quote(said or str())}'}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(results.parent / "bin"), prepend=":")
    folder = state_folder(validate(load(["config.yaml"])), "demo", "hydra_k5", 0)
    attempts.add(folder, START)
    if end is not None:
        attempts.add(folder, end)
    summarise(results / "configuration.json", results)
    (row,) = [line for line in (results / "tables" / "table1.md").read_text().splitlines() if "K=5" in line]
    assert f"| {state}: {reason}" in row


def test_snakemake_makes_it_anew_when_more_is_finished(results: Path) -> None:
    """All that is written is older than the metrics it was made of."""
    summarise(results / "configuration.json", results)
    metrics = (results / "metrics" / "demo" / "hydra_k3" / "0.json").stat().st_mtime
    for made in ("tables/table1.csv", "figures", "report/index.html"):
        assert (results / made).stat().st_mtime < metrics
    before = (results / "tables" / "table1.md").read_text()
    write_json(results / "metrics" / "demo" / "hydra_k5" / "0.json", identity("hydra_k5", "Hydra, K=5", seed=0))
    summarise(results / "configuration.json", results)
    assert before != (results / "tables" / "table1.md").read_text()
    assert not (results / "unfinished" / "demo" / "hydra_k5").exists()


def test_costs_of_steps_are_those_of_snakemakes_benchmarks(tmp_path: Path) -> None:
    path = tmp_path / "results" / "metrics" / "demo" / "hydra_k3" / "0.json"
    write_json(path, identity("hydra_k3", "Hydra, K=3", seed=0))
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    for name, line in (("simulate/demo", "9.5\t0:00:09\t800.5\t1\t1\t1\t0\t0\t90\t8.5"),
                       ("evaluate/demo/hydra_k3/0", "0.1\t0:00:00\t-\t-\t-\t-\t0\t0\t0\t0")):  # fmt: skip
        tsv = tmp_path / "results" / "logs" / f"{name}.benchmark.tsv"
        tsv.parent.mkdir(parents=True)
        tsv.write_text(header + line + "\n")
    table = cost_table(read_all([path])).set_index("step")
    assert table.loc["simulate", ["wall_s", "cpu_s", "peak_rss_mb"]].tolist() == [9.5, 8.5, 800.5]
    assert table.loc["reconstruct", "wall_s"] == 61.25
    assert table.loc["reconstruct", "device"] == "cpu"
    assert table.isna().loc["evaluate", "peak_rss_mb"]
