"""The model, classes as manifolds of maps, and its optimisation, with maps and an image of a run."""

import mrcfile
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch

from hydra_bench.core.mrc import read_map
from hydra_bench.report.figures.rendered_maps import RenderedMaps, largest_with_map
from hydra_bench.report.figures.style import EXTRA_COLOUR, Look, Picture, species_colour
from hydra_bench.report.paper.marked_particles import marked_particles
from hydra_bench.report.paper.shown_runs import ShownRuns
from hydra_bench.report.results import EvaluatedRun, dataset_places

_SIZE = (9.6, 6.2)
_MOST_CLASSES = 3
_INK, _BOX, _EDGE = "#222222", "#F3F4F6", "#9AA1A9"


def draw(shown: ShownRuns) -> Picture | None:
    """a: classes as manifolds with maps along them; b: the loop from images to loss. None without maps."""
    run = shown.main
    maps = RenderedMaps([run])
    if not maps.scenes:
        return None
    figure = Figure(figsize=_SIZE)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, _SIZE[0]), ylim=(0, _SIZE[1]))
    ax.set_axis_off()
    _manifolds(ax, run, maps)
    _loop(ax, run)
    text = (
        "a: density maps lie on K manifolds, each a neural field V with a class k and a conformation z; shown are maps "
        f"of {run.label} on {run.dataset}, at up to three particles' latents of each class. b: the optimisation. Of "
        "each image, for each class, pose and shift are searched and then, with conformation, class scores and fields, "
        "refined by gradient of the likelihood of the image under the mixture of the classes' slices."
    )
    return Picture("fig1", "Model and optimisation", text, figure)


def _manifolds(ax: Axes, run: EvaluatedRun, maps: RenderedMaps) -> None:
    ax.text(0.1, 6.05, "a", fontsize=13, fontweight="bold", va="top")
    ax.text(0.35, 6.02, "A map for each class and conformation", fontsize=10.5, va="top", color=_INK)
    labels = largest_with_map(run, _MOST_CLASSES)
    width = 9.2 / len(labels)
    for column, label in enumerate(sorted(labels)):
        middle = 0.2 + width * (column + 0.5)
        species = run.clustering.species_of(label)
        colour = EXTRA_COLOUR if species is None else species_colour(species)
        ax.add_patch(Ellipse((middle, 4.65), width * 0.94, 2.0, facecolor=colour, alpha=0.13, edgecolor=colour))
        images = [maps.of_volume(marked.volume, species) for marked in marked_particles(run, label)]
        images = images or [image for image in [maps.of_label(run, label)] if image is not None]
        for n, image in enumerate(images):
            x = middle + width * 0.27 * (n - (len(images) - 1) / 2)
            _picture(ax, image, (x, 4.76), width * (0.27 if len(images) > 1 else 0.4))
        axis: Look = {"arrowstyle": "<|-|>", "mutation_scale": 9, "color": _INK, "linewidth": 0.9}
        ax.annotate("", (middle + width * 0.3, 4.1), (middle - width * 0.3, 4.1), arrowprops=axis)
        name = f"class {label}" if run.noun == "class" else f"cluster {label}"
        ax.text(middle, 3.96, f"conformation z, {name}", ha="center", va="top", fontsize=8.5)


def _loop(ax: Axes, run: EvaluatedRun) -> None:
    ax.text(0.1, 3.4, "b", fontsize=13, fontweight="bold", va="top")
    ax.text(0.35, 3.37, "One step of the optimisation", fontsize=10.5, va="top", color=_INK)
    image, projection = _example(run)
    y = 2.05
    if image is not None:
        _picture(ax, image, (0.95, y), 1.25, grey=True)
    ax.text(0.95, y - 0.75, "particle image Y\nwith its CTF", ha="center", va="top", fontsize=8.5)
    _box(
        ax,
        (3.05, y),
        (1.75, 1.3),
        "for each class k",
        "pose R, shift t:\nsearch, then gradient\nconformation z\nclass score s",
    )
    _box(ax, (5.35, y), (1.6, 1.3), "K neural fields", "$V_1$ … $V_K$\nHartley domain,\na slice at R, z")
    if projection is not None:
        _picture(ax, projection, (7.05, y), 1.0, grey=True)
    ax.text(7.05, y - 0.62, "slice of V, times CTF\n(here: its map, projected)", ha="center", va="top", fontsize=8.5)
    _box(ax, (8.7, y), (1.55, 1.3), "likelihood", "Y against the slices,\nmixed by\np = softmax(s)")
    for start, end in ((1.6, 2.15), (3.95, 4.52), (6.18, 6.52), (7.58, 7.9)):
        _arrow(ax, (start, y), (end, y))
    back = "#B3261E"
    _arrow(ax, (8.7, y - 0.7), (5.35, y - 0.7), back, "arc3,rad=-0.28")
    _arrow(ax, (8.7, y - 0.7), (3.05, y - 0.7), back, "arc3,rad=-0.26")
    ax.text(6.6, 0.2, "gradient: fields, poses, conformations, scores", ha="center", fontsize=8.5, color=back)


def _example(run: EvaluatedRun) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The first evaluated (or first) particle's image, and a projection of the map of its class."""
    particle = run.fsc.per_particle[0].particle if run.metrics.fsc else 0
    stack = dataset_places(run).images
    image = None
    if stack.is_file():
        with mrcfile.mmap(stack, mode="r", permissive=False) as mrc:
            image = np.array(mrc.data[particle], dtype=float)[::-1]
    path = run.shown_map(run.labels[particle] + 1)
    return image, None if path is None else read_map(path)[0].sum(0)[::-1]


def _picture(ax: Axes, image: np.ndarray, centre: tuple[float, float], side: float, grey: bool = False) -> None:
    x, y = centre
    limits = ax.get_xlim(), ax.get_ylim()
    shown = {"cmap": "gray", "vmin": np.percentile(image, 0.5), "vmax": np.percentile(image, 99.7)} if grey else {}
    ax.imshow(image, extent=(x - side / 2, x + side / 2, y - side / 2, y + side / 2), interpolation="lanczos", **shown)
    ax.set(xlim=limits[0], ylim=limits[1], aspect="equal")


def _box(ax: Axes, centre: tuple[float, float], size: tuple[float, float], title: str, text: str) -> None:
    (x, y), (width, height) = centre, size
    corner = (x - width / 2, y - height / 2)
    patch = FancyBboxPatch(corner, width, height, boxstyle="round,pad=0.02,rounding_size=0.1")
    patch.set(facecolor=_BOX, edgecolor=_EDGE, linewidth=0.8)
    ax.add_patch(patch)
    ax.text(x, y + height / 2 - 0.12, title, ha="center", va="top", fontsize=9, fontweight="bold")
    ax.text(x, y - 0.12, text, ha="center", va="center", fontsize=8.5, linespacing=1.35, parse_math=True)


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = _INK, bend: str = "arc3,rad=0"
) -> None:
    look: Look = {"arrowstyle": "-|>", "mutation_scale": 11, "color": colour, "linewidth": 1.1}
    ax.annotate("", end, start, arrowprops={**look, "connectionstyle": bend})
