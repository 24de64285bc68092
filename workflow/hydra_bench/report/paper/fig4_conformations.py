"""Each class's latent space by true class and true coordinate, with the method's own maps at the white dots."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.report.figures.latents import has_latents, scatter, scatter_species, species_legend
from hydra_bench.report.figures.rendered_maps import RenderedMaps, largest_with_map
from hydra_bench.report.figures.style import Look, Picture, wrapped
from hydra_bench.report.paper.marked_particles import MOST_MARKED, MarkedParticle, marked_particles, members_of
from hydra_bench.report.paper.shown_runs import ShownRuns
from hydra_bench.report.results import EvaluatedRun, true_coordinate

_SIDE, _MAPS_HEIGHT = 2.5, 1.6
_MOST_CLASSES = 4
_LETTERS = "abc"
_UNKNOWN = "#BBBBBB"


@dataclass(frozen=True)
class Column:
    """A class: its label (1-based), the indices of its particles, and those whose maps are shown."""

    label: int
    members: IntArray
    marked: list[MarkedParticle]


def draw(shown: ShownRuns) -> Picture | None:
    """Columns: classes with particles, the largest first. None for a method without latents."""
    run = shown.main
    if not has_latents(run):
        return None
    maps = RenderedMaps([run])
    if not maps.scenes:
        return None
    coordinate = true_coordinate(run)
    columns = [
        Column(label, members_of(run, label), marked_particles(run, label, coordinate))
        for label in largest_with_map(run, _MOST_CLASSES)
    ]
    with_maps = any(column.marked for column in columns)
    # Latents take a square, the marked maps a row of three below them.
    heights = [_SIDE] * (1 if coordinate is None else 2) + [_MAPS_HEIGHT] * with_maps
    figure = Figure(figsize=(_SIDE * len(columns) + 1.0, sum(heights) + 0.7), layout="constrained")
    grid = figure.add_gridspec(len(heights), len(columns), height_ratios=heights)
    sizes = run.clustering.label_sizes
    for c, column in enumerate(columns):
        ax = figure.add_subplot(grid[0, c])
        scatter_species(ax, run, column.members)
        size = sizes[column.label - 1]
        ax.set_title(f"{run.label_name(column.label)}: {size:,}" if run.noun == "class" else f"cluster {column.label}")
        _mark(ax, column)
        if coordinate is not None:
            below = figure.add_subplot(grid[1, c])
            _scatter_coordinate(below, run, column.members, coordinate)
            _mark(below, column)
        if with_maps:
            inner = grid[len(heights) - 1, c].subgridspec(1, MOST_MARKED)
            axes = [figure.add_subplot(inner[0, n]) for n in range(len(column.marked))]
            _draw_marked_maps(axes, run, column, maps, coordinate)
    title = f"{run.judge_adjective} class"
    species_legend(figure, run, 4, loc="outside upper center", title=title)
    text = (
        f"Latent space of each class of {run.label}, by {run.judge_adjective} class"
        f"{'' if coordinate is None else ' and, below, by true coordinate'}. "
    )
    if with_maps:
        text += (
            "Bottom: the method's own maps of the particles at the white dots, which lie along the main axis"
            f"{'' if coordinate is None else ' or the direction in which the true coordinate changes most'}. "
            f"{maps.level_text} "
        )
    return Picture("fig4", "Conformations in the latent spaces", f"{text}Seed {run.seed}.", figure, run.method)


def _mark(ax: Axes, column: Column) -> None:
    look: Look = {"marker": "o", "markersize": 8, "color": "white", "markeredgecolor": "black", "linestyle": ""}
    for letter, marked in zip(_LETTERS, column.marked, strict=False):
        ax.plot(*marked.latents, **look, zorder=5)
        ax.annotate(letter, marked.latents, ha="center", va="center", fontsize=6.5, zorder=6)


def _scatter_coordinate(ax: Axes, run: EvaluatedRun, members: IntArray, coordinate: FloatArray) -> None:
    values = coordinate[members]
    known = ~np.isnan(values)
    scatter(ax, run, members[~known], [_UNKNOWN] * int((~known).sum()))
    lowest, highest = (float(np.nanmin(values)), float(np.nanmax(values))) if known.any() else (0.0, 1.0)
    scale = ScalarMappable(Normalize(lowest, highest), "viridis")
    scatter(ax, run, members[known], list(scale.to_rgba(values[known])))
    if known.any():
        bar = ax.figure.colorbar(scale, ax=ax, shrink=0.85, pad=0.02)
        bar.set_label("true coordinate (° where parts turn)", fontsize=8)
        bar.outline.set_visible(False)


def _draw_marked_maps(
    axes: list[Axes], run: EvaluatedRun, column: Column, maps: RenderedMaps, coordinate: FloatArray | None
) -> None:
    for ax, letter, marked in zip(axes, _LETTERS, column.marked, strict=False):
        maps.draw(ax, maps.of_volume(marked.volume, run.clustering.species_of(column.label)))
        text = wrapped(f"{letter}: particle {marked.particle + 1:,}", _SIDE / MOST_MARKED, 7)
        if coordinate is not None and not np.isnan(coordinate[marked.particle]):
            text += f"\n{run.judge_adjective} {coordinate[marked.particle]:.1f}"
        ax.set_xlabel(text, fontsize=7)
