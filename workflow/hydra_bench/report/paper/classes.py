"""Figure 2: the class maps of every method with particle counts, its latents beside them, the truth below."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec

from hydra_bench.contracts.reconstruction import least_share
from hydra_bench.report.figures.clustering_figures import dot, scatter
from hydra_bench.report.figures.map_pictures import MapPictures, scale_bar, show_truth
from hydra_bench.report.figures.maps_figure import caption, draw_panel, panels, row_label
from hydra_bench.report.figures.style import MOST_SPECIES, Picture, species_colour, wrapped
from hydra_bench.report.paper.selection import Selection
from hydra_bench.report.results import Metrics

_SIDE, _LATENTS = 1.5, 2.6
_MOST_SPACES = 6


def draw(selection: Selection) -> Picture | None:
    """Rows: methods that compete; columns: species, then surplus classes; at the right the latents."""
    runs, first = selection.competitors, selection.main
    pictures = MapPictures(runs, selection.results)
    if not pictures.drawable:
        return None
    names = first["class_names"][:MOST_SPECIES]
    rows = [(run, panels(run, len(names))) for run in runs]
    n_columns = max([len(names)] + [1 + panel.column for _, shown in rows for panel in shown])
    left, right, top, bottom = pictures.window
    height = max(_SIDE * (bottom - top) / (right - left) + 0.35, 1.55)
    size = (_SIDE * n_columns + _LATENTS + 0.4, height * (len(rows) + 1) + 0.25)
    figure = Figure(figsize=size, layout="constrained")
    widths = [_SIDE] * n_columns + [_LATENTS]
    grid = figure.add_gridspec(len(rows) + 1, n_columns + 1, width_ratios=widths)
    for r, (run, shown) in enumerate(rows):
        axes = [_blank(figure.add_subplot(grid[r, c])) for c in range(n_columns)]
        row_label(axes[0], run.label)
        for panel in shown:
            draw_panel(axes[panel.column], run, panel, pictures)
        latent_panels(figure, grid[r, n_columns], run)
    _truth(figure, grid, len(rows), first, pictures, names)
    spaces = f"Right: latent coordinates by {first.true} class, one space for each class that has its own."
    return Picture("fig2", "Classes found, and their latents", f"{caption(runs, pictures)} {spaces}", figure)


def _truth(figure: Figure, grid: object, row: int, run: Metrics, pictures: MapPictures, names: list[str]) -> None:
    axes = [_blank(figure.add_subplot(grid[row, c])) for c in range(len(names))]
    row_label(axes[0], pictures.judge.capitalize())
    for k, (ax, name) in enumerate(zip(axes, names, strict=True)):
        show_truth(ax, pictures, k)
        text = f"{wrapped(name, _SIDE, 8.5)}\n{run['true_classes'].count(k):,} particles"
        ax.set_xlabel(text, fontsize=8.5)
    drawn = next((ax for ax in figure.axes if ax.images), None)
    if drawn is not None:
        scale_bar(drawn, pictures.radius_A)
    ax = _blank(figure.add_subplot(grid[row, -1]))
    handles = [dot(species_colour(k), name) for k, name in enumerate(names)]
    ax.legend(handles=handles, loc="center", title=f"{run.true} class", ncols=1 if len(names) <= 6 else 2)


def _blank(ax: Axes) -> Axes:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def latent_panels(figure: Figure, place: SubplotSpec, run: Metrics) -> None:
    """A run's latents in one cell of a grid: one scatter, or one a class with particles (the largest six)."""
    latents = run.get("latents")
    if not latents or not latents["columns"]:
        ax = _blank(figure.add_subplot(place))
        ax.text(0.5, 0.5, "no latents", ha="center", va="center", color="#777777", transform=ax.transAxes)
        return
    points, truth = np.array(latents["projection"]), np.array(run["true_classes"])
    labels, sizes = np.array(run.own_labels), run.own_sizes
    least = least_share(len(sizes)) * sum(sizes)
    spaces = [j for j, size in enumerate(sizes) if size >= least] if run.noun == "class" else [None]
    if len(spaces) > _MOST_SPACES:
        spaces = sorted(sorted(spaces, key=lambda j: -sizes[j])[:_MOST_SPACES])
    rows = math.ceil(len(spaces) / 3)
    inner = place.subgridspec(rows, math.ceil(len(spaces) / rows))
    for cell, j in zip(inner, spaces, strict=False):
        ax = figure.add_subplot(cell)
        mine = np.ones(len(points), bool) if j is None else labels == j
        scatter(ax, run, points[mine], [species_colour(k) for k in truth[mine]])
        ax.set(xticks=[], yticks=[], ylabel="")
        ax.spines[:].set(visible=True, color="#BBBBBB")
        ax.set_xlabel("latents (a.u.)" if j is None else f"class {j + 1}", fontsize=7.5)
