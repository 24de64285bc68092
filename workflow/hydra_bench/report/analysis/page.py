"""The page of one run without truth: its classes and maps, its latents by cluster, and what to type next."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from tqdm import tqdm

from hydra_bench import __version__
from hydra_bench.contracts.reconstruction import EMPTY_TEXT, Assignments, Run
from hydra_bench.core.files import write_text
from hydra_bench.core.mrc import read_map
from hydra_bench.core.types import FloatArray
from hydra_bench.report.analysis.chimerax import Shown
from hydra_bench.report.analysis.numbers import SURE, ClassSize, LatentSpace
from hydra_bench.report.figures import isosurface
from hydra_bench.report.figures.rendered_maps import HELD_FRACTION, Scene
from hydra_bench.report.figures.style import report_style, species_colour, without_frame

_HERE = Path(__file__).parent
_PICTURE_PX, _MOST_POINTS, _COLUMNS = 200, 20_000, 4


@dataclass(frozen=True)
class Analysis:
    """What the page shows: a run and its folder, what it found, and what was made of it."""

    folder: Path
    run: Run
    found: Assignments
    sizes: list[ClassSize]
    spaces: list[LatentSpace]
    shown: list[Shown]


@dataclass(frozen=True)
class _Picture:
    """A picture of the page: its data URI, and what it shows in words."""

    source: str
    caption: str


def write_analysis_page(path: Path, analysis: Analysis) -> None:
    """Write one HTML file that holds everything that it shows."""
    environment = Environment(
        loader=FileSystemLoader([_HERE, _HERE.parent / "page"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    with report_style():
        classes = [entry for entry in analysis.shown if len(entry.maps) == 1]
        moving = [entry for entry in analysis.shown if len(entry.maps) > 1]
        scenes = {entry.name: _scene(entry) for entry in classes}
        text = environment.get_template("analysis.html.jinja").render(
            version=__version__,
            style=Markup(environment.get_template("page.css").render()),
            analysis=analysis,
            run=analysis.run,
            sure=SURE,
            empty_text=EMPTY_TEXT,
            held=HELD_FRACTION,
            class_maps=_class_maps(classes, scenes) if classes else None,
            latents=[_latents(space) for space in analysis.spaces],
            series=[
                _series(entry, scenes[entry.name.partition(",")[0]])
                for entry in tqdm(moving, desc="pictures", unit="series", disable=None, delay=5)
            ],
        )
    write_text(path, text)


def _scene(entry: Shown) -> Scene:
    return Scene.of_map(isosurface.upsample(read_map(entry.maps[0])[0]))


def _draw(path: Path, scene: Scene, colour: str, radius: float) -> FloatArray:
    fine = isosurface.upsample(read_map(path)[0])
    level = isosurface.level_enclosing(fine, scene.voxels)
    return isosurface.render(fine, level, scene.view, radius, to_rgb(colour), _PICTURE_PX)


def _class_maps(classes: list[Shown], scenes: dict[str, Scene]) -> _Picture:
    radius = 1.04 * max(scene.radius_voxels for scene in scenes.values())
    pictures = [(entry.name, _draw(entry.maps[0], scenes[entry.name], entry.colour, radius)) for entry in classes]
    caption = f"Each class's map at the level whose voxels hold {HELD_FRACTION:.0%} of its positive density, one scale."
    return _Picture(_row_of(pictures), caption)


def _series(entry: Shown, scene: Scene) -> _Picture:
    radius = 1.04 * scene.radius_voxels
    count = len(entry.maps)
    names = ["5th percentile", *[""] * (count - 2), "95th percentile"]
    pictures = [(name, _draw(path, scene, entry.colour, radius)) for name, path in zip(names, entry.maps, strict=True)]
    caption = (
        f"{entry.name.capitalize()}: maps from the 5th to the 95th percentile of the particles along it, in one view, "
        "each enclosing the same volume."
    )
    return _Picture(_row_of(pictures, columns=count), caption)


def _row_of(pictures: list[tuple[str, FloatArray]], columns: int = _COLUMNS) -> str:
    n_rows = -(-len(pictures) // columns)
    n_columns = min(len(pictures), columns)
    figure = Figure(figsize=(1.7 * n_columns, 1.95 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in axes.flat:
        without_frame(ax)
    for ax, (name, picture) in zip(axes.flat, pictures, strict=False):
        ax.imshow(picture, interpolation="lanczos")
        ax.set_xlabel(name, fontsize=8.5)
    return _source(figure)


def _latents(space: LatentSpace) -> _Picture:
    """Particles along the first two principal directions (one is spread at random across) by cluster."""
    points, labels = space.principal[:, :2], space.labels
    random = np.random.default_rng(0)
    if points.shape[1] == 1:
        points = np.column_stack([points[:, 0], random.uniform(-1, 1, len(points))])
    chosen = random.permutation(len(points))[:_MOST_POINTS]
    figure = Figure(figsize=(4.6, 3.6), layout="constrained")
    ax = figure.subplots()
    colours = np.array([species_colour(j) for j in range(len(space.clusters))])
    size = float(np.clip(6000 / len(chosen), 2, 14))
    x, y = points[chosen].T
    ax.scatter(x, y, c=colours[labels[chosen]], s=size, alpha=0.75, linewidths=0, rasterized=True)
    for j, cluster in enumerate(space.clusters):
        centre = points[labels == j].mean(0)
        ax.plot(*centre, marker="X", markersize=10, color="white", markeredgecolor="black", linestyle="")
        ax.annotate(str(cluster.number), tuple(centre), xytext=(7, 5), textcoords="offset points", fontweight="bold")
    one = space.principal.shape[1] == 1
    ax.set_xlabel(f"component 1 ({space.shares[0]:.0%} of the variance)")
    ax.set_ylabel("(spread at random)" if one else f"component 2 ({space.shares[1]:.0%})")
    ax.set_title(f"class {space.class_number}")
    counted = ", ".join(f"{cluster.number}: {cluster.particles:,}" for cluster in space.clusters)
    caption = f"Class {space.class_number}: its latents by k-means cluster ({counted} particles)."
    return _Picture(_source(figure), caption)


def _source(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
