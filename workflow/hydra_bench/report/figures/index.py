"""Which figures a report has of each dataset: written, with the index that the page reads."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json, write_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.report.figures.calibration import reliability_curves
from hydra_bench.report.figures.class_maps import class_maps
from hydra_bench.report.figures.confusion import confusion_matrices
from hydra_bench.report.figures.convergence import convergence
from hydra_bench.report.figures.fsc import auc_strips, fsc_curves
from hydra_bench.report.figures.latents import latent_plot
from hydra_bench.report.figures.method_lines import Line, method_lines
from hydra_bench.report.figures.particle_images import particle_images
from hydra_bench.report.figures.robustness import heat_map
from hydra_bench.report.figures.style import Picture, report_style, save
from hydra_bench.report.results import EvaluatedRun, by_dataset, first_seeds, read_all
from hydra_bench.report.tables.robustness import studies

INDEX_NAME = "index.json"
OF_STUDIES = "studies"
"""The folder of figures that show several datasets; as their dataset the index has the empty text, which is no name."""


def write_figures(metric_paths: Iterable[Path | str], out_folder: Path | str) -> None:
    """Write <dataset>/<name>.svg and .png for every figure that the files allow, and index.json.

    Those of several datasets together are in a folder of their own.

    Figures show each method's first seed that ended well. Where what a figure needs
    beside the metrics (maps, stack, history) is missing the figure is left out.
    """
    runs = read_all(metric_paths)
    out = Path(out_folder)
    lines = method_lines(runs)
    index: list[JsonObject] = []
    with report_style():
        for number, study in enumerate(studies(runs), start=1):
            index.append(_written(heat_map(study, number), out / OF_STUDIES, dataset=""))
        for dataset, group in by_dataset(runs).items():
            for picture in _pictures(first_seeds(group), lines):
                index.append(_written(picture, out / dataset, dataset))
    write_json(out / INDEX_NAME, index)


def _written(picture: Picture, folder: Path, dataset: str) -> JsonObject:
    """Write a figure into a folder of those beside the index; its entry there."""
    save(picture.figure, folder / picture.name)
    return {
        "file": f"{folder.name}/{picture.name}.svg",
        "dataset": dataset,
        "title": picture.title,
        "caption": picture.caption,
        "method": picture.method,
        "interactive": picture.interactive,
    }


def read_index(folder: Path) -> list[JsonObject]:
    """The figures of a folder that `write_figures` wrote, `file` as a path in it.

    Raises InputError if there is no index, or an entry is none of it or leads out of the folder.
    """
    path = folder / INDEX_NAME
    if not path.exists():
        raise InputError(f"{path}: no such file; a folder that `hydra-bench figures` wrote is expected")
    index = read_json(path)
    kinds = {"file": str, "dataset": str, "title": str, "caption": str, "method": str | None, "interactive": bool}
    for entry in index if isinstance(index, list) else [None]:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key, 0), kinds[key]) for key in kinds):
            raise InputError(f"{path}: a list of entries with {', '.join(kinds)} is expected")
        if Path(entry["file"]).is_absolute() or ".." in Path(entry["file"]).parts:
            raise InputError(f"{path}: file {entry['file'][:200]!r} leads out of its folder")
    return list(index)


def _pictures(runs: list[EvaluatedRun], lines: dict[str, Line]) -> Iterator[Picture]:
    """The figures of one dataset, in the page's order; `runs` ended well."""
    if not runs:
        return
    pictures = [class_maps(runs)]
    if sorting := [run for run in runs if run.sorted_by_itself]:
        pictures.append(confusion_matrices(sorting))
    pictures.append(reliability_curves(runs, lines))
    if compared := [run for run in runs if run.metrics.fsc]:
        pictures += [fsc_curves(compared, lines), auc_strips(compared)]
    pictures.append(particle_images(runs[0]))
    pictures += [latent_plot(run) for run in runs]
    pictures += [convergence(run) for run in runs]
    yield from (picture for picture in pictures if picture is not None)
