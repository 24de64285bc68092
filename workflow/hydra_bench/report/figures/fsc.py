"""Fourier shell correlation with the true maps: curves, and the area under them."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator

from hydra_bench.report.figures.method_lines import Line, method_legend
from hydra_bench.report.figures.style import MOST_SPECIES, Colour, Look, Picture, species_colour, wrapped
from hydra_bench.report.results import EvaluatedRun
from hydra_bench.report.tables.rows import spread

_RESOLUTIONS_A = (200, 100, 50, 40, 30, 25, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3.5, 3, 2.5, 2, 1.5)
_LEAST_GAP = 0.13
_NAMED = 3
"""Species of lowest FSC-AUC that have a curve of their own where there are too many for one each."""
_QUANTILES = (5, 25, 50, 75, 95)


def fsc_curves(runs: list[EvaluatedRun], lines: dict[str, Line]) -> Picture:
    """One panel a species, one curve a method: the mean over the species' images and ±1 sd.

    Of more species than MOST_SPECIES, one panel a method, with quantiles over species.
    """
    compared = {entry.class_name for run in runs for entry in run.fsc.per_class}
    names = [name for name in runs[0].class_names if name in compared]
    if len(names) > MOST_SPECIES:
        return _fsc_of_many(runs, lines)
    n_columns = min(len(names), 3)
    n_rows = math.ceil(len(names) / n_columns)
    figure = Figure(figsize=(max(2.75 * n_columns, 4.6), 2.75 * n_rows + 0.7), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for k, (ax, name) in enumerate(zip(axes.flat, names, strict=False)):
        for run in runs:
            draw_curve(ax, run, name, lines[run.method])
        dress_fsc_axes(ax, runs[0].fsc.frequency_per_A, name)
        if k % n_columns == 0:
            ax.set_ylabel("FSC")
    method_legend(figure, runs, lines)
    caption = (
        "Fourier shell correlation of each method's own volume for a particle with that particle's true map, after "
        "alignment over rotation, shift and hand: mean over the evaluated particles of a species, band ±1 sd. Thin "
        f"lines: 0.5 and 0.143. Mask: {runs[0].fsc.mask}. Bounds are grey. Seed {runs[0].seed}."
    )
    return Picture("fsc", "FSC curves", caption, figure)


def _fsc_of_many(runs: list[EvaluatedRun], lines: dict[str, Line]) -> Picture:
    n_columns = min(len(runs), 3)
    n_rows = math.ceil(len(runs) / n_columns)
    figure = Figure(figsize=(max(3.2 * n_columns, 4.6), 3.5 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    for ax in axes.flat[len(runs) :]:
        ax.set_axis_off()
    for n, (ax, run) in enumerate(zip(axes.flat, runs, strict=False)):
        draw_quantiles(ax, run, lines[run.method].colour)
        dress_fsc_axes(ax, run.fsc.frequency_per_A, run.label)
        if n % n_columns == 0:
            ax.set_ylabel("FSC")
    caption = (
        "Fourier shell correlation of each method's own volume for a particle with that particle's true map, after "
        f"alignment over rotation, shift and hand: mean over the evaluated particles of each species. {QUANTILES_TEXT} "
        f"Thin lines: 0.5 and 0.143. Mask: {runs[0].fsc.mask}. Bounds are grey. Seed {runs[0].seed}."
    )
    return Picture("fsc", "FSC curves", caption, figure)


QUANTILES_TEXT = (
    "Thick line: the median over species; bands: the middle half of the species, and all but a twentieth at either "
    f"end; broken lines: the {_NAMED} species of lowest FSC-AUC, with it."
)


def draw_quantiles(ax: Axes, run: EvaluatedRun, colour: Colour) -> None:
    """A run's mean curves of all species as median and quantiles over species, and the worst few by name."""
    frequency = run.fsc.frequency_per_A
    curves = np.array([entry.curve_mean for entry in run.fsc.per_class])
    lowest, low, median, high, highest = np.percentile(curves, _QUANTILES, axis=0)
    for bottom, top, opacity in ((lowest, highest, 0.12), (low, high, 0.25)):
        ax.fill_between(frequency, bottom, top, color=colour, alpha=opacity, linewidth=0)
    ax.plot(frequency, median, color=colour, linewidth=2)
    worst = sorted(run.fsc.per_class, key=lambda entry: entry.auc_mean)[:_NAMED]
    for entry, dashes in zip(worst, ("--", "-.", ":"), strict=False):
        look: Look = {"color": "#444444", "linewidth": 1, "linestyle": dashes}
        ax.plot(frequency, entry.curve_mean, label=f"{entry.class_name} {entry.auc_mean:.2f}", **look)
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.2), fontsize=7.5)


