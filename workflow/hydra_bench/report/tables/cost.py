"""What each job of the workflow cost: from run.json for methods, from Snakemake's benchmark files for the rest."""

from pathlib import Path

import pandas as pd

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.core.reading import regular_file
from hydra_bench.report.results import EvaluatedRun, by_dataset

COLUMNS = (
    *("step", "dataset", "method", "seed", "state", "wall_s", "cpu_s", "peak_rss_mb", "gpu_memory_mb"),
    *("device", "node", "gpus", "slurm_job", "attempts", "attempts_lost", "images_seen"),
)

_MOST_BYTES = 1 << 20


def cost_table(runs: list[EvaluatedRun]) -> pd.DataFrame:
    """One row a job, in the order of the workflow: each dataset's simulation, reconstructions, evaluations.

    Of a reconstruction, all attempts count. A step that left no benchmark file has no row.
    """
    rows: list[JsonObject] = []
    for group in by_dataset(runs).values():
        for dataset in dict.fromkeys(run.dataset for run in group):
            made = runs[0].places.results.dataset(dataset)
            rows += _measured(made.benchmark("simulate"), step="simulate", dataset=dataset)
        for run in group:
            cost = {key: value for key, value in run.metrics.cost if key in COLUMNS}
            facts = {"state": run.state, "device": run.metrics.device, "images_seen": run.metrics.images_seen}
            rows.append(_identity("reconstruct", run) | facts | cost)
        for run in group:
            rows += _measured(run.places.benchmark("evaluate"), **_identity("evaluate", run))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(("seed", "attempts", "attempts_lost", "images_seen"), "Int64"))


def _identity(step: str, run: EvaluatedRun) -> JsonObject:
    return {"step": step, "dataset": run.dataset, "method": run.method, "seed": run.seed}


def _measured(path: Path, **identity: Json) -> list[JsonObject]:
    """A row from a benchmark file of Snakemake: s, max_rss in MB, cpu_time; none without one that can be read."""
    try:
        measured = pd.read_csv(regular_file(path, _MOST_BYTES), sep="\t").iloc[0]
        cost = {"wall_s": measured["s"], "cpu_s": measured["cpu_time"], "peak_rss_mb": measured["max_rss"]}
    except (InputError, OSError, ValueError, KeyError, IndexError):
        return []
    # A job too short to be looked at has a dash for what was not measured.
    return [{**identity, "state": "ok", **{key: pd.to_numeric(v, errors="coerce") for key, v in cost.items()}}]
