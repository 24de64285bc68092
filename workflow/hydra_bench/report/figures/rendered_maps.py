"""A dataset's maps as pictures to stand beside each other: one view and one level a species, one scale for all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from hydra_bench.core.mrc import read_map
from hydra_bench.core.types import FloatArray
from hydra_bench.report.figures import isosurface
from hydra_bench.report.figures.style import EXTRA_COLOUR, MOST_SPECIES, species_colour
from hydra_bench.report.results import EvaluatedRun, true_maps

HELD_FRACTION = 0.8
"""Of its positive density, that a true map's level holds."""
PICTURE_PX = 220
_MARGIN_PX, _SCALE_BAR_PX = 9, 14
_LARGEST_SURPLUS = 1.3


@dataclass(frozen=True)
class Scene:
    """How the maps of one species are shown: voxels enclosed by the surface, rotation (3, 3) to the view, radius."""

    voxels: int
    view: FloatArray
    radius_voxels: float

    @classmethod
    def of_map(cls, fine: FloatArray) -> Scene:
        """What shows an upsampled map (2D, 2D, 2D) best, and others of its species as it."""
        level = isosurface.level_holding(fine, HELD_FRACTION)
        voxels = int((fine >= level).sum())
        return cls(voxels, isosurface.broad_view(fine), isosurface.extent(fine, level))


