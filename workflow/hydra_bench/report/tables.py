"""Table 1, as CSV for programs, Markdown and LaTeX for people, and the same per class."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hydra_bench.files import write_text
from hydra_bench.report.runs import NOT_CONFIGURED, Metrics, by_dataset, by_method, read_all, results_folder, settings

COLUMNS = ("dataset", "method", "n_seeds", "ari_mean", "ari_sd", "fsc_auc_mean", "fsc_auc_sd")
COLUMNS += ("wall_s", "peak_rss_mb", "state")
FIRST, SECOND = 1, 2

Mark = Callable[[str, int], str]
"""Dresses a printed number by its rank."""


@dataclass(frozen=True)
class Row:
    """One method on one dataset.

    Means are over the seeds that ended well, None where none did. `ari_sd` is over seeds, None for one seed;
    `fsc_auc_sd` is over the images of all seeds. Ranks are 1, 2 or 0, among the dataset's competitors, by the
    printed digits; ties share a rank.
    """

    dataset: str
    method: str
    label: str
    is_bound: bool
    n_seeds: int
    ari_mean: float | None
    ari_sd: float | None
    fsc_auc_mean: float | None
    fsc_auc_sd: float | None
    wall_s: float
    peak_rss_mb: float
    state: str
    reason: str
    cpu_s: float
    n_wanted: int
    labels_from: str
    fsc_auc_seed_sd: float | None
    ari_rank: int = 0
    fsc_auc_rank: int = 0

    @property
    def seeds_text(self) -> str:
        """Seeds that ended well, and of how many where some did not or are missing."""
        return str(self.n_seeds) if self.n_seeds == self.n_wanted else f"{self.n_seeds} of {self.n_wanted}"

    @property
    def kind_of_state(self) -> str:
        """The state in one of four words, to choose rows by."""
        known = {"ok", "failed", NOT_CONFIGURED}
        return self.state if self.state in known else "partly ok"


def table_rows(runs: list[Metrics]) -> list[Row]:
    """Table 1: datasets in order, in each the competitors and then the bounds."""
    rows: list[Row] = []
    for group in by_dataset(runs).values():
        wanted = len({run.seed for run in group})
        rows += _ranked([_row(seeds, wanted) for seeds in by_method(group).values()])
    return rows


def _row(seeds: list[Metrics], n_wanted: int) -> Row:
    good = [run for run in seeds if run.ok]
    failed = [run for run in seeds if not run.ok]
    costs = [run["cost"] for run in good or seeds]
    aris = [run["clustering"]["ari"] for run in good]
    compared = [run["fsc"] for run in good if run["fsc"]]
    aucs = [particle["auc"] for fsc in compared for particle in fsc["per_particle"]]
    seed_means = [fsc["auc_mean"] for fsc in compared]
    return Row(
        dataset=seeds[0].dataset,
        method=seeds[0].method,
        label=seeds[0].label,
        is_bound=seeds[0].is_bound,
        n_seeds=len(good),
        ari_mean=float(np.mean(aris)) if aris else None,
        ari_sd=float(np.std(aris, ddof=1)) if len(aris) > 1 else None,
        # One seed's figures are the metrics file's own, digit for digit.
        fsc_auc_mean=compared[0]["auc_mean"] if len(compared) == 1 else float(np.mean(aucs)) if aucs else None,
        fsc_auc_sd=compared[0]["auc_sd"] if len(compared) == 1 else float(np.std(aucs)) if aucs else None,
        wall_s=float(np.mean([cost["wall_s"] for cost in costs])),
        peak_rss_mb=float(np.mean([cost["peak_rss_mb"] for cost in costs])),
        state=_state(seeds, n_wanted),
        reason="; ".join(dict.fromkeys(str(run["reason"]) for run in failed)),
        cpu_s=float(np.mean([cost["cpu_s"] for cost in costs])),
        n_wanted=n_wanted,
        labels_from="; ".join(dict.fromkeys(run["clustering"]["labels_from"] for run in good)),
        fsc_auc_seed_sd=float(np.std(seed_means, ddof=1)) if len(seed_means) > 1 else None,
    )


def _state(seeds: list[Metrics], n_wanted: int) -> str:
    """ok; one word for all that went wrong in the same way; or how many failed and how many were not run."""
    failed = [run.state for run in seeds if not run.ok]
    if len(failed) == len(seeds):
        return failed[0] if len(set(failed)) == 1 else "failed"
    parts = [f"{len(failed)} of {len(seeds)} failed"] if failed else []
    if len(seeds) < n_wanted:
        parts.append(f"{n_wanted - len(seeds)} of {n_wanted} seeds missing")
    return ", ".join(parts) or "ok"


def _ranked(rows: list[Row]) -> list[Row]:
    ari = _ranks([None if row.is_bound else row.ari_mean for row in rows])
    auc = _ranks([None if row.is_bound else row.fsc_auc_mean for row in rows])
    return [Row(**{**row.__dict__, "ari_rank": a, "fsc_auc_rank": f}) for row, a, f in zip(rows, ari, auc, strict=True)]


def _ranks(values: list[float | None]) -> list[int]:
    printed = [None if value is None else float(number(value)) for value in values]
    order = sorted({value for value in printed if value is not None}, reverse=True)[:SECOND]
    return [order.index(value) + 1 if value in order else 0 for value in printed]


def number(value: float | None, digits: int = 3) -> str:
    """A number at the printed digits; an en dash where there is none, and no minus before a zero."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def spread(mean: float | None, sd: float | None) -> str:
    """mean ± sd at the printed digits."""
    return number(mean) if sd is None else f"{number(mean)} ± {number(sd)}"


