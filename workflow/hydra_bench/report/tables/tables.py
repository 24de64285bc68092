"""Table 1 as CSV for programs, Markdown and LaTeX for people, and the same per species and run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hydra_bench.contracts.measures import Measure
from hydra_bench.contracts.metrics_file import FSC_AUC
from hydra_bench.contracts.places import TablePlaces
from hydra_bench.core.files import write_text
from hydra_bench.report.results import EvaluatedRun, by_dataset, read_all
from hydra_bench.report.tables import robustness
from hydra_bench.report.tables.cost import cost_table
from hydra_bench.report.tables.rows import FIRST, SECOND, TABLE_MEASURES, Row, footer, number, spread, table_rows
from hydra_bench.report.tables.texts import one_line, plain
from hydra_bench.report.tables.uncertainty import PARTICLES, RUNS, Range

COLUMNS = (
    *("dataset", "method", "n_seeds", "ari_mean", "ari_sd", "fsc_auc_mean", "fsc_auc_sd"),
    *("wall_s", "peak_rss_mb", "state", "fsc_auc_seed_sd", "cpu_s", "labels_from"),
)
"""Of table1.csv, which keep their places; after them come other measures, then the FSC-AUC of each species."""
_QUALITIES = tuple(measure for measure in TABLE_MEASURES if measure.quality)
_COSTS = tuple(measure for measure in TABLE_MEASURES if not measure.quality)
MOST_CLASS_COLUMNS = 6
"""Of Markdown and LaTeX; more species stand in the CSV files alone."""

Mark = Callable[[str, int], str]
"""Dresses a printed number by its rank."""


def write_tables(metric_paths: Iterable[Path | str], folder: Path | str, nodes: bool = True) -> None:
    """Write Table 1 in its three forms, Table 2 (FSC-AUC per class) and the costs of each job into `folder`.

    And what troubles do to methods, where datasets differ by them (robustness.py). Without `nodes`, costs do not name
    the machines.
    """
    runs = read_all(metric_paths, nodes)
    tables = TablePlaces(Path(folder))
    rows = table_rows(runs)
    footers = {dataset: footer(group) for dataset, group in by_dataset(runs).items()}
    write_text(tables.table1, _csv(pd.DataFrame([_record(row) for row in rows])))
    write_text(tables.table1_markdown, markdown(rows, footers))
    write_text(tables.table1_latex, latex(rows, footers))
    write_text(tables.table2, _csv(per_class(runs)))
    write_text(tables.cost, _csv(cost_table(runs)))
    found = robustness.studies(runs)
    if found:
        write_text(tables.robustness, _csv(robustness.records(found)))
        write_text(tables.robustness_markdown, robustness.markdown(found))
    else:  # of other runs, which were here before
        tables.robustness.unlink(missing_ok=True)
        tables.robustness_markdown.unlink(missing_ok=True)


def _record(row: Row) -> dict[str, object]:
    record: dict[str, object] = {name: getattr(row, name) for name in ("dataset", "method", "n_seeds")}
    record |= {name: getattr(row, name) for name in ("state", "labels_from")}
    for measure, found in row.measured.items():
        if not measure.quality:
            record[measure.column] = found.mean
            continue
        record |= {f"{measure.column}_mean": found.mean, f"{measure.column}_sd": found.sd}
        if measure in _QUALITIES:
            likely = found.interval
            ends = (None, None) if likely is None else (likely.low, likely.high)
            record |= {f"{measure.column}_low": ends[0], f"{measure.column}_high": ends[1]}
            record["interval_of"] = record.get("interval_of") or ("" if likely is None else likely.target)
        if measure.over == "images":
            record[f"{measure.column}_seed_sd"] = found.seed_sd
    of_species = {
        f"fsc_auc_{name}_{part}": value
        for name, pair in row.per_class.items()
        for part, value in zip(("mean", "sd"), pair, strict=True)
    }
    record |= {"fsc_auc_normalised": row.normalised, "given": "; ".join(row.given)}
    record |= {"lost_species": "; ".join(row.lost), "split_species": "; ".join(row.split)}
    return {name: record[name] for name in COLUMNS} | record | of_species


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def per_class(runs: list[EvaluatedRun]) -> pd.DataFrame:
    """FSC-AUC and resolution of each species, one row a run and species."""
    records = []
    for run in (run for group in by_dataset(runs).values() for run in group if run.metrics.fsc):
        for entry in run.fsc.per_class:
            record = {"dataset": run.dataset, "method": run.method, "seed": run.seed, "species": entry.class_name}
            record |= {"fsc_auc_mean": entry.auc_mean, "fsc_auc_sd": entry.auc_sd}
            record |= _recovered(run, entry.class_name)
            resolutions = {"resolution_0.5_A": entry.resolution_0_5_A, "resolution_0.143_A": entry.resolution_0_143_A}
            records.append(record | resolutions)
    return pd.DataFrame(records)


def _recovered(run: EvaluatedRun, species: str) -> dict[str, float | None]:
    """Recall, precision and F1 of a species; none where no species is known."""
    found = next((entry for entry in run.clustering.per_species or [] if entry.class_name == species), None)
    return {name: None if found is None else getattr(found, name) for name in ("recall", "precision", "f1")}


@dataclass(frozen=True)
class Layout:
    """What the rows of one dataset's Table 1 show beside the measures.

    seed_sd: measures that have an sd over seeds; species: their columns; normalised: whether there is what scores are
    set between; qualities: measures that have a column.
    """

    seed_sd: tuple[Measure, ...]
    species: tuple[str, ...]
    normalised: bool
    qualities: tuple[Measure, ...]

    @classmethod
    def of(cls, rows: list[Row]) -> Layout:
        species = tuple(dict.fromkeys(name for row in rows for name in row.per_class))
        several = tuple(m for m in _QUALITIES if any(row.measured[m].seed_sd is not None for row in rows))
        shown = species if len(species) <= MOST_CLASS_COLUMNS else ()
        there = tuple(m for m in _QUALITIES if not m.optional or any(row.measured[m].mean is not None for row in rows))
        return cls(several, shown, any(row.normalised is not None for row in rows), there)

    @property
    def header(self) -> list[str]:
        heads = [[measure.name, *(["± over seeds"] if measure in self.seed_sd else [])] for measure in self.qualities]
        between = ["Chance 0, ceiling 1"] if self.normalised else []
        return ["Method", "Seeds", *(name for names in heads for name in names), *between, *self.species]

    def cells(self, row: Row, mark: Mark) -> list[str]:
        """The header's cells; dashes where no seed ended well."""
        cells = [row.label, row.seeds_text]
        for measure in self.qualities:
            found = row.measured[measure]
            score = mark(spread(found.mean, found.sd, measure.digits), found.rank)
            cells.append(score if found.interval is None else f"{score} {_brackets(found.interval, measure.digits)}")
            if measure in self.seed_sd:
                cells.append(number(found.seed_sd, measure.digits))
        if self.normalised:
            cells.append(number(row.normalised))
        return cells + [spread(*row.per_class.get(name, (None, None))) for name in self.species]