class RenderedMaps:
    """The maps of some runs of one dataset and the true ones, as pictures (PICTURE_PX, PICTURE_PX, 4).

    Where a species has no true map its scene is made of the first run's largest map of it: that is what the others
    are compared with, though nothing aligns them. Maps of labels without any species have scenes of their own. All
    are rendered at once, since they share a window.

    scenes: by species, empty where there is nothing to draw; aspect: the window's height over its width; radius_A: what
    half of a whole picture's width shows.
    """

    def __init__(self, runs: list[EvaluatedRun]) -> None:
        self._truths = true_maps(runs[0])
        self.species: list[str] = runs[0].class_names[:MOST_SPECIES]
        self.scenes: dict[int | None, Scene] = {}
        for k in range(len(self.species)):
            path = self._truths[k] or _largest_of_species(runs, k)
            if path is not None:
                self.scenes[k] = Scene.of_map(isosurface.upsample(read_map(path)[0]))
        self.has_truth, self.true = any(self._truths), runs[0].judge_adjective
        self._radius = self._common_radius(runs)
        self.radius_A = self._radius * runs[0].pixel_size_A / isosurface.UPSAMPLING
        self._images: dict[Path, FloatArray] = {}
        for k in range(len(self.species)):
            self.of_truth(k)
        for run in runs:
            for label in run.labels_with_map():
                if run.clustering.species_of(label) in self.scenes:
                    self.of_label(run, label)
        self._window = _window(list(self._images.values()))
        left, right, bottom, top = self._window
        self.aspect = (bottom - top) / (right - left)

    def _common_radius(self, runs: list[EvaluatedRun]) -> float:
        """In upsampled voxels: the species' largest, and more where a map is larger, within reason."""
        own = max((scene.radius_voxels for scene in self.scenes.values()), default=0.0)
        largest = own
        for run in runs:
            for label in run.labels_with_map():
                scene = self.scenes.get(run.clustering.species_of(label))
                path = run.shown_map(label)
                if scene is not None and path is not None:
                    volume = read_map(path)[0]
                    level = isosurface.level_enclosing(volume, scene.voxels // isosurface.UPSAMPLING**3)
                    largest = max(largest, isosurface.UPSAMPLING * isosurface.extent(volume, level))
        return 1.04 * (min(largest, _LARGEST_SURPLUS * own) or isosurface.UPSAMPLING * runs[0].box_px / 2)

    @property
    def level_text(self) -> str:
        """For captions: at which level surfaces are drawn."""
        levels = []
        if self.has_truth:
            levels.append(
                f"{self.true.capitalize()} maps are drawn at the level whose voxels hold {HELD_FRACTION:.0%} of the "
                "positive density; every other map at the level that encloses the volume that its "
                f"{self.true} map does."
            )
        if any(self._truths[k] is None for k in self.scenes if k is not None):
            lacking = f"Of a species without a {self.true} map" if self.has_truth else f"Without {self.true} maps"
            levels.append(
                f"{lacking}, each class's map is drawn at the level that encloses the volume of the first method's "
                f"map at the level whose voxels hold {HELD_FRACTION:.0%} of its positive density; maps are not aligned."
            )
        return " ".join(levels)

    def of_truth(self, k: int) -> FloatArray | None:
        """The true map of class k (0-based); None where there is none."""
        path = self._truths[k]
        return None if path is None else self._image(path, k)

    def of_label(self, run: EvaluatedRun, label: int) -> FloatArray | None:
        """A run's map of a label (1-based), in the scene of the species that it was aligned to; None without a map."""
        path = run.shown_map(label)
        return None if path is None else self._image(path, run.clustering.species_of(label))

    def of_volume(self, volume: FloatArray, species: int | None) -> FloatArray:
        """A map (D, D, D) that is aligned to a species' true one."""
        fine = isosurface.upsample(volume)
        scene = self.scenes.get(species) or Scene.of_map(fine)
        level = isosurface.level_enclosing(fine, scene.voxels)
        colour = to_rgb(EXTRA_COLOUR) if species is None else species_colour(species)
        return isosurface.render(fine, level, scene.view, self._radius, colour, PICTURE_PX)

    def _image(self, path: Path, species: int | None) -> FloatArray:
        if path not in self._images:
            self._images[path] = self.of_volume(read_map(path)[0], species)
        return self._images[path]

    def draw_truth(self, ax: Axes, k: int) -> None:
        """The true map of class k (0-based), or that there is none."""
        self.draw(ax, self.of_truth(k), f"no {self.true}\nmap")

    def draw_label(self, ax: Axes, run: EvaluatedRun, label: int, empty: bool = False) -> None:
        """A run's map of a label (1-based); of an empty one, or one without a map, a dashed frame."""
        image = None if empty else self.of_label(run, label)
        self.draw(ax, image, "empty")
        if image is None:
            ax.spines[:].set(visible=True, color="#BBBBBB", linestyle=(0, (3, 3)))

    def draw(self, ax: Axes, image: FloatArray | None, otherwise: str = "") -> None:
        """A picture, cut to the window of all; without one the words that stand in its place."""
        if image is None:
            ax.text(0.5, 0.5, otherwise, transform=ax.transAxes, ha="center", va="center", color="#777777")
        else:
            ax.imshow(image, interpolation="lanczos")
        self.crop(ax)

    def crop(self, ax: Axes) -> None:
        """Make axes show the window."""
        left, right, *rows = self._window
        ax.set(xticks=[], yticks=[], aspect="equal", xlim=(left, right), ylim=rows)
        ax.spines[:].set_visible(False)


def _window(images: list[FloatArray]) -> tuple[float, float, float, float]:
    """What holds the surfaces of all pictures, with room for a scale bar: left, right, bottom, top in px, y down."""
    covered = np.any([image[..., 3] > 0 for image in images] or np.ones((1, PICTURE_PX, PICTURE_PX)), axis=0)
    rows, columns = np.nonzero(covered)
    edges = [columns.min() - _MARGIN_PX, columns.max() + _MARGIN_PX, rows.max() + _MARGIN_PX, rows.min() - _MARGIN_PX]
    left, right, bottom, top = np.clip(edges, -0.5, PICTURE_PX - 0.5).tolist()
    return left, right, bottom + _SCALE_BAR_PX, top


def largest_with_map(run: EvaluatedRun, most: int | None = None) -> list[int]:
    """Labels (1-based) that have a map, those with most particles first."""
    sizes = run.clustering.label_sizes
    return sorted(run.labels_with_map(), key=lambda label: -sizes[label - 1])[:most]


def _largest_of_species(runs: list[EvaluatedRun], species: int) -> Path | None:
    """The map of a species with most particles, of the first run that has one."""
    ordered = (
        (run, label) for run in runs for label in largest_with_map(run) if run.clustering.species_of(label) == species
    )
    return next((run.shown_map(label) for run, label in ordered), None)


def scale_bar(ax: Axes, radius_A: float) -> None:
    """A bar in the lower left corner of a picture that shows ±radius_A."""
    length_A = next(step for step in (200, 100, 50, 20, 10) if step <= radius_A or step == 10)
    left, y = ax.get_xlim()[0] + 2, ax.get_ylim()[0] - 2
    width = length_A / (2 * radius_A) * PICTURE_PX
    ax.plot([left, left + width], [y, y], color="black", linewidth=1.6, solid_capstyle="butt")
    ax.text(left + width / 2, y - 4, f"{length_A} Å", ha="center", va="bottom", fontsize=7.5)