def write_tables(metric_paths: Iterable[Path | str], folder: Path | str) -> None:
    """Write table1.csv, .md and .tex, and table2.csv (FSC-AUC per class), into `folder`."""
    runs, folder = read_all(metric_paths), Path(folder)
    rows = table_rows(runs)
    footers = {dataset: footer(group) for dataset, group in by_dataset(runs).items()}
    write_text(folder / "table1.csv", _csv(pd.DataFrame([_record(row) for row in rows], columns=list(COLUMNS))))
    write_text(folder / "table1.md", markdown(rows, footers))
    write_text(folder / "table1.tex", latex(rows, footers))
    write_text(folder / "table2.csv", _csv(per_class(runs)))


def _record(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in COLUMNS}


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def per_class(runs: list[Metrics]) -> pd.DataFrame:
    """FSC-AUC and resolution of each species, one row a run and species."""
    records = []
    for run in (run for group in by_dataset(runs).values() for run in group if run.ok and run["fsc"]):
        for entry in run["fsc"]["per_class"]:
            records.append(
                {
                    "dataset": run.dataset,
                    "method": run.method,
                    "seed": run.seed,
                    "species": entry["class_name"],
                    "fsc_auc_mean": entry["auc_mean"],
                    "fsc_auc_sd": entry["auc_sd"],
                    "resolution_0.5_A": entry["resolution_0.5_A"],
                    "resolution_0.143_A": entry["resolution_0.143_A"],
                }
            )
    return pd.DataFrame(records)


