"""Pictures of a dataset's maps to stand beside each other: one view and one level a species, one scale for all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from hydra_bench.core.mrc import read_map
from hydra_bench.report.figures import isosurface
from hydra_bench.report.figures.style import EXTRA_COLOUR, MOST_SPECIES, species_colour
from hydra_bench.report.results import Metrics, true_maps

HELD_FRACTION = 0.8
"""Of its positive density, that a true map's level holds."""
PICTURE_PX = 220
_MARGIN_PX, _SCALE_BAR_PX = 9, 14
_LARGEST_SURPLUS = 1.3
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """How the maps of one species are shown: voxels enclosed by the surface, rotation (3, 3) to the view, radius."""

    voxels: int
    view: np.ndarray
    radius_voxels: float


class MapPictures:
    """The maps of some runs of one dataset and the true ones, as pictures (PICTURE_PX, PICTURE_PX, 4).

    Where a species has no true map its scene is made of the first run's largest map of it: that is what the others
    are compared with, though nothing aligns them. Maps of labels without any species have scenes of their own.
    """

    def __init__(self, runs: list[Metrics], results: Path) -> None:
        self._truths = true_maps(results, runs[0])
        shown = {k: path or _stand_in(runs, k) for k, path in enumerate(self._truths[:MOST_SPECIES])}
        self._scenes = {k: _scene(_upsampled(path)) for k, path in shown.items() if path is not None}
        self.judge, self.true = runs[0].judge, runs[0].true
        self.pixel_size_A = float(runs[0]["pixel_size_A"])
        self._radius = self._common_radius(runs)
        self._images: dict[Path, np.ndarray] = {}
        for k in self._scenes:
            self.truth(k)
        for run in runs:
            for label in run.labels_with_map():
                if run.species_of(label) in self._scenes:
                    self.of_label(run, label)
        self.window = _window(list(self._images.values()))

    def _common_radius(self, runs: list[Metrics]) -> float:
        """In upsampled voxels: the species' largest, and more where a map is larger, within reason."""
        own = max((scene.radius_voxels for scene in self._scenes.values()), default=0.0)
        others = [own]
        for run in runs:
            for label in run.labels_with_map():
                scene = self._scenes.get(run.species_of(label))
                if scene is not None and (path := run.shown_map(label)) is not None:
                    volume = read_map(path)[0]
                    level = isosurface.level_enclosing(volume, scene.voxels // isosurface.UPSAMPLING**3)
                    others.append(isosurface.UPSAMPLING * isosurface.extent(volume, level))
        return 1.04 * (min(max(others), _LARGEST_SURPLUS * own) or isosurface.UPSAMPLING * runs[0]["box_px"] / 2)

    @property
    def drawable(self) -> bool:
        return bool(self._scenes)

    @property
    def has_truth(self) -> bool:
        return any(self._truths)

    @property
    def all_have_truth(self) -> bool:
        """Whether every species that has any map has a true one."""
        return all(self._truths[k] is not None for k in self._scenes)

    @property
    def radius_A(self) -> float:
        """What half of a whole picture's width shows."""
        return self._radius * self.pixel_size_A / isosurface.UPSAMPLING

    def truth(self, k: int) -> np.ndarray | None:
        """The true map of class k (0-based); None where there is none."""
        path = self._truths[k]
        return None if path is None else self._image(path, k)

    def of_label(self, run: Metrics, label: int) -> np.ndarray | None:
        """A run's map of a label (1-based), in the scene of the species that it was aligned to; None without a map."""
        path = run.shown_map(label)
        return None if path is None else self._image(path, run.species_of(label))

    def of_volume(self, volume: np.ndarray, species: int | None, colour: Colour | None = None) -> np.ndarray:
        """A map (D, D, D) that is aligned to a species' true one."""
        fine = isosurface.upsample(volume)
        scene = self._scenes.get(species) if species is not None else None
        scene = scene or _scene(fine)
        level = isosurface.level_enclosing(fine, scene.voxels)
        own = to_rgb(EXTRA_COLOUR) if species is None else species_colour(species)
        return isosurface.render(fine, level, scene.view, self._radius, colour or own, PICTURE_PX)

    def _image(self, path: Path, species: int | None) -> np.ndarray:
        if path not in self._images:
            self._images[path] = self.of_volume(read_map(path)[0], species)
        return self._images[path]


def level_text(pictures: MapPictures) -> str:
    """For captions: at which level surfaces are drawn."""
    true, levels = pictures.true, []
    if pictures.has_truth:
        levels.append(
            f"{true.capitalize()} maps are drawn at the level whose voxels hold {HELD_FRACTION:.0%} of the positive "
            f"density; every other map at the level that encloses the volume that its {true} map does."
        )
    if not pictures.all_have_truth:
        lacking = f"Of a species without a {true} map" if pictures.has_truth else f"Without {true} maps"
        levels.append(
            f"{lacking}, each class's map is drawn at the level that encloses the volume of the first method's map at "
            f"the level whose voxels hold {HELD_FRACTION:.0%} of its positive density; maps are not aligned."
        )
    return " ".join(levels)


def _stand_in(runs: list[Metrics], species: int) -> Path | None:
    for run in runs:
        sizes = run["clustering"]["label_sizes"]
        labels = [j for j in run.labels_with_map() if run.species_of(j) == species]
        if labels:
            return run.shown_map(max(labels, key=lambda j: sizes[j - 1]))
    return None


def _upsampled(path: Path) -> np.ndarray:
    return isosurface.upsample(read_map(path)[0])


def _scene(fine: np.ndarray) -> Scene:
    level = isosurface.level_holding(fine, HELD_FRACTION)
    voxels = int((fine >= level).sum())
    return Scene(voxels, isosurface.broad_view(fine), isosurface.extent(fine, level))


def _window(images: list[np.ndarray]) -> tuple[float, float, float, float]:
    """Left, right, top and bottom in px of what holds all of the pictures' surfaces, with room for a scale bar."""
    covered = [image[..., 3] for image in images if image[..., 3].any()]
    if not covered:
        return -0.5, PICTURE_PX - 0.5, -0.5, PICTURE_PX - 0.5
    rows, columns = np.nonzero(np.max(covered, axis=0))
    left, top = (max(float(side.min()) - _MARGIN_PX, -0.5) for side in (columns, rows))
    right, bottom = (min(float(side.max()) + _MARGIN_PX, PICTURE_PX - 0.5) for side in (columns, rows))
    return left, right, top, bottom + _SCALE_BAR_PX


def show(ax: Axes, image: np.ndarray, window: tuple[float, float, float, float]) -> None:
    """A picture in axes, cut to the window."""
    left, right, top, bottom = window
    ax.imshow(image, interpolation="lanczos")
    ax.set(xticks=[], yticks=[], xlim=(left, right), ylim=(bottom, top))
    ax.spines[:].set_visible(False)


def show_truth(ax: Axes, pictures: MapPictures, k: int) -> None:
    """The true map of class k (0-based) in axes, or that there is none."""
    image = pictures.truth(k)
    if image is None:
        show_empty(ax, pictures.window, f"no {pictures.true}\nmap", framed=False)
    else:
        show(ax, image, pictures.window)


def show_empty(
    ax: Axes, window: tuple[float, float, float, float], text: str = "empty", *, framed: bool = True
) -> None:
    """Words in the place of a map, in a dashed frame for an empty class's."""
    left, right, top, bottom = window
    ax.set(xticks=[], yticks=[], aspect="equal", xlim=(left, right), ylim=(bottom, top))
    for spine in ax.spines.values():
        spine.set(visible=framed, color="#BBBBBB", linestyle=(0, (3, 3)))
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="#777777")


def scale_bar(ax: Axes, radius_A: float) -> None:
    """A bar in the lower left corner of a picture that shows ±radius_A."""
    length = next(step for step in (200, 100, 50, 20, 10) if step <= radius_A or step == 10)
    start, y = ax.get_xlim()[0] + 2, ax.get_ylim()[0] - 2
    width = length / (2 * radius_A) * PICTURE_PX
    ax.plot([start, start + width], [y, y], color="black", linewidth=1.6, solid_capstyle="butt")
    ax.text(start + width / 2, y - 4, f"{length} Å", ha="center", va="bottom", fontsize=7.5)
