"""Figure 4: each class's latent space by true class and by true coordinate, and the maps at marked points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hydra_bench.contracts.reconstruction import sample_path
from hydra_bench.core.mrc import read_map
from hydra_bench.metrics.alignment import Alignment, apply
from hydra_bench.metrics.conformation import principal_axes
from hydra_bench.physics.rotations import matrices_from_euler
from hydra_bench.report.figures.clustering_figures import dot, scatter
from hydra_bench.report.figures.map_pictures import MapPictures, level_text, show
from hydra_bench.report.figures.style import MOST_SPECIES, Picture, species_colour, wrapped
from hydra_bench.report.paper.selection import Selection
from hydra_bench.report.results import Metrics, truth_of

_SIDE = 2.5
_MOST_CLASSES = 4
_POINTS = 3


@dataclass(frozen=True)
class Marked:
    """A particle whose own map is shown: its number, its place in the latent plot, its map aligned to the truth."""

    particle: int
    place: np.ndarray
    volume: np.ndarray


def draw(selection: Selection) -> Picture | None:
    """Columns: classes with particles, the largest first. None for a method without latents."""
    run = selection.main
    latents = run.get("latents")
    pictures = MapPictures([run], selection.results)
    if not latents or not latents["columns"] or not pictures.drawable:
        return None
    sizes = run["clustering"]["label_sizes"]
    labels = sorted(run.labels_with_map(), key=lambda j: -sizes[j - 1])[:_MOST_CLASSES]
    coordinate = true_coordinate(selection.results, run)
    marked = {label: marked_particles(run, label, coordinate) for label in labels}
    with_maps = any(marked.values())
    n_rows = 1 + (coordinate is not None) + with_maps
    # Latents take a square, the marked maps a column of three beside or below them.
    heights = [_SIDE] * (n_rows - with_maps) + [1.6] * with_maps
    figure = Figure(figsize=(_SIDE * len(labels) + 1.0, sum(heights) + 0.7), layout="constrained")
    grid = figure.add_gridspec(n_rows, len(labels), height_ratios=heights)
    for column, label in enumerate(labels):
        mine = _members(run, label)
        ax = figure.add_subplot(grid[0, column])
        truth = np.array(run["true_classes"])[mine]
        scatter(ax, run, np.array(latents["projection"])[mine], [species_colour(k) for k in truth])
        ax.set_title(f"{run.label_name(label)}: {sizes[label - 1]:,}" if run.noun == "class" else f"cluster {label}")
        _mark(ax, marked[label])
        if coordinate is not None:
            below = figure.add_subplot(grid[1, column])
            _by_coordinate(figure, below, run, mine, coordinate)
            _mark(below, marked[label])
        if with_maps:
            _marked_maps(figure, grid[n_rows - 1, column], run, label, marked[label], pictures, coordinate)
    names = run["class_names"][:MOST_SPECIES]
    handles = [dot(species_colour(k), name) for k, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4), title=f"{run.true} class")
    text = (
        f"Latent space of each class of {run.label}, by {run.true} class"
        f"{'' if coordinate is None else ' and, below, by true coordinate'}. "
    )
    if with_maps:
        text += (
            "Bottom: the method's own maps of the particles at the white dots, which lie along the main axis"
            f"{'' if coordinate is None else ' or the direction in which the true coordinate changes most'}. "
            f"{level_text(pictures)} "
        )
    text += f"Seed {run.seed}."
    return Picture("fig4", "Conformations in the latent spaces", text, figure, run.method)


def true_coordinate(results: Path, run: Metrics) -> np.ndarray | None:
    """The first true coordinate (N,) of each particle, NaN where its species has none; None where no species moves."""
    truth = truth_of(results, run.dataset) if run.get("conformation") else None
    if truth is None:
        return None
    found = truth.conformations
    has = ~np.isnan(found)
    if not has.any():
        return None
    return found[np.arange(len(found)), has.argmax(1)]


def _members(run: Metrics, label: int) -> np.ndarray:
    """Numbers of the particles of a label (1-based); where labels are joined, of the largest, for one latent space."""
    return np.flatnonzero(np.array(run.own_labels) == run.own_label(label) - 1)


def marked_particles(run: Metrics, label: int, coordinate: np.ndarray | None = None) -> list[Marked]:
    """Evaluated particles of a label, from one end of its latents to the other, with their own maps.

    Along the direction in which the true coordinate (N,) changes most, or else along the main axis.
    """
    entry = alignment(run, label)
    evaluated = [p["particle"] for p in (run.get("fsc") or {}).get("per_particle", []) if p["label"] == label]
    mine = _members(run, label)
    evaluated = [i for i in evaluated if i in mine and sample_path(run.reconstruction, i).is_file()]
    if entry is None or not evaluated:
        return []
    points = np.array(run["latents"]["projection"])
    along = dict(zip(mine, _along(points[mine], None if coordinate is None else coordinate[mine]), strict=True))
    ordered = sorted(evaluated, key=lambda i: along[i])
    chosen = dict.fromkeys(ordered[round(q * (len(ordered) - 1))] for q in np.linspace(0, 1, _POINTS))
    return [Marked(i, points[i], apply(read_map(sample_path(run.reconstruction, i))[0], entry)) for i in chosen]


def _along(points: np.ndarray, coordinate: np.ndarray | None) -> np.ndarray:
    """Places (M,) of latents (M, 2) along one direction."""
    if coordinate is None or not np.isfinite(coordinate).all() or np.ptp(coordinate) == 0:
        return principal_axes(points, 1)[:, 0]
    centred = points - points.mean(0)
    return centred @ np.linalg.lstsq(centred, coordinate - coordinate.mean(), rcond=None)[0]


def alignment(run: Metrics, label: int, own_label: int | None = None) -> Alignment | None:
    """How the map of a label (1-based) moves onto its species'; of one that is joined to it, if that is named."""
    species = run.species_of(label)
    if species is None:
        return None
    pair = (own_label or run.own_label(label), run["class_names"][species])
    for entry in run.get("alignments") or []:
        if (entry["label"], entry["class_name"]) == pair:
            rotation = matrices_from_euler(np.array([entry["angles_deg"]]))[0]
            shift = np.array(entry["shift_A"]) / run["pixel_size_A"]
            return Alignment(rotation, shift, entry["mirrored"], entry["correlation"])
    return None