def _brackets(found: Range, digits: int) -> str:
    return f"[{number(found.low, digits)}, {number(found.high, digits)}]"


_OVER = {"seeds": "mean over seeds (± sd over seeds)", "images": "mean over images ± 1 sd over images"}
_LEGEND = (
    "".join(
        f"{measure.label}{', of all species and of each' if measure == FSC_AUC else ''}: {_OVER[measure.over]}. "
        for measure in _QUALITIES
    )
    + f"In brackets, 95 % intervals: of one run, of {PARTICLES}; of several, of {RUNS}. Best bold, second underlined "
    "among methods that do not read the truth, by the paired difference on the same images: those that its 95 % "
    "interval does not tell apart share a rank. Bounds read the truth and are not ranked. Chance 0, ceiling 1: the "
    "FSC-AUC, species by species, set between that of other species' maps (or noise) and that of masked "
    "back-projection at true poses and classes; not given where species move."
)


def markdown(rows: list[Row], footers: dict[str, str]) -> str:
    """Table 1 in Markdown, one table a dataset."""
    parts = []
    for dataset, note in footers.items():
        group = [row for row in rows if row.dataset == dataset]
        layout = Layout.of(group)
        header = [*layout.header, *(measure.name for measure in _COSTS), "Lost, split species", "State"]
        lines = [
            f"### {dataset}",
            "",
            "| " + " | ".join(map(plain, header)) + " |",
            "|---|" + "--:|" * (len(header) - 3) + "---|---|",
        ]
        lines += _lines(group, layout, _markdown_line, ["| *Bounds (read the truth)* |" + " |" * (len(header) - 1)])
        parts.append("\n".join([*lines, "", plain(note)]))
    return "\n\n".join([*parts, _LEGEND]) + "\n"


