"""A report of what is finished, when a workflow ends with jobs that failed: every run that is not is a failed row."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra_bench.config import configuration as config
from hydra_bench.config.identity import state_folder
from hydra_bench.config.method_definitions import reads_truth
from hydra_bench.contracts.reconstruction import Cost
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import write_json
from hydra_bench.jobs import attempts
from hydra_bench.report.figures.index import write_figures
from hydra_bench.report.page.page import write_page
from hydra_bench.report.results import read_metrics
from hydra_bench.report.tables.tables import write_tables

FOLDER = "unfinished"
_OLD = 1.0
"""Modification time of what is written here, so that Snakemake makes it anew when more is finished."""


def summarise(configuration: Path | str, results: Path | str) -> None:
    """Write tables, figures and page into `results`, from metrics that are there and rows for what is not.

    Raises InputError if the configuration cannot be read.
    """
    settings, results = config.validate(config.load([configuration])), Path(results)
    shutil.rmtree(results / FOLDER, ignore_errors=True)
    paths = [
        finished(results, dataset, method, seed) or write_failed(settings, results, dataset, method, seed)
        for dataset in settings["datasets"]
        for method in settings["methods"]
        for seed in settings["seeds"]
    ]
    tables, figures, page = results / "tables", results / "figures", results / "report" / "index.html"
    write_tables(paths, tables)
    shutil.rmtree(figures, ignore_errors=True)
    write_figures(paths, results, figures)
    write_page(paths, tables, figures, page)
    for path in (tables, figures, page):
        for made in [path, *path.rglob("*")]:
            os.utime(made, (_OLD, _OLD))


def finished(results: Path, dataset: str, method: str, seed: int) -> Path | None:
    """The metrics of a run, None if there are none that can be read."""
    path = results / "metrics" / dataset / method / f"{seed}.json"
    try:
        read_metrics(path)
    except InputError:
        return None
    return path


def write_failed(settings: config.Config, results: Path, dataset: str, method: str, seed: int) -> Path:
    """Metrics of a run that gave none: state failed, and all that is known of why."""
    made = attempts.read(state_folder(settings, dataset, method, seed))
    content = {
        "dataset": dataset,
        "method": method,
        "label": settings["method_definitions"][method]["label"],
        "seed": seed,
        "state": "failed",
        "reason": reason(results, dataset, method, seed, made),
        "reads_truth": reads_truth(settings["method_definitions"], method),
        "cost": cost(made),
    }
    path = results / FOLDER / dataset / method / f"{seed}.json"
    write_json(path, content)
    return path


def cost(made: list[attempts.Attempt]) -> dict[str, Any]:
    """What all attempts cost together."""
    known, where = attempts.summed(made), {}
    if made:
        last = made[-1].start
        where = {"node": last.node, "gpus": last.gpus, "slurm_job": last.slurm_job}
    lost = sum(one.end is None for one in made)
    return asdict(Cost(known.wall_s, known.cpu_s, known.peak_rss_mb, attempts=len(made), attempts_lost=lost, **where))


def reason(results: Path, dataset: str, method: str, seed: int, made: list[attempts.Attempt]) -> str:
    """In words: how often it was tried, and the last thing that was said."""
    if (results / "reconstructions" / dataset / method / str(seed)).is_dir():
        return "reconstructed, but not evaluated"
    if not made:
        return "did not start"
    times = f"{len(made)} attempt{'s' * (len(made) > 1)}"
    if made[-1].end is None:
        return f"{times}; the last one was killed, or is still running"
    log, mark = results / "logs" / "reconstruct" / dataset / method / f"{seed}.log", "hydra-bench: error: "
    lines = log.read_text(errors="replace").splitlines() if log.is_file() else []
    said = [line.removeprefix(mark) for line in lines if line.startswith(mark)]
    return f"{times}; {said[-1] if said else f'exit status {made[-1].end.status}, see {log}'}"
