"""Figure 3: one method against reference labels and maps, and what a method without classes makes of the images."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hydra_bench.report.figures.clustering_figures import confusion, dot, scatter
from hydra_bench.report.figures.map_pictures import MapPictures, level_text, show, show_truth
from hydra_bench.report.figures.maps_figure import draw_panel, panels, row_label
from hydra_bench.report.figures.method_lines import Line
from hydra_bench.report.figures.resolution_figures import curve, dress
from hydra_bench.report.figures.style import MOST_SPECIES, Picture, species_colour, wrapped
from hydra_bench.report.paper.selection import Selection
from hydra_bench.report.results import Metrics

_WIDTH = 9.0
_MOST_CLUSTERS = 6


def draw(selection: Selection) -> Picture | None:
    """a: class maps above the reference; b: confusion matrix; c: FSC; d: latents of the clustered method and maps."""
    run, clustered = selection.main, selection.clustered
    pictures = MapPictures([run, *([clustered] if clustered else [])], selection.results)
    if not pictures.drawable:
        return None
    names = run["class_names"][:MOST_SPECIES]
    shown = panels(run, len(names))
    n_columns = max([len(names)] + [1 + panel.column for panel in shown])
    left, right, top, bottom = pictures.window
    maps_height = 2 * (_WIDTH / max(n_columns, 5) * (bottom - top) / (right - left) + 0.4)
    heights = [maps_height, 3.2, *([3.4] if clustered else [])]
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights)
    _maps(parts[0], run, pictures, names, n_columns)
    left_part, right_part = parts[1].subfigures(1, 2)
    confusion(left_part.subplots(), run, names=True)
    letter(left_part, "b")
    letter(right_part, "c")
    _fsc(right_part.subplots(), run, names)
    if clustered:
        letter(parts[2], "d")
        _clusters(parts[2], clustered, pictures)
    reference = run.true
    text = (
        f"a: maps of {run.label} above the {reference} ones. {level_text(pictures)} b: its labels against "
        f"the {reference} labels; colour is the share of a row. c: Fourier shell correlation with the {reference} map, "
        "mean over the evaluated particles of a species, band ± 1 sd."
    )
    if clustered:
        text += (
            f" d: latents of {clustered.label} by {reference} class with k-means centres (crosses), and the maps of "
            "the clusters."
        )
    return Picture("fig3", "Classes against references", f"{text} Seed {run.seed}.", figure)


def letter(part: object, name: str) -> None:
    """The letter of a part of a figure, bold in its upper left corner."""
    part.text(0.002, 0.995, name, fontweight="bold", fontsize=12, va="top")


def _maps(part: object, run: Metrics, pictures: MapPictures, names: list[str], n_columns: int) -> None:
    letter(part, "a")
    axes = part.subplots(2, n_columns, squeeze=False)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    row_label(axes[0][0], run.label)
    row_label(axes[1][0], pictures.judge.capitalize())
    for panel in panels(run, len(names)):
        draw_panel(axes[0][panel.column], run, panel, pictures)
    for k, name in enumerate(names):
        show_truth(axes[1][k], pictures, k)
        size = run["true_classes"].count(k)
        axes[1][k].set_xlabel(f"{wrapped(name, _WIDTH / n_columns, 8.5)}\n{size:,} particles", fontsize=8.5)


def _fsc(ax: Axes, run: Metrics, names: list[str]) -> None:
    if not run.get("fsc"):
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no reference maps, no FSC", ha="center", va="center", color="#777777")
        return
    for k, name in enumerate(names):
        curve(ax, run, name, Line(species_colour(k)))
    dress(ax, run["fsc"]["frequency_per_A"], "")
    ax.set_ylabel("FSC")
    found = {entry["class_name"]: entry["resolution_0.5_A"] for entry in run["fsc"]["per_class"]}
    handles = [
        Line2D([], [], color=species_colour(k), label=f"{n}: {found[n]:.1f} Å" if found.get(n) else n)
        for k, n in enumerate(names)
        if n in found
    ]
    ax.figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7.5, title="resolution at 0.5")


def mark_centres(ax: Axes, run: Metrics, points: np.ndarray) -> None:
    """A cross and its number at the centre of each label's points (N, 2)."""
    members = np.array(run["labels"])
    for j in np.unique(members):
        # Means of the members: k-means centres, in whichever axes.
        x, y = points[members == j].mean(0)
        ax.plot(x, y, marker="X", markersize=11, color="white", markeredgecolor="black", linestyle="")
        ax.annotate(str(j + 1), (x, y), xytext=(7, 5), textcoords="offset points", fontweight="bold", fontsize=10)


def _clusters(part: object, run: Metrics, pictures: MapPictures) -> None:
    """Latents with centres at the left, the clusters' maps at the right."""
    sizes = run["clustering"]["label_sizes"]
    labels = [j for j in range(len(sizes)) if run.shown_map(j + 1) is not None][:_MOST_CLUSTERS]
    left, right = part.subfigures(1, 2, width_ratios=[1, 1.3])
    ax = left.subplots()
    points, truth = np.array(run["latents"]["projection"]), np.array(run["true_classes"])
    scatter(ax, run, points, [species_colour(k) for k in truth])
    mark_centres(ax, run, points)
    handles = [dot(species_colour(k), name) for k, name in enumerate(run["class_names"][:MOST_SPECIES])]
    left.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3), fontsize=7.5)
    ax.set_title(run.label)
    if not labels:
        return
    axes = right.subplots(1, len(labels), squeeze=False)[0]
    for map_ax, j in zip(axes, labels, strict=True):
        show(map_ax, pictures.of_label(run, j + 1), pictures.window)
        map_ax.set_xlabel(f"cluster {j + 1}: {sizes[j]:,}\nparticles", fontsize=8)
