"""The report of what is finished of a run of the workflow: what has no metrics yet is a row that says why."""

import os
import shutil
from pathlib import Path

from hydra_bench.config import configuration as config
from hydra_bench.config.identity import state_folder
from hydra_bench.config.method_definitions import reads_truth
from hydra_bench.contracts.metrics_file import INTERRUPTED, MetricsFile, RunCost, read_metrics_file, write_metrics
from hydra_bench.contracts.places import Results, RunPlaces
from hydra_bench.contracts.reconstruction import FAILED
from hydra_bench.core.errors import InputError
from hydra_bench.core.machine import MEMORY
from hydra_bench.jobs import attempts, slurm
from hydra_bench.report.figures.index import write_figures
from hydra_bench.report.page.page import write_page
from hydra_bench.report.tables.tables import write_tables

_OLD = 1.0
"""Modification time of what is written here, so that Snakemake makes it anew when more is finished."""


def summarise(configuration: Path | str, folder: Path | str) -> None:
    """Write tables, figures and page into a results folder, from metrics that are there and rows for what is not.

    Raises InputError if the configuration cannot be read.
    """
    settings = config.validate(config.load([configuration]))
    results = Results(Path(folder))
    shutil.rmtree(results.unfinished, ignore_errors=True)
    paths = [
        _finished(run) or _write_unfinished(settings, run, seed)
        for dataset in settings["datasets"]
        for method in settings["methods"]
        for seed in settings["seeds"]
        for run in [results.run(dataset, method, seed)]
    ]
    nodes = settings["report"]["nodes"]
    write_tables(paths, results.tables.folder, nodes)
    shutil.rmtree(results.figures, ignore_errors=True)
    write_figures(paths, results.figures)
    write_page(paths, results.tables.folder, results.figures, results.page, nodes)
    for path in (results.tables.folder, results.figures, results.page):
        for made in [path, *path.rglob("*")]:
            os.utime(made, (_OLD, _OLD))


def _finished(run: RunPlaces) -> Path | None:
    """The metrics of a run, None if there are none that can be read."""
    try:
        read_metrics_file(run.metrics)
    except InputError:
        return None
    return run.metrics


def _write_unfinished(settings: config.Config, run: RunPlaces, seed: int) -> Path:
    """Metrics of a run that gave none: state failed or interrupted, and all that is known of why."""
    made = attempts.read(state_folder(settings, run.dataset, run.method, seed))
    limit = _limit(made)
    metrics = MetricsFile(
        dataset=run.dataset,
        method=run.method,
        label=settings["method_definitions"][run.method]["label"],
        seed=seed,
        state=_state(run, made, limit),
        reason=_reason(run, made, limit),
        reads_truth=reads_truth(settings["method_definitions"], run.method),
        cost=_cost(made),
    )
    write_metrics(run.unfinished, metrics)
    return run.unfinished


def _limit(made: list[attempts.Attempt]) -> str:
    """Which limit of its job the last attempt was ended for, "" for none: see slurm.exceeded_limit."""
    if not made or not made[-1].killed or not made[-1].start.slurm_job:
        return ""
    return slurm.exceeded_limit(made[-1].start.slurm_job)


def _state(run: RunPlaces, made: list[attempts.Attempt], limit: str) -> str:
    """Failed if its last attempt ended by itself, or took more memory or time than it may."""
    begun = bool(made) and not run.reconstruction.is_dir()
    return FAILED if begun and (limit or not made[-1].interrupted) else INTERRUPTED


def _cost(made: list[attempts.Attempt]) -> RunCost:
    """What all attempts cost together."""
    known = attempts.summed(made)
    return RunCost(
        wall_s=known.wall_s,
        cpu_s=known.cpu_s,
        peak_rss_mb=known.peak_rss_mb,
        gpu_memory_mb=0.0,
        node=made[-1].start.node if made else "",
        gpus=made[-1].start.gpus if made else "",
        slurm_job=made[-1].start.slurm_job if made else "",
        attempts=len(made),
        attempts_lost=sum(attempt.end is None for attempt in made),
    )


def _reason(run: RunPlaces, made: list[attempts.Attempt], limit: str) -> str:
    """In words: how often it was tried, and the last thing that was said."""
    if run.reconstruction.is_dir():
        return "reconstructed, but not evaluated"
    if not made:
        return "did not start"
    times = f"{len(made)} attempt{'s' * (len(made) > 1)}"
    if limit:
        return f"{times}; the last one took more {limit} than its job may"
    if made[-1].end is None:
        return f"{times}; the last one was killed, or is still running"
    log = run.log("reconstruct")
    mark = "hydra-bench: error: "
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    if made[-1].end.cause == MEMORY:
        return f"{times}; the last one took more memory than its job may"
    said = [line.removeprefix(mark) for line in lines if line.startswith(mark)]
    return f"{times}; {said[-1] if said else f'exit status {made[-1].end.status}, see {log}'}"
