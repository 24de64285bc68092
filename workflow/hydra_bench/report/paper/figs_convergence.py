"""Loss, ARI, resolution, entropy of the class posteriors and classes in use against images seen."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from hydra_bench.contracts.reconstruction import EMPTY_TEXT, least_share
from hydra_bench.report.figures.convergence import read_history
from hydra_bench.report.figures.method_lines import method_legend
from hydra_bench.report.figures.style import Picture
from hydra_bench.report.paper.shown_runs import ShownRuns
from hydra_bench.report.results import EvaluatedRun

_PANELS = {
    "loss": "loss",
    "ari": "ARI",
    "resolution_A": "resolution used (Å)",
    "entropy": "entropy of the\nposteriors (nats)",
    "classes_in_use": "classes that\nare not empty",
}


def draw(shown: ShownRuns) -> list[Picture]:
    """One panel a quantity that any method wrote down, one line a run. None where no method left a history."""
    histories = [(run, history) for run in shown.all_runs if run.ok and (history := _history(run)) is not None]
    panels = {column: name for column, name in _PANELS.items() if any(column in history for _, history in histories)}
    if not panels:
        return []
    figure = Figure(figsize=(7.2, 1.5 * len(panels) + 1.0), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (column, name) in zip(axes, panels.items(), strict=True):
        for run, history in histories:
            if column in history:
                look = shown.lines[run.method].look
                ax.plot(history["images_seen"] / 1e3, history[column], linewidth=1.3, **look)
        ax.set_ylabel(name)
        _set_scale(ax, column)
    axes[-1].set_xlabel("images seen (thousands, repeats counted)")
    figure.align_ylabels(axes)
    method_legend(figure, [run for run, _ in histories], shown.lines)
    text = (
        "How runs went: loss (comparable within a phase and resolution of one method only), ARI of the labels after "
        "each epoch (of methods that leave them), the resolution of the images used, the mean entropy of the "
        f"particles' class posteriors, and the number of classes that have {EMPTY_TEXT}. One line a seed."
    )
    return [Picture("convergence", "Convergence", text, figure)]


def _set_scale(ax: Axes, column: str) -> None:
    if column == "ari":
        ax.set_ylim(min(-0.03, ax.get_ylim()[0]), 1.03)
    elif column == "classes_in_use":
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    elif column == "resolution_A":
        ax.set_yscale("log")
        ax.invert_yaxis()
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())


def _history(run: EvaluatedRun) -> pd.DataFrame | None:
    """A run's history with `resolution_A` and `classes_in_use`, as far as it tells them."""
    history = read_history(run)
    if history is None:
        return None
    if "l" in history:
        history["resolution_A"] = run.box_px * run.pixel_size_A / history["l"]
    sizes = history.filter(regex=r"^size_\d+$")
    if sizes.shape[1]:
        least = least_share(sizes.shape[1]) * run.n_particles
        history["classes_in_use"] = (sizes >= least).sum(axis=1)
    return history
