"""The report page: one HTML file that holds everything it shows."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hydra_bench import __version__
from hydra_bench.contracts.measures import Measure
from hydra_bench.contracts.metrics_file import MEASURES, WALL_TIME
from hydra_bench.contracts.places import TablePlaces
from hydra_bench.core.files import write_text
from hydra_bench.core.json_values import JsonObject
from hydra_bench.report.figures.index import read_index
from hydra_bench.report.figures.method_lines import MARKERS, Line, method_lines
from hydra_bench.report.page import embedding
from hydra_bench.report.page.details import classes, departures, facts, log_tail, map_quality, plain, remarks, told
from hydra_bench.report.page.interactive import Views
from hydra_bench.report.page.terms import TERMS
from hydra_bench.report.results import MOST_NAMED, EvaluatedRun, by_dataset, by_method, first_seeds, read_all, settings
from hydra_bench.report.tables.cost import COLUMNS, cost_table
from hydra_bench.report.tables.robustness import LEGEND, studies
from hydra_bench.report.tables.rows import (
    FIRST,
    PAGE_MEASURES,
    SECOND,
    Aggregate,
    Row,
    aggregate,
    footer,
    number,
    spread,
    table_rows,
)

_HERE = Path(__file__).parent
_SCRIPTS = ("unpack.js", "colours.js", "table.js", "costs.js", "charts.js", "latents.js", "viewer.js", "main.js")
"""The page's own code in the order in which it is read."""
_RUN_MEASURES = tuple(measure for measure in MEASURES if "runs" in measure.shown)
_QUALITIES = tuple(measure for measure in PAGE_MEASURES if measure.quality)


@dataclass(frozen=True)
class Figure:
    """A figure of the page: `source` is its data URI."""

    source: str
    title: str
    caption: str
    method: str | None


@dataclass(frozen=True)
class Method:
    """One method on one dataset. `data`: packed JSON of its interactive views, of the run `shown`; or both None."""

    anchor: str
    row: Row
    runs: list[EvaluatedRun]
    figures: list[Figure]
    shown: EvaluatedRun | None
    data: str | None


@dataclass(frozen=True)
class Dataset:
    """One dataset. `data`: packed JSON of what its methods' views share, None where no run ended well."""

    anchor: str
    name: str
    footer: str
    settings: list[tuple[str, str]]
    figures: list[Figure]
    methods: list[Method]
    data: str | None
    costs: JsonObject