def draw_curve(ax: Axes, run: EvaluatedRun, species: str, line: Line) -> None:
    """A run's mean curve of a species and ±1 sd; nothing where no particle of it was evaluated."""
    entry = next((e for e in run.fsc.per_class if e.class_name == species), None)
    if entry is None:
        return
    frequency = run.fsc.frequency_per_A
    mean, sd = np.array(entry.curve_mean), np.array(entry.curve_sd)
    ax.plot(frequency, mean, linewidth=1.5, **line.look)
    ax.fill_between(frequency, mean - sd, mean + sd, color=line.colour, alpha=0.14, linewidth=0)


def dress_fsc_axes(ax: Axes, frequency: list[float], species: str) -> None:
    """Limits, the 0.5 and 0.143 lines, and resolutions along the top."""
    end = max(frequency)
    ax.set(xlim=(0, end), ylim=(-0.1, 1.03), xlabel="spatial frequency (1/Å)")
    ax.locator_params(axis="x", nbins=5)
    for level in (0.5, 0.143):
        ax.axhline(level, color="#888888", linewidth=0.6, zorder=0)
        ax.text(0.015 * end, level + 0.012, f"{level:g}", va="bottom", fontsize=7, color="#666666")
    shown = _resolution_ticks(end)
    top = ax.secondary_xaxis("top")
    top.xaxis.set_major_locator(FixedLocator([1 / d for d in shown]))
    top.xaxis.set_major_formatter(FixedFormatter([f"{d:g}" for d in shown]))
    top.set_xlabel("resolution (Å)", fontsize=8)
    top.tick_params(labelsize=8)
    ax.set_title(wrapped(species, 2.2), fontweight="bold")


def _resolution_ticks(end: float) -> list[float]:
    """Round resolutions in Å that lie apart on an axis of 0..end (1/Å)."""
    shown: list[float] = []
    for d in _RESOLUTIONS_A:
        if 1 / d <= end and 1 / d >= 0.1 * end and (not shown or (1 / d - 1 / shown[-1]) / end >= _LEAST_GAP):
            shown.append(d)
    return shown


def auc_strips(runs: list[EvaluatedRun]) -> Picture:
    """Every evaluated particle's FSC-AUC, one row a method, with mean ± sd."""
    names = runs[0].class_names
    figure = Figure(figsize=(7.2, 0.5 * len(runs) + 1.4), layout="constrained")
    ax = figure.subplots()
    jitter = np.random.default_rng(0)
    lowest = 0.0
    for row, run in enumerate(runs):
        values = np.array([p.auc for p in run.fsc.per_particle])
        colours = [species_colour(p.true_class) for p in run.fsc.per_particle]
        lowest = min(lowest, values.min(initial=0.0))
        heights = row + jitter.uniform(-0.24, 0.24, len(values))
        ax.scatter(values, heights, c=colours, s=11, alpha=0.8, linewidths=0, rasterized=True)
        mean, sd = run.fsc.auc_mean, run.fsc.auc_sd
        ax.errorbar(mean, row, xerr=sd, color="black", marker="D", markersize=4, capsize=3, linewidth=1.1)
        ax.text(1.02, row, spread(mean, sd), transform=ax.get_yaxis_transform(), va="center", fontsize=8.5)
    ax.set_yticks(range(len(runs)), [wrapped(run.label, 1.8) for run in runs])
    ax.set(xlim=(lowest - 0.02, 1.01), ylim=(len(runs) - 0.5, -0.5), xlabel="FSC-AUC (mean FSC over shells, 0 to 1)")
    ax.grid(axis="x", color="#E4E4E4", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    named = enumerate(names if len(names) <= MOST_SPECIES else [])
    dots = [Line2D([], [], linestyle="", marker="o", color=species_colour(k), label=n) for k, n in named]
    mean_mark = Line2D([], [], color="black", marker="D", markersize=4, linewidth=1.1, label="mean ± sd")
    figure.legend(handles=[*dots, mean_mark], loc="outside lower center", ncols=min(len(dots) + 1, 5))
    caption = (
        "FSC-AUC of every evaluated particle, coloured by true class, with mean ± 1 sd over particles (the number on "
        f"the right). Mask: {runs[0].fsc.mask}. Seed {runs[0].seed}."
    )
    return Picture("fsc_auc", "FSC-AUC per particle", caption, figure)
