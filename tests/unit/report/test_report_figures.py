"""Figures: what is written, that it is the same each time, and that isosurfaces show what they should."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from report_results import blob, contents, finished, make_results, of_classes, write_run
from scipy.ndimage import center_of_mass
from skimage.color import deltaE_ciede2000, rgb2lab

from hydra_bench.core.files import read_json
from hydra_bench.core.yaml_files import read_yaml
from hydra_bench.report.figures import isosurface
from hydra_bench.report.figures.class_maps import row_panels
from hydra_bench.report.figures.confusion import confusion_matrices
from hydra_bench.report.figures.fsc import fsc_curves
from hydra_bench.report.figures.index import write_figures
from hydra_bench.report.figures.method_lines import COLOURS, KNOWN, KNOWN_BOUNDS, lines_of, method_lines
from hydra_bench.report.figures.style import report_style, species_colour
from hydra_bench.report.results import read_all, read_run

ROOT = Path(__file__).parents[3]
COMMON = {"class_maps", "confusion", "fsc", "fsc_auc", "particles", "convergence_hydra_k3"}
LATENTS = {"latents_hydra_k3", "latents_hydra_k5", "latents_hydra_k1"}


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_figure_is_written_indexed_and_the_same_twice(tmp_path: Path) -> None:
    before = {key: value for key, value in rcParams.items() if key != "backend"}
    paths = [path for path in make_results(tmp_path) if "hydra" in str(path)]
    write_figures(paths, tmp_path / "a")
    write_figures(paths, tmp_path / "b")
    index = read_json(tmp_path / "a" / "index.json")
    assert {Path(entry["file"]).stem for entry in index} == COMMON | LATENTS
    for entry in index:
        assert entry["dataset"] == "demo"
        assert entry["title"]
        assert entry["caption"].endswith(".")
        assert (tmp_path / "a" / entry["file"]).with_suffix(".png").stat().st_size > 2000
    first, second = files(tmp_path / "a"), files(tmp_path / "b")
    assert first == second
    for name, content in first.items():
        if name.endswith(".svg"):
            assert b"<dc:date>" not in content
    assert {key: value for key, value in rcParams.items() if key != "backend"} == before


def test_figures_do_with_the_metrics_alone(tmp_path: Path) -> None:
    labels = [0] * len(contents()[0]["labels"])
    content = finished("lone", "Lone", 0.0, 0.5, n_labels=1, labels=labels, labels_from="one class", latents=False)
    path = tmp_path / "metrics" / "demo" / "lone" / "1.json"
    write_run(tmp_path, content)
    write_figures([path], tmp_path / "figures")
    stems = {Path(entry["file"]).stem for entry in read_json(tmp_path / "figures" / "index.json")}
    assert stems == {"class_maps", "confusion", "fsc", "fsc_auc"}  # maps beside the metrics, without true ones


def test_without_evaluated_particles_there_is_no_fsc(tmp_path: Path) -> None:
    path = write_run(tmp_path, finished("m", "M", 0.5, 0.5, latents=False) | {"fsc": None})
    write_figures([path], tmp_path / "figures")
    index = read_json(tmp_path / "figures" / "index.json")
    assert [Path(entry["file"]).stem for entry in index] == ["class_maps", "confusion"]


@pytest.mark.parametrize("n", [14, 100])
def test_names_of_many_species_do_not_overlap_and_curves_are_quantiles(tmp_path: Path, n: int) -> None:
    contents = [of_classes("hydra_many", "Hydra, many", n, 20), of_classes("other", "Other", n, 20)]
    runs = read_all([write_run(tmp_path, content) for content in contents])
    with report_style():
        confusion = confusion_matrices(runs).figure
        FigureCanvasAgg(confusion).draw()
        for axis in (axis for ax in confusion.axes[:2] for axis in (ax.xaxis, ax.yaxis)):
            boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
            assert len(boxes) >= min(n, 14)
            assert not any(first.overlaps(second) for first, second in pairwise(boxes))
        curves = fsc_curves(runs, method_lines(runs))
    assert [ax.get_title(loc="left") for ax in curves.figure.axes] == ["Hydra, many", "Other"]
    for ax, run in zip(curves.figure.axes, runs, strict=True):
        median = np.median([entry.curve_mean for entry in run.fsc.per_class], axis=0)
        assert any(np.allclose(line.get_ydata(), median) for line in ax.lines if len(line.get_ydata()) == len(median))
        named = [text.get_text().rpartition(" ")[0] for text in ax.get_legend().get_texts()]
        worst = sorted(run.fsc.per_class, key=lambda entry: entry.auc_mean)[:3]
        assert named == [entry.class_name for entry in worst]


def test_only_failures_give_an_empty_index(tmp_path: Path) -> None:
    failed = [path for path in make_results(tmp_path) if "other_program" in str(path)]
    write_figures(failed, tmp_path / "figures")
    assert read_json(tmp_path / "figures" / "index.json") == []


def test_maps_stand_in_their_species_column_and_empty_ones_last(tmp_path: Path) -> None:
    paths = {path.parent.name: path for path in make_results(tmp_path)}
    shown = row_panels(read_run(paths["hydra_k5"]), 3)
    assert [(panel.label, panel.column, panel.empty) for panel in shown[:4]] == [
        (1, 0, False), (2, 1, False), (3, 2, False), (5, 3, False)
    ]  # fmt: skip
    assert shown[4].empty
    assert (shown[4].column, shown[4].text) == (4, "class 4: 0 particles")
    assert row_panels(read_run(paths["hydra_k1"]), 3)[0].text == "cluster 1: 40 particles"


def test_a_method_keeps_its_colour_whatever_else_is_shown(tmp_path: Path) -> None:
    runs = read_all(make_results(tmp_path))
    lines = method_lines(runs)
    assert len({lines[m].colour for m in ("hydra_k3", "hydra_k5", "hydra_k1")}) == 3
    for some in (runs[::-1], runs[2:], [run for run in runs if "hydra" in run.method], runs[-1:]):
        assert all(lines[method] == line for method, line in method_lines(some).items())
    # Sixty names that nobody knows: each has the colour that it has alone, and no two look alike.
    names = [f"method {i}" for i in range(60)]
    together = lines_of([*names, *KNOWN])
    assert all(lines_of([name])[name].colour == together[name].colour for name in names)
    assert len(set(together.values())) == len(together)
    assert all(re.fullmatch(r"#(..)\1\1", line.colour) for line in lines_of(names, bounds=True).values())


def test_names_of_the_presets_are_known_and_look_different() -> None:
    presets = [path for path in (ROOT / "config").glob("*.yaml") if path.name != "bench.yaml"]
    methods = {m for path in presets for m in (read_yaml(path).get("method_definitions") or {})}
    assert {"hydra_k3", "hydra_k1", "hydra_k5", "oracle", "shuffled"} <= methods
    lines = lines_of(KNOWN)
    assert len({line.colour for name, line in lines.items() if name in KNOWN[:8]}) == 8
    assert len({(line.colour, line.style) for line in lines.values()}) == len(KNOWN) <= 16
    assert len({(line.colour, line.marker) for line in lines.values()}) == len(KNOWN)
    bounds = lines_of(KNOWN_BOUNDS, bounds=True).values()
    assert len({(line.colour, line.style) for line in bounds}) == len(KNOWN_BOUNDS)
    assert len({(line.colour, line.marker) for line in bounds}) == len(KNOWN_BOUNDS)
    demo = lines_of(("ceiling", "oracle", "other_species", "noise", "shuffled", "class_bound"), bounds=True).values()
    assert len({line.marker for line in demo}) == len(demo)


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("blindness", BLINDNESS)
def test_colours_of_methods_are_told_apart_by_colour_blind_readers(blindness: str) -> None:
    rgb = np.array([to_rgb(colour) for colour in COLOURS])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(BLINDNESS[blindness]).T, 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    assert min(deltaE_ciede2000(lab[i], lab[j]) for i, j in combinations(range(len(lab)), 2)) > 10


def test_bounds_are_grey_and_species_differ(tmp_path: Path) -> None:
    lines = method_lines(read_all(make_results(tmp_path)))
    assert all(re.fullmatch(r"#(..)\1\1", lines[m].colour) for m in ("oracle", "shuffled"))
    assert len({species_colour(k) for k in range(24)}) == 24


def ball(box: int, centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """A soft ball centred at (x, y, z) voxels from the origin; it crosses 0.5 at `radius`."""
    z, y, x = np.meshgrid(*[np.arange(box) - box // 2] * 3, indexing="ij")
    distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    return (1 / (1 + np.exp((distance - radius) * 2))).astype(np.float32)


def test_the_picture_of_a_ball_has_its_size_and_place() -> None:
    image = isosurface.render(ball(48, (6.0, 4.0, 0.0), 8.0), 0.5, np.eye(3), 24.0, (1.0, 0.5, 0.0), 96)
    cover = image[..., 3]
    row, column = center_of_mass(cover)
    per_voxel = 96 / 48
    assert cover.sum() == pytest.approx(np.pi * (8 * per_voxel) ** 2, rel=0.05)
    assert column == pytest.approx(47.5 + 6 * per_voxel, abs=0.5)
    assert row == pytest.approx(47.5 - 4 * per_voxel, abs=0.5)  # y is up


def test_a_nearer_ball_hides_a_farther_one_and_a_turn_moves_it() -> None:
    both = ball(48, (0.0, 0.0, 10.0), 5.0) + ball(48, (0.0, 0.0, -10.0), 7.0)
    quarter = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # the map's z comes to the right
    image = isosurface.render(both, 0.5, quarter, 24.0, (0.5, 0.5, 0.5), 96)[..., 3]
    left, right = image[:, :48].sum(), image[:, 48:].sum()
    assert right / left == pytest.approx(25 / 49, rel=0.1)


def test_levels_enclose_what_they_say() -> None:
    volume = blob(1, 24)
    level = isosurface.level_holding(volume, 0.8)
    held = volume[volume >= level].sum() / volume[volume > 0].sum()
    assert held == pytest.approx(0.8, abs=0.01)
    voxels = int((volume >= level).sum())
    assert isosurface.level_enclosing(volume * 3 + 1, voxels) == pytest.approx(level * 3 + 1, rel=1e-5)


def test_upsampling_keeps_values_at_the_old_voxels() -> None:
    volume = blob(2, 24)
    assert np.allclose(isosurface.upsample(volume)[::2, ::2, ::2], volume, atol=2e-3)


def test_the_broad_view_is_a_rotation_and_turns_with_the_map() -> None:
    volume = blob(2, 24) + 0.5 * np.roll(blob(0, 24), 3, axis=1)
    view = isosurface.broad_view(volume)
    assert np.allclose(view @ view.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(view) == pytest.approx(1.0)
