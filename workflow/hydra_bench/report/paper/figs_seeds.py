"""ARI and FSC-AUC of every seed."""

import numpy as np
from matplotlib.figure import Figure

from hydra_bench.contracts.metrics_file import ARI, FSC_AUC
from hydra_bench.report.figures.style import Look, Picture, wrapped
from hydra_bench.report.paper.shown_runs import ShownRuns
from hydra_bench.report.results import EvaluatedRun, by_method

_JITTER_ROWS = 0.18


def ari(run: EvaluatedRun) -> float | None:
    return ARI.of(run.metrics)


def fsc_auc(run: EvaluatedRun) -> float | None:
    return FSC_AUC.of(run.metrics)


MEASURES = {"ARI": ari, "FSC-AUC": fsc_auc}


def draw(shown: ShownRuns) -> list[Picture]:
    """One row a method, bounds too. None where no method has two seeds that ended well."""
    groups = by_method([run for run in shown.all_runs if run.ok])
    if all(len(group) < 2 for group in groups.values()):
        return []
    figure = Figure(figsize=(7.2, 0.42 * len(groups) + 1.1), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (name, measure) in zip(axes, MEASURES.items(), strict=True):
        for row, (method, group) in enumerate(groups.items()):
            values = [value for run in group if (value := measure(run)) is not None]
            rows = row + np.linspace(-_JITTER_ROWS, _JITTER_ROWS, len(values)) * (len(values) > 1)
            line = shown.lines[method]
            look: Look = {"marker": line.marker, "color": line.colour, "markersize": 4.5, "alpha": 0.85}
            ax.plot(values, rows, linestyle="", **look)
            if len(values) > 1:
                ax.plot([np.mean(values)] * 2, [row - 0.3, row + 0.3], color="black", linewidth=1.2)
        ax.set(xlabel=name, xlim=(min(-0.03, ax.get_xlim()[0]), 1.03))
        ax.grid(axis="x", color="#E4E4E4", linewidth=0.6)
    axes[0].set_yticks(range(len(groups)), [wrapped(group[0].label, 1.8) for group in groups.values()])
    axes[0].set_ylim(len(groups) - 0.5, -0.5)
    text = "Every seed of every method (dots) and the mean over seeds (bar). Bounds are grey."
    return [Picture("seeds", "Seeds", text, figure)]
