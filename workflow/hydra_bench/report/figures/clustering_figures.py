"""How particles were sorted: confusion matrices and latent spaces."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hydra_bench.contracts.reconstruction import least_share
from hydra_bench.report.figures.style import MOST_SPECIES, Picture, species_colour, wrapped
from hydra_bench.report.results import Metrics
from hydra_bench.report.tables.rows import number

_PANEL_INCHES = 2.3
_MOST_POINTS = 20_000
_MOST_PRINTED = 14
_MOST_LABELS_NAMED = 9
_MOST_TICKS = 25


def confusion_matrices(runs: list[Metrics]) -> Picture:
    """One heat map a method: rows are species, columns the method's labels."""
    widest = max(run["clustering"]["n_labels"] for run in runs)
    n_columns = min(len(runs), 3 if widest <= 6 else 2 if widest <= 12 else 1)
    n_rows, n_species = math.ceil(len(runs) / n_columns), len(runs[0]["class_names"])
    size = (1.2 + _PANEL_INCHES * n_columns, n_rows * (1.0 + min(0.42 * n_species, 5)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for i, ax in enumerate(axes.flat):
        if i < len(runs):
            image = confusion(ax, runs[i], names=i % n_columns == 0)
        else:
            ax.set_axis_off()
    bar = figure.colorbar(image, ax=axes, shrink=0.8 if n_rows == 1 else 0.5, pad=0.02)
    bar.set_label("share of the species", fontsize=8.5)
    bar.outline.set_visible(False)
    caption = (
        "Particles of each species (rows) by predicted label (columns); colour is the share of the row. Columns are "
        "ordered by the one-to-one match with species; labels with no match come last. Methods without classes "
        f"are labelled by k-means on their latents. Seed {runs[0].seed}."
    )
    return Picture("confusion", "Confusion matrices", caption, figure)


def confusion(ax: Axes, run: Metrics, names: bool) -> object:
    clustering = run["clustering"]
    counts = np.array(clustering["confusion"])
    order = run.label_order()
    counts = counts[:, order]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if counts.shape[1] <= _MOST_PRINTED:
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if shares[row, column] > 0.55 else "#333333"
            ax.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color=shade)
    ax.set_title(f"{wrapped(run.label, _PANEL_INCHES)}\nARI {number(clustering['ari'])}")
    step = math.ceil(len(order) / _MOST_TICKS)
    ax.set_xticks(range(0, len(order), step), [run.short_name(j + 1) for j in order[::step]])
    ax.set_xlabel("predicted label")
    step = math.ceil(len(counts) / _MOST_TICKS)
    shown = [wrapped(name, 1.3) if names else "" for name in run["class_names"]]
    ax.set_yticks(range(0, len(counts), step), shown[::step])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def latent_plot(run: Metrics) -> Picture | None:
    """The 2-D picture of a method's latents by true class. None where the method has no latents.

    Each predicted class has a latent space, hence a panel, of its own. A method with one latent space for all
    shows it twice: by true class and by the label that k-means gave.
    """
    latents = run.get("latents")
    if not latents or not latents["columns"]:
        return None
    points, labels, truth = (np.array(x) for x in (latents["projection"], run.own_labels, run["true_classes"]))
    kept = np.arange(0, len(points), math.ceil(len(points) / _MOST_POINTS))
    points, labels, truth = points[kept], labels[kept], truth[kept]
    own_spaces = run["clustering"]["labels_from"] == "classes"
    figure = _class_panels(run, points, labels, truth) if own_spaces else _two_readings(run, points, labels, truth)
    what = "Latent coordinates" if latents["columns"] <= 2 else f"The two main axes of {latents['columns']} latents"
    caption = f"{what} of each particle, coloured by {run.true} class. " + (
        "Each predicted class has a latent space of its own, so panels have no common axes; empty classes are left out"
        f"{f', and so are all but the {MOST_SPECIES} largest' if len(run.own_sizes) > MOST_SPECIES else ''}."
        if own_spaces
        else "Right: the same points by the label that k-means on the latents gave them, which the ARI judges."
    )
    title = f"Latent space: {run.label}"
    return Picture(f"latents_{run.method}", title, f"{caption} Seed {run.seed}.", figure, run.method, interactive=True)


def _label_numbers(run: Metrics) -> list[int]:
    """The values in `labels`, in the order of label_sizes; whether they count from 0 or 1 shows in the sizes."""
    sizes = run.own_sizes
    first = 0 if all(run.own_labels.count(j) == size for j, size in enumerate(sizes)) else 1
    return [first + j for j in range(len(sizes))]


def _class_panels(run: Metrics, points: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> Figure:
    sizes = run.own_sizes
    least = least_share(len(sizes)) * sum(sizes)
    shown = [(j, value) for j, value in enumerate(_label_numbers(run)) if sizes[j] >= least]
    if len(shown) > MOST_SPECIES:
        largest = sorted(shown, key=lambda one: -sizes[one[0]])[:MOST_SPECIES]
        shown = [one for one in shown if one in largest]
    n_columns = min(len(shown), 4)
    n_rows = math.ceil(len(shown) / n_columns)
    figure = Figure(figsize=(max(2.2 * n_columns, 4.4), 2.3 * n_rows + 0.6), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    for ax, (j, value) in zip(axes.flat, shown, strict=False):
        mine = labels == value
        scatter(ax, run, points[mine], [species_colour(k) for k in truth[mine]])
        ax.set_title(f"class {j + 1}: {sizes[j]:,}")
    _species_legend(figure, run)
    return figure


def _two_readings(run: Metrics, points: np.ndarray, labels: np.ndarray, truth: np.ndarray) -> Figure:
    figure = Figure(figsize=(6.6, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    scatter(left, run, points, [species_colour(k) for k in truth])
    left.set_title(f"by {run.true} class")
    values = _label_numbers(run)
    greys = {value: 0.1 + 0.66 * j / max(len(values) - 1, 1) for j, value in enumerate(values)}
    scatter(right, run, points, [(greys[value],) * 3 for value in labels])
    if len(values) <= _MOST_LABELS_NAMED:
        handles = [dot((greys[value],) * 3, f"label {j + 1}") for j, value in enumerate(values)]
        right.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=min(len(values), 3))
    _species_legend(figure, run)
    right.set_title(f"by {run['clustering']['labels_from']}")
    return figure


def _species_legend(figure: Figure, run: Metrics) -> None:
    handles = [dot(species_colour(k), name) for k, name in enumerate(run["class_names"][:MOST_SPECIES])]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), title=f"{run.true} class")


def scatter(ax: Axes, run: Metrics, points: np.ndarray, colours: list) -> None:
    """Latents (M, 2) in their colours; one latent alone is spread at random across, within ±1."""
    columns = run["latents"]["columns"]
    axis = "latent" if columns <= 2 else "principal axis"
    size = float(np.clip(6000 / max(len(points), 1), 2, 14))
    # A fixed shuffle, or the last species drawn would hide the others.
    random = np.random.default_rng(0)
    order = random.permutation(len(points))
    if columns == 1:
        points = np.column_stack([points[:, 0], random.uniform(-1, 1, len(points))])
    ax.scatter(*points[order].T, c=np.array(colours)[order], s=size, alpha=0.75, linewidths=0, rasterized=True)
    ax.set_xlabel(f"{axis} 1 (a.u.)")
    ax.set_ylabel(f"{axis} 2 (a.u.)" if columns > 1 else "(spread at random)")
    ax.locator_params(nbins=4)
    if columns == 1:
        ax.set(ylim=(-2.5, 2.5), yticks=[])


def dot(colour: tuple[float, ...], name: str) -> Line2D:
    return Line2D([], [], linestyle="", marker="o", markersize=6, color=colour, label=name)