def footer(runs: list[Metrics]) -> str:
    """One line under a dataset's rows: what its numbers depend on."""
    facts = [f"{name}: {value}" for name, value in settings(results_folder(runs[0]), runs)]
    seeds = sorted({run.seed for run in runs})
    return "; ".join([*facts, f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"]) + "."


def _cells(row: Row, mark: Mark) -> list[str]:
    if row.n_seeds == 0:
        return [row.label, "0", "–", "–", number(row.wall_s, 1), number(row.peak_rss_mb, 0), f"failed: {row.reason}"]
    state = row.state if not row.reason else f"{row.state}: {row.reason}"
    return [
        row.label,
        str(row.n_seeds),
        mark(spread(row.ari_mean, row.ari_sd), row.ari_rank),
        mark(spread(row.fsc_auc_mean, row.fsc_auc_sd), row.fsc_auc_rank),
        number(row.wall_s, 1),
        number(row.peak_rss_mb, 0),
        state,
    ]


_HEADER = ["Method", "Seeds", "ARI", "FSC-AUC", "Wall time (s)", "Peak memory (MB)", "State"]
_LATEX_HEADER = ["Method", "Seeds", "ARI", "FSC-AUC", "Time (s)", "RAM (MB)", "State"]
_LEGEND = (
    "ARI: mean over seeds (± sd over seeds). FSC-AUC: mean over images ± 1 sd over images. "
    "Best bold, second underlined among methods that do not read the truth; bounds read it and are not ranked."
)


def markdown(rows: list[Row], footers: dict[str, str]) -> str:
    """Table 1 in Markdown, one table a dataset."""
    parts = []
    for dataset, note in footers.items():
        lines = [f"### {dataset}", "", "| " + " | ".join(_HEADER) + " |", "|---|--:|--:|--:|--:|--:|---|"]
        group = [row for row in rows if row.dataset == dataset]
        lines += [_markdown_line(row) for row in group if not row.is_bound]
        if any(row.is_bound for row in group):
            lines += ["| *Bounds (read the truth)* |" + " |" * (len(_HEADER) - 1)]
            lines += [_markdown_line(row) for row in group if row.is_bound]
        parts.append("\n".join([*lines, "", note]))
    return "\n\n".join([*parts, _LEGEND]) + "\n"


def _markdown_line(row: Row) -> str:
    def mark(text: str, rank: int) -> str:
        # Markdown has no underline of its own; <ins> is the tag that renderers let through.
        return {FIRST: f"**{text}**", SECOND: f"<ins>{text}</ins>"}.get(rank, text)

    return "| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row, mark)) + " |"


def latex(rows: list[Row], footers: dict[str, str]) -> str:
    """Table 1 as a LaTeX table to \\input; it needs the booktabs and tabularx packages."""
    lines = [
        "% \\usepackage{booktabs,tabularx}",
        "\\begin{table}",
        "\\newcolumntype{L}{>{\\raggedright\\arraybackslash}X}",
        "\\centering",
        f"\\caption{{{_escaped(_LEGEND)}}}",
        "\\footnotesize\\setlength{\\tabcolsep}{3pt}",
        "\\begin{tabularx}{\\linewidth}{LrrrrrL}",
        "\\toprule",
        " & ".join(_LATEX_HEADER) + " \\\\",
    ]
    for dataset in footers:
        group = [row for row in rows if row.dataset == dataset]
        lines += ["\\midrule", _spanning(f"\\textbf{{{_escaped(dataset)}}}")]
        lines += [_latex_line(row) for row in group if not row.is_bound]
        if any(row.is_bound for row in group):
            lines += ["\\cmidrule(l){1-7}", _spanning("\\emph{Bounds (read the truth)}")]
            lines += [_latex_line(row) for row in group if row.is_bound]
    lines += ["\\bottomrule", "\\end{tabularx}"]
    # Notes stand below the rows: inside they would set the table's width.
    lines += [
        f"\\par\\smallskip\\raggedright {_escaped(dataset)}. {_escaped(note)}" for dataset, note in footers.items()
    ]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def _spanning(text: str) -> str:
    return f"\\multicolumn{{7}}{{l}}{{{text}}} \\\\"


def _latex_line(row: Row) -> str:
    def mark(text: str, rank: int) -> str:
        return {FIRST: f"\\textbf{{{text}}}", SECOND: f"\\underline{{{text}}}"}.get(rank, text)

    first, *middle, last = _cells(row, mark)
    return " & ".join([_escaped(first), *(_symbols(cell) for cell in middle), _escaped(last)]) + " \\\\"


def _symbols(text: str) -> str:
    return text.replace("±", "$\\pm$").replace("–", "--").replace("Å", "\\AA{}")


def _escaped(text: str) -> str:
    """Plain text as LaTeX."""
    special = {c: f"\\{c}" for c in "&%$#_{}"}
    special |= {"~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "\\": "\\textbackslash{}"}
    return _symbols("".join(special.get(character, character) for character in text))
