"""The rows of Table 1: means over seeds and images, ranks, states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hydra_bench.contracts.reconstruction import FAILED, NOT_CONFIGURED, OK
from hydra_bench.report.results import Metrics, by_dataset, by_method, results_folder, settings

FIRST, SECOND = 1, 2


@dataclass(frozen=True)
class Row:
    """One method on one dataset.

    Means are over the seeds that ended well, None where none did; costs are then over those that failed. `ari_sd` is
    over seeds, None for one seed; `fsc_auc_sd` is over the images of all seeds, `fsc_auc_seed_sd` over their means.
    per_class: species -> mean and sd of the FSC-AUC over its images of all seeds. Ranks are 1, 2 or 0, among the
    dataset's competitors, by the printed digits; ties share a rank.
    """

    dataset: str
    method: str
    label: str
    is_bound: bool
    n_seeds: int
    ari_mean: float | None
    ari_sd: float | None
    fsc_auc_mean: float | None
    fsc_auc_sd: float | None
    wall_s: float | None
    peak_rss_mb: float | None
    state: str
    reason: str
    cpu_s: float | None
    n_wanted: int
    labels_from: str
    fsc_auc_seed_sd: float | None
    per_class: dict[str, tuple[float, float]]
    ari_rank: int = 0
    fsc_auc_rank: int = 0

    @property
    def seeds_text(self) -> str:
        """Seeds that ended well, and of how many where some did not or are missing."""
        return str(self.n_seeds) if self.n_seeds == self.n_wanted else f"{self.n_seeds} of {self.n_wanted}"

    @property
    def kind_of_state(self) -> str:
        """The state in one of four words, to choose rows by."""
        if self.state in (OK, NOT_CONFIGURED):
            return self.state
        return "partly ok" if self.n_seeds else FAILED


def table_rows(runs: list[Metrics]) -> list[Row]:
    """Table 1: datasets in order, in each the competitors and then the bounds."""
    rows: list[Row] = []
    for group in by_dataset(runs).values():
        wanted = len({run.seed for run in group})
        rows += _ranked([_row(seeds, wanted) for seeds in by_method(group).values()])
    return rows


def _row(seeds: list[Metrics], n_wanted: int) -> Row:
    good = [run for run in seeds if run.ok]
    wanting = [run for run in seeds if not run.ok]
    costs = [run["cost"] for run in good or seeds if run.state != NOT_CONFIGURED]
    # Without any reference labels there is no ARI.
    aris = [run["clustering"]["ari"] for run in good if run["clustering"]["ari"] is not None]
    compared = [run["fsc"] for run in good if run["fsc"]]
    aucs = [particle["auc"] for fsc in compared for particle in fsc["per_particle"]]
    seed_means = [fsc["auc_mean"] for fsc in compared]
    return Row(
        dataset=seeds[0].dataset,
        method=seeds[0].method,
        label=seeds[0].label,
        is_bound=seeds[0].is_bound,
        n_seeds=len(good),
        ari_mean=float(np.mean(aris)) if aris else None,
        ari_sd=float(np.std(aris, ddof=1)) if len(aris) > 1 else None,
        # One seed's figures are the metrics file's own, digit for digit.
        fsc_auc_mean=compared[0]["auc_mean"] if len(compared) == 1 else float(np.mean(aucs)) if aucs else None,
        fsc_auc_sd=compared[0]["auc_sd"] if len(compared) == 1 else float(np.std(aucs)) if aucs else None,
        wall_s=_mean_cost(costs, "wall_s"),
        peak_rss_mb=_mean_cost(costs, "peak_rss_mb"),
        state=_state(seeds, n_wanted),
        reason="; ".join(dict.fromkeys(run.reason for run in wanting)),
        cpu_s=_mean_cost(costs, "cpu_s"),
        n_wanted=n_wanted,
        labels_from="; ".join(dict.fromkeys(run.labels_text for run in good)),
        fsc_auc_seed_sd=float(np.std(seed_means, ddof=1)) if len(seed_means) > 1 else None,
        per_class=_per_class(compared, good[0]["class_names"] if good else []),
    )


def _mean_cost(costs: list[dict[str, Any]], key: str) -> float | None:
    return float(np.mean([cost[key] for cost in costs])) if costs else None


def _per_class(compared: list[dict[str, Any]], names: list[str]) -> dict[str, tuple[float, float]]:
    """FSC-AUC of each evaluated species over the images of all seeds: mean and sd."""
    if len(compared) == 1:
        return {entry["class_name"]: (entry["auc_mean"], entry["auc_sd"]) for entry in compared[0]["per_class"]}
    images: dict[str, list[float]] = {}
    for particle in (particle for fsc in compared for particle in fsc["per_particle"]):
        images.setdefault(names[particle["class"]], []).append(particle["auc"])
    return {name: (float(np.mean(aucs)), float(np.std(aucs))) for name, aucs in images.items()}


def _state(seeds: list[Metrics], n_wanted: int) -> str:
    """One state if all seeds share it; or how many failed, how many are not configured and how many were not run."""
    states = [run.state for run in seeds]
    if set(states) in ({FAILED}, {NOT_CONFIGURED}):
        return states[0]
    counts = [(state, states.count(state)) for state in (FAILED, NOT_CONFIGURED)]
    parts = [f"{count} of {len(seeds)} {state}" for state, count in counts if count]
    if len(seeds) < n_wanted:
        parts.append(f"{n_wanted - len(seeds)} of {n_wanted} seeds missing")
    return ", ".join(parts) or OK


def _ranked(rows: list[Row]) -> list[Row]:
    ari = _ranks([None if row.is_bound else row.ari_mean for row in rows])
    auc = _ranks([None if row.is_bound else row.fsc_auc_mean for row in rows])
    return [Row(**{**row.__dict__, "ari_rank": a, "fsc_auc_rank": f}) for row, a, f in zip(rows, ari, auc, strict=True)]


def _ranks(values: list[float | None]) -> list[int]:
    printed = [None if value is None else float(number(value)) for value in values]
    order = sorted({value for value in printed if value is not None}, reverse=True)[:SECOND]
    return [order.index(value) + 1 if value in order else 0 for value in printed]


def number(value: float | None, digits: int = 3) -> str:
    """A number at the printed digits; an en dash where there is none, and no minus before a zero."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def spread(mean: float | None, sd: float | None) -> str:
    """mean ± sd at the printed digits."""
    return number(mean) if sd is None else f"{number(mean)} ± {number(sd)}"


def footer(runs: list[Metrics]) -> str:
    """One line under a dataset's rows: what its numbers depend on."""
    facts = [f"{name}: {value}" for name, value in settings(results_folder(runs[0]), runs)]
    seeds = sorted({run.seed for run in runs})
    return "; ".join([*facts, f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"]) + "."
