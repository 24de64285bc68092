"""The maps of every method above the truth, as isosurfaces in the same view."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hydra_bench.files import read_map
from hydra_bench.reconstruction import EMPTY_SHARE
from hydra_bench.report import isosurface
from hydra_bench.report.runs import Metrics, dataset_folder
from hydra_bench.report.style import Picture, species_colour, wrapped

_HELD_FRACTION = 0.8
_PICTURE_PX = 220
_MARGIN_PX = 9


@dataclass(frozen=True)
class Scene:
    """How one species is shown: its map, upsampled; level; voxels above it; rotation (3, 3) to the view."""

    volume: np.ndarray
    level: float
    voxels: int
    view: np.ndarray


@dataclass(frozen=True)
class Panel:
    """One map of one method: its label (1-based), the column and the species it is shown in, what to say of it."""

    label: int
    column: int
    species: int
    text: str


def class_maps(runs: list[Metrics], results: Path) -> Picture | None:
    """One row a method, one column a species, the truth below. None where the truth's maps are missing."""
    names = runs[0]["class_names"]
    volumes = dataset_folder(results, runs[0].dataset) / "truth" / "volumes"
    truth = [volumes / f"class_{k + 1}.mrc" for k in range(len(names))]
    rows = [(run, panels(run)) for run in runs]
    rows = [(run, shown) for run, shown in rows if shown]
    if not rows or not all(path.is_file() for path in truth):
        return None
    pixel = read_map(truth[0])[1] / isosurface.UPSAMPLING
    scenes = [_scene(read_map(path)[0]) for path in truth]
    radius = 1.04 * max(isosurface.extent(scene.volume, scene.level) for scene in scenes)
    true_images = [
        isosurface.render(scene.volume, scene.level, scene.view, radius, species_colour(k), _PICTURE_PX)
        for k, scene in enumerate(scenes)
    ]
    n_columns = max(len(names), 1 + max(panel.column for _, shown in rows for panel in shown))
    figure, axes = _grid(len(rows) + 1, n_columns, _window(true_images))
    for row, (run, shown) in zip(axes, rows, strict=False):
        _row_label(row[0], run.label)
        for panel in shown:
            _draw_panel(row[panel.column], run, panel, scenes, radius)
    _row_label(axes[-1][0], "Truth")
    for k, (ax, image, name) in enumerate(zip(axes[-1], true_images, names, strict=False)):
        _show(ax, image)
        ax.set_xlabel(
            wrapped(name, _width(ax), 8.5) + f"\n{runs[0]['true_classes'].count(k):,} particles", fontsize=8.5
        )
    _scale_bar(axes[-1][0], radius * pixel)
    return Picture("class_maps", "Class maps", _caption(runs), figure)


def _window(images: list[np.ndarray]) -> tuple[float, float, float, float]:
    """Left, right, top and bottom in px of what holds all of the true maps' pictures, with a margin."""
    rows, columns = np.nonzero(np.max([image[..., 3] for image in images], axis=0))
    left, top = (max(float(side.min()) - _MARGIN_PX, -0.5) for side in (columns, rows))
    right, bottom = (min(float(side.max()) + _MARGIN_PX, _PICTURE_PX - 0.5) for side in (columns, rows))
    return left, right, top, bottom


def _caption(runs: list[Metrics]) -> str:
    return (
        "Isosurfaces of each method's maps, aligned to the true map of their column and seen from the same side. "
        f"True maps are drawn at the level whose voxels hold {_HELD_FRACTION:.0%} of the positive density; every other "
        "map at the level that encloses the volume that its column's true map does. Columns after the species are "
        "surplus maps, in the colour of the species they were aligned to. Empty: a class with less than "
        f"{EMPTY_SHARE:.0%} of all particles. Seed {runs[0].seed}."
    )


def panels(run: Metrics) -> list[Panel]:
    """What a method's row shows: maps in the columns of their species, surplus and empty ones after them."""
    clustering, n_species = run["clustering"], len(run["class_names"])
    empty = set(clustering["empty_labels"])
    present = [j for j in range(1, clustering["n_labels"] + 1) if j in empty or run.aligned_map(j).is_file()]
    noun = "class" if clustering["labels_from"] == "classes" else "cluster"
    result: list[Panel] = []
    taken: set[int] = set()
    surplus = n_species
    for j in sorted(present, key=lambda j: (j in empty, clustering["matched_class"][j - 1] is None)):
        species = run.species_of(j) or 0
        if j in empty or species in taken:
            column, surplus = surplus, surplus + 1
        else:
            column = species
            taken.add(species)
        name = f"{noun} {j}" if clustering["n_labels"] > 1 else "one map"
        size = clustering["label_sizes"][j - 1]
        text = f"{name}: {size:,} particle{'' if size == 1 else 's'}"
        result.append(Panel(j, column, species, text))
    return result


def _scene(volume: np.ndarray) -> Scene:
    fine = isosurface.upsample(volume)
    level = isosurface.level_holding(fine, _HELD_FRACTION)
    return Scene(fine, level, int((fine >= level).sum()), isosurface.broad_view(fine))


def _draw_panel(ax: Axes, run: Metrics, panel: Panel, scenes: list[Scene], radius: float) -> None:
    ax.set_xlabel(wrapped(panel.text, _width(ax), 8), fontsize=8)
    if panel.label in run["clustering"]["empty_labels"]:
        for spine in ax.spines.values():
            spine.set(visible=True, color="#BBBBBB", linestyle=(0, (3, 3)))
        ax.text(0.5, 0.5, "empty", transform=ax.transAxes, ha="center", va="center", color="#777777")
        return
    scene = scenes[panel.species]
    volume = isosurface.upsample(read_map(run.aligned_map(panel.label))[0])
    level = isosurface.level_enclosing(volume, scene.voxels)
    colour = species_colour(panel.species)
    _show(ax, isosurface.render(volume, level, scene.view, radius, colour, _PICTURE_PX))


def _show(ax: Axes, image: np.ndarray) -> None:
    # imshow would set the axes' limits to the whole picture.
    limits = ax.get_xlim(), ax.get_ylim()
    ax.imshow(image, interpolation="lanczos")
    ax.set(xlim=limits[0], ylim=limits[1])


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


def _row_label(ax: Axes, text: str) -> None:
    ax.set_ylabel(wrapped(text, _width(ax) * 0.9), fontsize=9, fontweight="bold")


def _width(ax: Axes) -> float:
    """The width of a panel in inches, nearly."""
    return float(ax.figure.get_figwidth() / ax.get_gridspec().ncols)


def _scale_bar(ax: Axes, radius_A: float) -> None:
    """A bar in the lower left corner of a panel that shows the full picture's ±radius_A."""
    length = next(step for step in (200, 100, 50, 20, 10) if step <= radius_A or step == 10)
    start, y = ax.get_xlim()[0] + 2, ax.get_ylim()[0] - 2
    width = length / (2 * radius_A) * _PICTURE_PX
    ax.plot([start, start + width], [y, y], color="black", linewidth=1.6, solid_capstyle="butt")
    ax.text(start + width / 2, y - 4, f"{length} Å", ha="center", va="bottom", fontsize=7.5)
