"""The report page: one HTML file that holds everything it shows."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hydra_bench import __version__
from hydra_bench.files import read_json, write_text
from hydra_bench.reconstruction import EMPTY_SHARE
from hydra_bench.report.figures import INDEX_NAME
from hydra_bench.report.runs import Metrics, by_dataset, by_method, read_all, results_folder, settings
from hydra_bench.report.tables import FIRST, SECOND, Row, footer, number, spread, table_rows

_HERE = Path(__file__).parent
_MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".csv": "text/csv", ".md": "text/markdown"}
_DOWNLOADS = ("table1.csv", "table1.md", "table1.tex", "table2.csv")


@dataclass(frozen=True)
class Figure:
    """A figure of the page: `source` is its data URI."""

    source: str
    title: str
    caption: str
    method: str | None


@dataclass(frozen=True)
class Method:
    """One method on one dataset: what its part of the page shows."""

    anchor: str
    label: str
    is_bound: bool
    runs: list[Metrics]
    figures: list[Figure]


@dataclass(frozen=True)
class Dataset:
    """One dataset: what its section of the page shows."""

    anchor: str
    name: str
    footer: str
    settings: list[tuple[str, str]]
    competitors: list[Row]
    bounds: list[Row]
    runs: list[Metrics]
    figures: list[Figure]
    methods: list[Method]


def write_page(
    metric_paths: Iterable[Path | str], tables_folder: Path | str, figures_folder: Path | str, out_html: Path | str
) -> None:
    """Write the page from metrics, the tables folder (for its downloads) and the figures folder with its index."""
    runs = read_all(metric_paths)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "plain": _plain}
    environment.globals |= {"spread": _marked_spread, "remarks": remarks, "classes": classes}
    text = environment.get_template("page.html.jinja").render(
        version=__version__,
        style=Markup((_HERE / "page.css").read_text()),
        datasets=_datasets(runs, Path(figures_folder)),
        empty_share=f"{EMPTY_SHARE:.0%}",
        downloads=[(name, data_uri(Path(tables_folder) / name)) for name in _DOWNLOADS],
    )
    write_text(out_html, text)


def data_uri(path: Path) -> str:
    """A file as a data URI."""
    media = _MEDIA_TYPES.get(path.suffix, "text/plain")
    return f"data:{media};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _datasets(runs: list[Metrics], figures: Path) -> list[Dataset]:
    rows = table_rows(runs)
    index = read_json(figures / INDEX_NAME)
    result = []
    for n, (name, group) in enumerate(by_dataset(runs).items()):
        shown = [
            Figure(data_uri(figures / entry["file"]), entry["title"], entry["caption"], entry["method"])
            for entry in index
            if entry["dataset"] == name
        ]
        methods = [
            Method(
                f"dataset-{n + 1}-method-{m + 1}",
                seeds[0].label,
                seeds[0].is_bound,
                seeds,
                [figure for figure in shown if figure.method == method],
            )
            for m, (method, seeds) in enumerate(by_method(group).items())
        ]
        own = [row for row in rows if row.dataset == name]
        result.append(
            Dataset(
                anchor=f"dataset-{n + 1}",
                name=name,
                footer=footer(group),
                settings=settings(results_folder(group[0]), group),
                competitors=[row for row in own if not row.is_bound],
                bounds=[row for row in own if row.is_bound],
                runs=[run for method in methods for run in method.runs],
                figures=[*_gallery(group[0]), *(figure for figure in shown if figure.method is None)],
                methods=methods,
            )
        )
    return result


def _gallery(run: Metrics) -> list[Figure]:
    """The dataset's projection gallery, where it was drawn."""
    path = results_folder(run) / "galleries" / f"{run.dataset}.png"
    if not path.is_file():
        return []
    caption = "Projections of the true maps, particles as methods get them, and the same particles smoothed."
    return [Figure(data_uri(path), "Projection gallery", caption, None)]


def _marked_spread(mean: float | None, sd: float | None, rank: int) -> Markup:
    """mean ± sd, dressed by its rank; the rank is said in words too, for those who do not see it."""
    text = Markup('<span class="nowrap">{}</span>').format(spread(mean, sd))
    if rank == FIRST:
        return Markup('<strong title="best">{}</strong>').format(text)
    return Markup('<span class="second" title="second">{}</span>').format(text) if rank == SECOND else text


def _plain(value: Any) -> str:
    """A parameter or note as one line of text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def remarks(run: Metrics) -> list[str]:
    """What a reader should know of a run's labels: empty, split and merged ones, and the method's own notes."""
    clustering = run["clustering"]
    found = []
    if clustering["empty_labels"]:
        found.append(f"Empty (less than {EMPTY_SHARE:.0%} of all particles): {_listed(clustering['empty_labels'])}.")
    for species, labels in clustering["split_species"].items():
        found.append(f"{species} is split over {_listed(labels)}.")
    for label, species in clustering["merged_labels"].items():
        names = ", ".join(map(str, species)) if isinstance(species, list) else _plain(species)
        found.append(f"class {label} merges {names}.")
    return found + [f"{key}: {_plain(value)}" for key, value in (run.get("notes") or {}).items()]


def _listed(labels: list[int]) -> str:
    """Class numbers as words: class 4; classes 3 and 5."""
    numbers = [str(label) for label in labels]
    if len(numbers) == 1:
        return f"class {numbers[0]}"
    return f"classes {', '.join(numbers[:-1])} and {numbers[-1]}"


def classes(run: Metrics) -> list[dict[str, str]]:
    """One entry a label: its number, size, the species that it matches, and how its map was aligned."""
    clustering, names = run["clustering"], run["class_names"]
    result = []
    for j, size in enumerate(clustering["label_sizes"]):
        matched, majority = clustering["matched_class"][j], clustering["majority_class"][j]
        species = names[matched] if matched is not None else "–" if majority is None else f"(mostly {names[majority]})"
        shown = names[target] if (target := run.species_of(j + 1)) is not None else None
        entry = next((e for e in run.get("alignments") or [] if (e["label"], e["class_name"]) == (j + 1, shown)), None)
        result.append(
            {
                "label": str(j + 1),
                "size": f"{size:,}",
                "species": species,
                "aligned_to": entry["class_name"] if entry else "–",
                "correlation": number(entry["correlation"] if entry else None),
                "hand": "–" if entry is None else "mirrored" if entry["mirrored"] else "as is",
            }
        )
    return result