def write_page(
    metric_paths: Iterable[Path | str],
    tables_folder: Path | str,
    figures_folder: Path | str,
    out_html: Path | str,
    nodes: bool = True,
) -> None:
    """Write the page from metrics, the tables folder (for its downloads) and the figures folder with its index.

    Maps, stacks and truths beside the metrics are drawn where they are there. Without `nodes`, machines are not named.
    """
    runs = read_all(metric_paths, nodes)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "plain": plain, "count": _count}
    environment.globals |= {"marked": _marked_spread, "spread": spread, "aggregate": aggregate, "qualities": _QUALITIES}
    environment.globals |= {"remarks": remarks, "classes": classes, "qualities_of": map_quality}
    environment.globals |= {"most_rows": MOST_NAMED}
    environment.globals |= {"facts": facts, "departures": departures, "told": told, "log_tail": log_tail}
    places, jobs = _jobs(runs)
    index = read_index(Path(figures_folder))
    datasets = _datasets(runs, Path(figures_folder), index)
    downloads = TablePlaces(Path(tables_folder)).all()
    script = "\n".join((_HERE / "js" / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    plotly = embedding.library("plotly", "package_data/plotly.min.js")
    text = environment.get_template("page.html.jinja").render(
        version=__version__,
        policy=embedding.content_policy([script, plotly]),
        style=Markup((_HERE / "page.css").read_text()),
        script=Markup(script),
        plotly=embedding.packed(plotly),
        datatables=embedding.packed(embedding.library("itables", "html/dt_bundle.js")),
        datasets=datasets,
        studies=studies(runs),
        study_figures=_figures(Path(figures_folder), index, ""),
        study_legend=LEGEND,
        terms=TERMS,
        normalised=any(method.row.normalised is not None for dataset in datasets for method in dataset.methods),
        places=places,
        jobs=jobs,
        table_measures=shown_measures([method.row for dataset in datasets for method in dataset.methods]),
        run_measures=_RUN_MEASURES,
        downloads=[(path.name, embedding.data_uri(path)) for path in downloads if path.is_file()],
    )
    write_text(out_html, text)


def shown_measures(rows: list[Row]) -> list[Measure]:
    """The measures that have a column in the table of results."""
    return [m for m in PAGE_MEASURES if not m.optional or any(row.measured[m].mean is not None for row in rows)]


def _figures(folder: Path, index: list[JsonObject], dataset: str) -> list[Figure]:
    """The figures of a dataset, or, where that is "", of several; without those that the page has a chart for."""
    return [
        Figure(embedding.data_uri(folder / entry["file"]), entry["title"], entry["caption"], entry["method"])
        for entry in index
        if entry["dataset"] == dataset and not entry["interactive"]
    ]


def _datasets(runs: list[EvaluatedRun], figures: Path, index: list[JsonObject]) -> list[Dataset]:
    rows = {(row.dataset, row.method): row for row in table_rows(runs)}
    lines = method_lines(runs)
    result = []
    for n, (name, group) in enumerate(by_dataset(runs).items()):
        shown = _figures(figures, index, name)
        good = first_seeds(group)
        views = Views(good) if good else None
        own = {method: rows[name, method] for method in by_method(group)}
        result.append(
            Dataset(
                anchor=f"dataset-{n + 1}",
                name=name,
                footer=footer(group),
                settings=settings(group),
                figures=[*_gallery(group[0]), *(figure for figure in shown if figure.method is None)],
                methods=_methods(f"dataset-{n + 1}", group, own, views, shown),
                data=None if views is None else embedding.packed_json(views.of_dataset()),
                costs={
                    "measures": {f"{measure.column}_mean": measure.label for measure in _QUALITIES},
                    "rows": [_cost(row, lines[row.method]) for row in own.values() if row.n_seeds],
                },
            )
        )
    return result


def _jobs(runs: list[EvaluatedRun]) -> tuple[list[str], list[JsonObject]]:
    """The table of costs: of the columns that few machines fill, those that some job fills; and its rows."""
    table = cost_table(runs)
    labels = {run.method: run.label for run in runs}
    table = table.astype(object).where(table.notna(), None)
    records = [dict(zip(COLUMNS, row, strict=True)) for row in table.itertuples(index=False, name=None)]
    records = [record | {"label": labels.get(record["method"])} for record in records]
    return [name for name in ("node", "gpus", "slurm_job") if any(row[name] for row in records)], records


def _gallery(run: EvaluatedRun) -> list[Figure]:
    """The dataset's projection gallery, where it was drawn."""
    path = run.places.results.dataset(run.dataset).gallery
    if not path.is_file():
        return []
    caption = "Projections of the true maps, particles as methods get them, and the same particles smoothed."
    return [Figure(embedding.data_uri(path), "Projection gallery", caption, None)]


def _methods(
    anchor: str,
    group: list[EvaluatedRun],
    rows: dict[str, Row],
    views: Views | None,
    figures: list[Figure],
) -> list[Method]:
    result = []
    for m, (method, seeds) in enumerate(by_method(group).items()):
        shown = next((run for run in views.runs if run.method == method), None) if views else None
        result.append(
            Method(
                f"{anchor}-method-{m + 1}",
                rows[method],
                seeds,
                [figure for figure in figures if figure.method == method],
                shown,
                None if shown is None or views is None else embedding.packed_json(views.of_method(shown)),
            )
        )
    return result


def _cost(row: Row, line: Line) -> JsonObject:
    symbol = MARKERS[line.marker] + ("-open" if row.is_bound else "")
    entry = {"label": row.label, "wall_s": row.measured[WALL_TIME].mean, "colour": line.colour, "symbol": symbol}
    for measure in _QUALITIES:
        found = row.measured[measure]
        entry |= {f"{measure.column}_mean": found.mean, f"{measure.column}_mean_sd": found.sd}
    return entry


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _marked_spread(measure: Measure, found: Aggregate, ranked: bool = True) -> Markup:
    """mean ± sd, dressed by its rank; the rank is said in words too, for those who do not see it."""
    text = Markup('<span class="nowrap">{}</span>').format(spread(found.mean, found.sd, measure.digits))
    if ranked and found.rank == FIRST:
        text = Markup('<strong title="best">{}</strong>').format(text)
    if ranked and found.rank == SECOND:
        text = Markup('<span class="second" title="second">{}</span>').format(text)
    if ranked and found.interval is not None:
        ends = [number(end, measure.digits) for end in (found.interval.low, found.interval.high)]
        text += Markup(' <span class="nowrap muted" title="95 % interval: {}">[{}, {}]</span>').format(
            found.interval.target, *ends
        )
    return text
