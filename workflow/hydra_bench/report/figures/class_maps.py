"""The maps of every method above the truth, as isosurfaces in the same view."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hydra_bench.contracts.reconstruction import EMPTY_TEXT
from hydra_bench.report.figures.rendered_maps import RenderedMaps, scale_bar
from hydra_bench.report.figures.style import MOST_SPECIES, Picture, wrapped
from hydra_bench.report.results import EvaluatedRun

_MOST_SURPLUS = 4


@dataclass(frozen=True)
class Panel:
    """One map of one method: its label (1-based), the column it is shown in, whether it is empty, what to say of it."""

    label: int
    column: int
    empty: bool
    text: str


def class_maps(runs: list[EvaluatedRun]) -> Picture | None:
    """One row a method, one column a species, the truth below. None where there are no maps at all."""
    maps = RenderedMaps(runs)
    n_species = len(maps.species)
    rows = [(run, panels) for run in runs if (panels := row_panels(run, n_species))]
    if not rows or not maps.scenes:
        return None
    n_rows, n_columns = len(rows) + 1, max(n_species, 1 + max(panel.column for _, panels in rows for panel in panels))
    side = 1.75 if n_columns <= 6 else max(1.1, 11 / n_columns)
    size = (0.4 + side * n_columns, (side * maps.aspect + 0.28) * n_rows + 0.15)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in axes.flat:
        maps.crop(ax)
    for row, (run, panels) in zip(axes, rows, strict=False):
        draw_row(row, run, panels, maps)
    draw_truth_row(axes[-1], runs[0], maps)
    scale_bar(next(ax for ax in axes.flat if ax.images), maps.radius_A)
    return Picture("class_maps", "Class maps", caption(runs, maps), figure)


def caption(runs: list[EvaluatedRun], maps: RenderedMaps) -> str:
    n_species = len(runs[0].class_names)
    cut = f" The first {MOST_SPECIES} of {n_species} species; the page shows all." if n_species > MOST_SPECIES else ""
    aligned = f", aligned to the {maps.true} map of their column and seen from the same side" if maps.has_truth else ""
    return (
        f"Isosurfaces of each method's maps{aligned}. {maps.level_text} Columns after the species are "
        "surplus maps, in the colour of the species they were aligned to. Empty: a class with less than "
        f"{EMPTY_TEXT}. Seed {runs[0].seed}.{cut}"
    )


def row_panels(run: EvaluatedRun, n_species: int) -> list[Panel]:
    """What a method's row shows: maps in the columns of their species, surplus and empty ones after them."""
    clustering = run.clustering
    empty = set(clustering.empty_labels)
    present = [j for j in range(1, clustering.n_labels + 1) if j in empty or run.shown_map(j) is not None]
    result: list[Panel] = []
    taken: set[int] = set()
    surplus = n_species
    for label in sorted(present, key=lambda j: (j in empty, clustering.matched_class[j - 1] is None)):
        column = run.clustering.species_of(label) or 0
        if label in empty or column in taken:
            column, surplus = surplus, surplus + 1
            if column >= n_species + _MOST_SURPLUS:
                continue
        elif column >= n_species:
            continue
        else:
            taken.add(column)
        name = run.label_name(label) if clustering.n_labels > 1 else "one map"
        size = clustering.label_sizes[label - 1]
        text = f"{name}: {size:,} particle{'' if size == 1 else 's'}"
        result.append(Panel(label, column, label in empty, text))
    return result


def draw_row(axes: Sequence[Axes], run: EvaluatedRun, panels: list[Panel], maps: RenderedMaps) -> None:
    """A method's maps, each with its label and size, in axes side by side."""
    _name_row(axes[0], run.label)
    for panel in panels:
        ax = axes[panel.column]
        ax.set_xlabel(wrapped(panel.text, _width_inches(ax), 8), fontsize=8)
        maps.draw_label(ax, run, panel.label, panel.empty)


def draw_truth_row(axes: Sequence[Axes], run: EvaluatedRun, maps: RenderedMaps) -> None:
    """The true maps, each with its species and their number of particles, in axes side by side."""
    _name_row(axes[0], run.judge.capitalize())
    for k, name in enumerate(maps.species):
        maps.draw_truth(axes[k], k)
        text = f"{wrapped(name, _width_inches(axes[k]), 8.5)}\n{run.true_classes.count(k):,} particles"
        axes[k].set_xlabel(text, fontsize=8.5)


def _name_row(ax: Axes, text: str) -> None:
    ax.set_ylabel(wrapped(text, _width_inches(ax) * 0.9), fontsize=9, fontweight="bold")


def _width_inches(ax: Axes) -> float:
    """The width of a panel, nearly."""
    figure, cell = ax.get_figure(root=True), ax.get_subplotspec()
    assert figure is not None
    assert cell is not None
    ratios = np.asarray(cell.get_gridspec().get_width_ratios(), float)
    return float(figure.get_figwidth() * ratios[cell.colspan.start] / ratios.sum())
