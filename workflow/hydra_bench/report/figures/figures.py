"""All figures of a report, and the index that the page reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hydra_bench.core.files import write_json
from hydra_bench.report.figures.clustering_figures import confusion_matrices, latent_plot
from hydra_bench.report.figures.maps_figure import class_maps
from hydra_bench.report.figures.method_lines import Line, method_lines
from hydra_bench.report.figures.resolution_figures import auc_strips, fsc_curves
from hydra_bench.report.figures.run_figures import convergence, particle_gallery
from hydra_bench.report.figures.style import Picture, report_style, save
from hydra_bench.report.results import Metrics, by_dataset, first_seeds, read_all

INDEX_NAME = "index.json"


def write_figures(metric_paths: Iterable[Path | str], results_folder: Path | str, out_folder: Path | str) -> None:
    """Write <dataset>/<name>.svg and .png for every figure that the files allow, and index.json.

    Figures show each method's first seed that ended well. What a figure needs beside the metrics (maps, stack,
    history) is looked up in `results_folder`; where it is missing the figure is left out.
    """
    runs, results, out = read_all(metric_paths), Path(results_folder), Path(out_folder)
    lines = method_lines(runs)
    index: list[dict[str, Any]] = []
    with report_style():
        for dataset, group in by_dataset(runs).items():
            for picture in _pictures(first_seeds(group), results, lines):
                save(picture.figure, out / dataset / picture.name)
                index.append(_entry(dataset, picture))
    write_json(out / INDEX_NAME, index)


def _pictures(runs: list[Metrics], results: Path, lines: dict[str, Line]) -> Iterator[Picture]:
    """The figures of one dataset, in the page's order; `runs` ended well."""
    if not runs:
        return
    optional = [class_maps(runs, results)]
    always = [confusion_matrices(runs)]
    compared = [run for run in runs if run["fsc"]]
    if compared:
        always += [fsc_curves(compared, lines), auc_strips(compared)]
    optional_later = [particle_gallery(runs[0], results)]
    optional_later += [latent_plot(run) for run in runs]
    optional_later += [convergence(run, results) for run in runs]
    yield from (picture for picture in [*optional, *always, *optional_later] if picture is not None)


def _entry(dataset: str, picture: Picture) -> dict[str, Any]:
    return {
        "file": f"{dataset}/{picture.name}.svg",
        "dataset": dataset,
        "title": picture.title,
        "caption": picture.caption,
        "method": picture.method,
        "interactive": picture.interactive,
    }
