"""What the page's charts and 3-D views draw, as plain data: one entry a dataset, one a method."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex

from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.mrc import read_map
from hydra_bench.report.figures.isosurface import broad_view
from hydra_bench.report.figures.style import species_colour
from hydra_bench.report.page.embedding import encoded, sprite
from hydra_bench.report.page.meshes import Detail, enclosed_volumes, surfaces
from hydra_bench.report.results import EvaluatedRun, dataset_places, true_coordinate, true_maps

MOST_POINTS = 3000


@dataclass(frozen=True)
class _Showing:
    """How the maps of a species are shown: the volumes in Å³ that surfaces enclose, the view's rotation (3, 3)."""

    volumes_A3: list[float]
    view: list[list[float]]


class Views:
    """What a dataset's charts and 3-D views draw. `runs` ended well, at least one; they set the detail of meshes."""

    def __init__(self, runs: list[EvaluatedRun]) -> None:
        self.runs = runs
        self._detail = Detail.for_maps(len(runs[0].class_names) + sum(len(run.labels_with_map()) for run in runs))
        self._showings: dict[Path, _Showing] = {}

    def of_dataset(self) -> JsonObject:
        """What all methods share: species, their maps, thumbnails."""
        first = self.runs[0]
        chosen = shown_particles(first)
        coordinate = true_coordinate(first)
        return {
            "judge": first.judge,
            "shares": list(self._detail.shares),
            "species": [
                {"name": name, "colour": to_hex(species_colour(k)), "levels": self._true_levels(path)}
                for k, (name, path) in enumerate(zip(first.class_names, true_maps(first), strict=True))
            ],
            "particles": encoded(chosen.astype("<u4")),
            "thumbnails": sprite(dataset_places(first).images, chosen, first.pixel_size_A),
            "coordinate": None if coordinate is None else encoded(coordinate[chosen].astype("<f4")),
        }

    def of_method(self, run: EvaluatedRun) -> JsonObject:
        """What the views of one of the runs draw."""
        return {
            "seed": run.seed,
            "noun": run.noun,
            "confusion": _confusion(run) if run.sorted_by_itself else None,
            "fsc": _fsc(run),
            "latents": _latents(run),
            "maps": [self._map(run, j) for j in run.labels_with_map()],
        }

    def _true_levels(self, path: Path | None) -> list[JsonObject] | None:
        if path is None:
            return None
        volume, pixel = read_map(path)
        return surfaces(volume, pixel, self._showing(path).volumes_A3, self._detail)

    def _map(self, run: EvaluatedRun, label: int) -> JsonObject:
        """One map of a method: at the volumes of its species' true map, or of its own where there is none."""
        path = run.shown_map(label)
        species = run.clustering.species_of(label)
        assert path is not None, "only labels with a map are drawn"
        truth = None if species is None else true_maps(run)[species]
        showing = self._showing(truth or path)
        volume, pixel = read_map(path)
        return {
            "label": label,
            "name": run.label_name(label),
            "size": run.clustering.label_sizes[label - 1],
            "species": species,
            "empty": label in run.clustering.empty_labels,
            "aligned": path == run.aligned_map(label),
            "view": showing.view,
            "levels": surfaces(volume, pixel, showing.volumes_A3, self._detail),
        }

    def _showing(self, path: Path) -> _Showing:
        """By a true map all methods' maps of a species are shown: it is measured once."""
        if path not in self._showings:
            volume, pixel = read_map(path)
            volumes = enclosed_volumes(volume, pixel, self._detail)
            self._showings[path] = _Showing(volumes, broad_view(volume).round(4).tolist())
        return self._showings[path]


def shown_particles(run: EvaluatedRun) -> np.ndarray:
    """Numbers (0-based) of the particles that latent plots show: all, or MOST_POINTS evenly through the stack."""
    count = len(run.labels)
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(np.int64))


def _confusion(run: EvaluatedRun) -> JsonObject:
    counts = np.array(run.clustering.confusion)
    order = run.label_order()
    return {"labels": [run.label_name(j + 1) for j in order], "counts": counts[:, order].tolist()}


def _fsc(run: EvaluatedRun) -> JsonObject | None:
    fsc = run.metrics.fsc
    if not fsc:
        return None
    names = run.class_names
    classes = [
        {"species": names.index(entry.class_name), "mean": _short(entry.curve_mean), "sd": _short(entry.curve_sd)}
        for entry in fsc.per_class
    ]
    return {"frequency": fsc.frequency_per_A, "mask": fsc.mask, "classes": classes}


def _short(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]


def _latents(run: EvaluatedRun) -> JsonObject | None:
    latents = run.metrics.latents
    if not latents:
        return None
    chosen = shown_particles(run)
    points, columns = np.array(latents.projection)[chosen], latents.dimension
    name = "latent" if columns <= 2 else f"principal axis of {columns} latents,"
    axes = [f"{name} {i} (a.u.)" for i in (1, 2)]
    if columns == 1:  # points on a line would hide each other
        points[:, 1] = np.random.default_rng(0).uniform(-1, 1, len(points))
        axes[1] = "(spread at random)"
    return {
        "axes": axes,
        "own_spaces": run.noun == "class",
        "x": encoded(points[:, 0].astype("<f4")),
        "y": encoded(points[:, 1].astype("<f4")),
        "truth": encoded(np.array(run.true_classes)[chosen].astype("<i2")),
        "label": encoded((np.array(run.own_labels)[chosen] + 1).astype("<u2")),
        "sizes": run.own_sizes,
    }
