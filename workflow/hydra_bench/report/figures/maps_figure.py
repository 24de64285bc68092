"""The maps of every method above the truth, as isosurfaces in the same view."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hydra_bench.contracts.reconstruction import EMPTY_TEXT
from hydra_bench.report.figures.map_pictures import MapPictures, level_text, scale_bar, show, show_empty, show_truth
from hydra_bench.report.figures.style import MOST_SPECIES, Picture, wrapped
from hydra_bench.report.results import Metrics

_MOST_SURPLUS = 4


@dataclass(frozen=True)
class Panel:
    """One map of one method: its label (1-based), the column it is shown in, whether it is empty, what to say of it."""

    label: int
    column: int
    empty: bool
    text: str


def class_maps(runs: list[Metrics], results: Path) -> Picture | None:
    """One row a method, one column a species, the truth below. None where there are no maps at all."""
    names = runs[0]["class_names"][:MOST_SPECIES]
    rows = [(run, shown) for run in runs if (shown := panels(run, len(names)))]
    pictures = MapPictures(runs, results)
    if not rows or not pictures.drawable:
        return None
    n_columns = max(len(names), 1 + max(panel.column for _, shown in rows for panel in shown))
    figure, axes = _grid(len(rows) + 1, n_columns, pictures.window)
    for row, (run, shown) in zip(axes, rows, strict=False):
        row_label(row[0], run.label)
        for panel in shown:
            draw_panel(row[panel.column], run, panel, pictures)
    _truth_row(axes[-1], runs[0], pictures, len(names))
    scale_bar(next(ax for ax in axes.flat if ax.images), pictures.radius_A)
    return Picture("class_maps", "Class maps", caption(runs, pictures), figure)


def _truth_row(row: np.ndarray, run: Metrics, pictures: MapPictures, n_species: int) -> None:
    row_label(row[0], pictures.judge.capitalize())
    for k, ax in enumerate(row[:n_species]):
        show_truth(ax, pictures, k)
        name = wrapped(run["class_names"][k], _width(ax), 8.5)
        ax.set_xlabel(f"{name}\n{run['true_classes'].count(k):,} particles", fontsize=8.5)


def caption(runs: list[Metrics], pictures: MapPictures) -> str:
    n_species = len(runs[0]["class_names"])
    cut = f" The first {MOST_SPECIES} of {n_species} species; the page shows all." if n_species > MOST_SPECIES else ""
    aligned = (
        f", aligned to the {pictures.true} map of their column and seen from the same side"
        if pictures.has_truth
        else ""
    )
    return (
        f"Isosurfaces of each method's maps{aligned}. {level_text(pictures)} Columns after the species are "
        "surplus maps, in the colour of the species they were aligned to. Empty: a class with less than "
        f"{EMPTY_TEXT}. Seed {runs[0].seed}.{cut}"
    )


def panels(run: Metrics, n_species: int | None = None) -> list[Panel]:
    """What a method's row shows: maps in the columns of their species, surplus and empty ones after them."""
    clustering, n_species = run["clustering"], n_species or len(run["class_names"])
    empty = set(clustering["empty_labels"])
    present = [j for j in range(1, clustering["n_labels"] + 1) if j in empty or run.shown_map(j) is not None]
    result: list[Panel] = []
    taken: set[int] = set()
    surplus = n_species
    for j in sorted(present, key=lambda j: (j in empty, clustering["matched_class"][j - 1] is None)):
        species = run.species_of(j) or 0
        column = species
        if j in empty or species in taken:
            column, surplus = surplus, surplus + 1
            if column >= n_species + _MOST_SURPLUS:
                continue
        elif species >= n_species:
            continue
        taken |= set() if j in empty else {species}
        name = run.label_name(j) if clustering["n_labels"] > 1 else "one map"
        size = clustering["label_sizes"][j - 1]
        text = f"{name}: {size:,} particle{'' if size == 1 else 's'}"
        result.append(Panel(j, column, j in empty, text))
    return result


def draw_panel(ax: Axes, run: Metrics, panel: Panel, pictures: MapPictures) -> None:
    ax.set_xlabel(wrapped(panel.text, _width(ax), 8), fontsize=8)
    image = None if panel.empty else pictures.of_label(run, panel.label)
    if image is None:
        show_empty(ax, pictures.window)
    else:
        show(ax, image, pictures.window)


def _grid(n_rows: int, n_columns: int, window: tuple[float, float, float, float]) -> tuple[Figure, np.ndarray]:
    """Empty panels whose axes are picture px, cut to the window (left, right, top, bottom)."""
    left, right, top, bottom = window
    side = 1.75 if n_columns <= 6 else max(1.1, 11 / n_columns)
    height = side * (bottom - top) / (right - left)
    figure = Figure(figsize=(0.4 + side * n_columns, (height + 0.28) * n_rows + 0.15), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[], aspect="equal", xlim=(left, right), ylim=(bottom, top))
        ax.spines[:].set_visible(False)
    return figure, axes


def row_label(ax: Axes, text: str) -> None:
    ax.set_ylabel(wrapped(text, _width(ax) * 0.9), fontsize=9, fontweight="bold")


def _width(ax: Axes) -> float:
    """The width of a panel in inches, nearly."""
    spec = ax.get_subplotspec()
    return float(ax.get_figure(root=True).get_figwidth() / spec.get_gridspec().ncols)
