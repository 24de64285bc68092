"""Latent spaces: particles by their true class, one picture for each class that has a space of its own."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D

from hydra_bench.contracts.reconstruction import least_share
from hydra_bench.core.types import IntArray
from hydra_bench.report.figures.style import MOST_SPECIES, Colour, Look, Picture, species_colour, without_frame
from hydra_bench.report.results import EvaluatedRun

_MOST_POINTS = 20_000
_MOST_LABELS_NAMED = 9
_MOST_CELLS = 6


def has_latents(run: EvaluatedRun) -> bool:
    return run.metrics.latents is not None


def latent_plot(run: EvaluatedRun) -> Picture | None:
    """The 2-D picture of a method's latents by true class. None where the method has no latents.

    Each predicted class has a latent space, hence a panel, of its own. A method with one latent space for all
    shows it twice: by true class and by the label that k-means gave.
    """
    if not has_latents(run):
        return None
    count, columns = len(run.true_classes), run.latents.dimension
    particles = np.arange(0, count, math.ceil(count / _MOST_POINTS))
    own_spaces = run.noun == "class"
    figure = _class_panels(run, particles) if own_spaces else _two_readings(run, particles)
    what = "Latent coordinates" if columns <= 2 else f"The two main axes of {columns} latents"
    caption = f"{what} of each particle, coloured by {run.judge_adjective} class. " + (
        "Each predicted class has a latent space of its own, so panels have no common axes; empty classes are left out"
        f"{f', and so are all but the {MOST_SPECIES} largest' if len(run.own_sizes) > MOST_SPECIES else ''}."
        if own_spaces
        else "Right: the same points by the label that k-means on the latents gave them, which the ARI judges."
    )
    title = f"Latent space: {run.label}"
    return Picture(f"latents_{run.method}", title, f"{caption} Seed {run.seed}.", figure, run.method, interactive=True)


def _class_panels(run: EvaluatedRun, particles: IntArray) -> Figure:
    labels = _own_spaces(run, MOST_SPECIES)
    own_labels = np.array(run.own_labels)
    n_columns = min(len(labels), 4)
    n_rows = math.ceil(len(labels) / n_columns)
    figure = Figure(figsize=(max(2.2 * n_columns, 4.4), 2.3 * n_rows + 0.6), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in axes.flat[len(labels) :]:
        ax.set_axis_off()
    for ax, label in zip(axes.flat, labels, strict=False):
        scatter_species(ax, run, particles[own_labels[particles] == label])
        ax.set_title(f"class {label + 1}: {run.own_sizes[label]:,}")
    species_legend(figure, run, 4, loc="outside lower center", title=f"{run.judge_adjective} class")
    return figure


def _own_spaces(run: EvaluatedRun, most: int) -> list[int]:
    """The method's own labels (0-based) that are not empty: the `most` largest, in their order."""
    sizes = run.own_sizes
    least = least_share(len(sizes)) * sum(sizes)
    present = [label for label, size in enumerate(sizes) if size >= least]
    return sorted(sorted(present, key=lambda label: -sizes[label])[:most])


def _two_readings(run: EvaluatedRun, particles: IntArray) -> Figure:
    figure = Figure(figsize=(6.6, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    scatter_species(left, run, particles)
    left.set_title(f"by {run.judge_adjective} class")
    count = len(run.own_sizes)
    greys = [(0.1 + 0.66 * label / max(count - 1, 1),) * 3 for label in range(count)]
    scatter(right, run, particles, [greys[run.own_labels[i]] for i in particles])
    if count <= _MOST_LABELS_NAMED:
        handles = [_dot(grey, f"label {label + 1}") for label, grey in enumerate(greys)]
        right.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=min(count, 3))
    species_legend(figure, run, 4, loc="outside lower center", title=f"{run.judge_adjective} class")
    right.set_title(f"by {run.clustering.labels_from}")
    return figure


def draw_spaces(figure: FigureBase, cell: SubplotSpec, run: EvaluatedRun) -> None:
    """A run's latents in one cell of a grid: one scatter, or one a class with particles (the largest six)."""
    if not has_latents(run):
        ax = without_frame(figure.add_subplot(cell))
        ax.text(0.5, 0.5, "no latents", ha="center", va="center", color="#777777", transform=ax.transAxes)
        return
    spaces: Sequence[int | None] = _own_spaces(run, _MOST_CELLS) if run.noun == "class" else [None]
    n_rows = math.ceil(len(spaces) / 3)
    n_columns = math.ceil(len(spaces) / n_rows)
    inner = cell.subgridspec(n_rows, n_columns)
    for n, label in enumerate(spaces):
        ax = figure.add_subplot(inner[n // n_columns, n % n_columns])
        particles = None if label is None else np.flatnonzero(np.array(run.own_labels) == label)
        scatter_species(ax, run, particles)
        ax.set(xticks=[], yticks=[], ylabel="")
        ax.spines[:].set(visible=True, color="#BBBBBB")
        ax.set_xlabel("latents (a.u.)" if label is None else f"class {label + 1}", fontsize=7.5)


def scatter_species(ax: Axes, run: EvaluatedRun, particles: IntArray | None = None) -> None:
    """Latents of particles (all, or those of these indices) by true class."""
    chosen = np.arange(len(run.true_classes)) if particles is None else particles
    scatter(ax, run, chosen, [species_colour(run.true_classes[i]) for i in chosen])


def scatter(ax: Axes, run: EvaluatedRun, particles: IntArray, colours: Sequence[Colour]) -> None:
    """Latents of particles (M,) in their colours; one latent alone is spread at random across, within ±1."""
    columns = run.latents.dimension
    points = np.array(run.latents.projection)[particles]
    axis = "latent" if columns <= 2 else "principal axis"
    size = float(np.clip(6000 / max(len(points), 1), 2, 14))
    # A fixed shuffle, or the last species drawn would hide the others.
    random = np.random.default_rng(0)
    order = random.permutation(len(points))
    across = points[:, 1] if columns > 1 else random.uniform(-1, 1, len(points))
    drawn = [colours[i] for i in order]
    ax.scatter(points[order, 0], across[order], c=drawn, s=size, alpha=0.75, linewidths=0, rasterized=True)
    ax.set_xlabel(f"{axis} 1 (a.u.)")
    ax.set_ylabel(f"{axis} 2 (a.u.)" if columns > 1 else "(spread at random)")
    ax.locator_params(nbins=4)
    if columns == 1:
        ax.set(ylim=(-2.5, 2.5), yticks=[])


def mark_centres(ax: Axes, run: EvaluatedRun) -> None:
    """A cross and its number at the mean of each label's latents: k-means centres, in whichever axes."""
    points, labels = np.array(run.latents.projection), np.array(run.labels)
    for label in np.unique(labels):
        x, y = points[labels == label].mean(0)
        ax.plot(x, y, marker="X", markersize=11, color="white", markeredgecolor="black", linestyle="")
        text: Look = {"xytext": (7, 5), "textcoords": "offset points", "fontweight": "bold", "fontsize": 10}
        ax.annotate(str(label + 1), (x, y), **text)


def species_legend(drawn: Axes | FigureBase, run: EvaluatedRun, most_columns: int, **look: Any) -> None:  # keywords
    """A legend of the species; `look` is matplotlib's."""
    handles = [_dot(species_colour(k), name) for k, name in enumerate(run.class_names[:MOST_SPECIES])]
    drawn.legend(handles=handles, ncols=min(len(handles), most_columns), **look)


def _dot(colour: Colour, name: str) -> Line2D:
    return Line2D([], [], linestyle="", marker="o", markersize=6, color=colour, label=name)