def _mark(ax: Axes, marked: list[Marked]) -> None:
    for n, one in enumerate(marked):
        ax.plot(*one.place, marker="o", markersize=8, color="white", markeredgecolor="black", linestyle="", zorder=5)
        ax.annotate("abc"[n], one.place, ha="center", va="center", fontsize=6.5, zorder=6)


def _by_coordinate(figure: Figure, ax: Axes, run: Metrics, mine: np.ndarray, coordinate: np.ndarray) -> None:
    values = coordinate[mine]
    points = np.array(run["latents"]["projection"])[mine]
    known = ~np.isnan(values)
    norm = Normalize(*(np.nanmin(values), np.nanmax(values)) if known.any() else (0, 1))
    scatter(ax, run, points[~known], ["#BBBBBB"] * int((~known).sum()))
    colours = ScalarMappable(norm, "viridis").to_rgba(values[known])
    scatter(ax, run, points[known], list(colours))
    if known.any():
        bar = figure.colorbar(ScalarMappable(norm, "viridis"), ax=ax, shrink=0.85, pad=0.02)
        bar.set_label("true coordinate (° where parts turn)", fontsize=8)
        bar.outline.set_visible(False)


def _marked_maps(
    figure: Figure,
    place: object,
    run: Metrics,
    label: int,
    marked: list[Marked],
    pictures: MapPictures,
    coordinate: np.ndarray | None,
) -> None:
    inner = place.subgridspec(1, _POINTS)
    for n, one in enumerate(marked):
        ax = figure.add_subplot(inner[n])
        show(ax, pictures.of_volume(one.volume, run.species_of(label)), pictures.window)
        true = None if coordinate is None or np.isnan(coordinate[one.particle]) else coordinate[one.particle]
        text = wrapped(f"{'abc'[n]}: particle {one.particle + 1:,}", _SIDE / _POINTS, 7)
        ax.set_xlabel(text + ("" if true is None else f"\n{run.true} {true:.1f}"), fontsize=7)