def _lines(rows: list[Row], layout: Layout, line: Callable[[Row, Layout], str], above_bounds: list[str]) -> list[str]:
    """A line for each row: the competitors', then the bounds' with their head."""
    bounds = [line(row, layout) for row in rows if row.is_bound]
    return [line(row, layout) for row in rows if not row.is_bound] + (above_bounds + bounds if bounds else [])


def _markdown_line(row: Row, layout: Layout) -> str:
    def mark(text: str, rank: int) -> str:
        # Markdown has no underline of its own; <ins> is the tag that renderers let through.
        return {FIRST: f"**{text}**", SECOND: f"<ins>{text}</ins>"}.get(rank, text)

    costs = [number(row.measured[measure].mean, measure.digits) for measure in _COSTS]
    label, *rest = layout.cells(row, mark)
    cells = [plain(label), *rest, *costs, plain(row.lost_and_split or "–"), plain(row.state_text)]
    return "| " + " | ".join(cells) + " |"


def latex(rows: list[Row], footers: dict[str, str]) -> str:
    """Table 1 as LaTeX tables to \\input, one a dataset; they need the booktabs and graphicx packages.

    Costs stay in the CSV and on the page. A row without numbers says why in their place.
    """
    return "\n".join(
        ["% \\usepackage{booktabs,graphicx}"]
        + [_latex_table([row for row in rows if row.dataset == dataset], note) for dataset, note in footers.items()]
    )


def _latex_table(rows: list[Row], note: str) -> str:
    layout = Layout.of(rows)
    columns = len(layout.header)
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_escaped(rows[0].dataset)}. {_escaped(_LEGEND)} {_escaped(note)}}}",
        "\\footnotesize\\setlength{\\tabcolsep}{4pt}",
        # Many species make it wider than a page: then it is scaled down to the page's width.
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
        f"\\begin{{tabular}}{{l{'r' * (columns - 1)}}}",
        "\\toprule",
        " & ".join(_escaped(name) for name in layout.header) + " \\\\",
        "\\midrule",
    ]
    bounds = f"\\multicolumn{{{columns}}}{{l}}{{\\emph{{Bounds (read the truth)}}}} \\\\"
    lines += _lines(rows, layout, _latex_line, ["\\midrule", bounds])
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}}", "\\end{table}"]) + "\n"


def _latex_line(row: Row, layout: Layout) -> str:
    def mark(text: str, rank: int) -> str:
        return {FIRST: f"\\textbf{{{text}}}", SECOND: f"\\underline{{{text}}}"}.get(rank, text)

    first, seeds, *rest = layout.cells(row, mark)
    if not row.n_seeds:
        reason = _escaped(row.state_text)
        return f"{_escaped(first)} & {seeds} & \\multicolumn{{{len(rest)}}}{{l}}{{{reason}}} \\\\"
    return " & ".join([_escaped(first), seeds, *(_symbols(cell) for cell in rest)]) + " \\\\"


def _symbols(text: str) -> str:
    return text.replace("±", "$\\pm$").replace("–", "--").replace("Å", "\\AA{}")


def _escaped(text: str) -> str:
    """Plain text as LaTeX."""
    special = {c: f"\\{c}" for c in "&%$#_{}"}
    special |= {"<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", '"': "''", "`": "\\textasciigrave{}"}
    special |= {"~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\\": "\\textbackslash{}"}
    return _symbols("".join(special.get(character, character) for character in one_line(text)))
