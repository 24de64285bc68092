"""What is made of all results: tables, figures and page, figures of the paper, and what changed between two runs."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from hydra_bench.cli.options import Add, add_paths
from hydra_bench.contracts.places import Results
from hydra_bench.core.errors import InputError
from hydra_bench.report.paper.catalogue import SUPPLEMENT, paper_figures


def add_commands(add: Add) -> None:
    parser = add("summarise", "tables, figures and page of what is finished; the rest are failed rows", make_all)
    add_paths(parser, configuration="the configuration as it was run", results="folder of the results")

    tables = add("tables", "make the tables from all metrics", make_tables)
    figures = add("figures", "draw the figures from all results", draw_figures)
    page = add("page", "make the report page", make_page)
    for parser in (tables, figures, page):
        parser.add_argument("--metrics", nargs="+", type=Path, required=True, metavar="JSON")
    add_paths(tables, out="folder to write")
    add_paths(figures, results="folder of the results", out="folder to write")
    add_paths(page, tables="folder of the tables", figures="folder of the figures", out="file to write")

    parser = add("figure", "draw a figure of the paper from the runs that there are", draw_figure_of_paper)
    option = parser.add_argument
    drawn = paper_figures()
    about = [f"{name}: {' '.join(modules.values())}" for name, modules in drawn.items() if name != SUPPLEMENT]
    option("name", choices=list(drawn), help=f"{' '.join(about)} {SUPPLEMENT}: the supplement.")
    option("--dataset", required=True, help="name of the dataset")
    option("--results", type=Path, default=Results().folder, help="folder of the results")
    option("--metrics", nargs="+", type=Path, metavar="JSON", help="runs to show (default: all of the dataset)")
    option("--main-method", help="method that figures of one method show (default: the best by ARI)")
    option("--out", type=Path, required=True, help="path without suffix; of figs the folder")

    parser = add("compare", "say what changed between two results folders", compare_results)
    parser.add_argument("before", type=Path, help="results folder, or its metrics folder")
    parser.add_argument("after", type=Path, help="the one to compare with it")
    parser.add_argument("--out", type=Path, help="CSV file for the table of differences")
    parser.add_argument("--level", type=float, default=0.05, help="of significance, for the marks (default 0.05)")


def make_all(args: Namespace) -> None:
    from hydra_bench.report.summarise import summarise

    summarise(args.configuration, args.results)


def make_tables(args: Namespace) -> None:
    from hydra_bench.report.tables.tables import write_tables

    write_tables(args.metrics, args.out)


def draw_figures(args: Namespace) -> None:
    from hydra_bench.report.figures.index import write_figures

    write_figures(args.metrics, args.results, args.out)


def make_page(args: Namespace) -> None:
    from hydra_bench.report.page.page import write_page

    write_page(args.metrics, args.tables, args.figures, args.out)


def draw_figure_of_paper(args: Namespace) -> None:
    from hydra_bench.report.paper.shown_runs import choose_runs
    from hydra_bench.report.paper.write import write_figure
    from hydra_bench.report.results import read_all

    folder = Results(args.results).metrics / args.dataset
    found = args.metrics or sorted(folder.glob("*/*.json"))
    if not found:
        raise InputError(f"{folder}: no metrics of any run; is --results right?")
    shown = choose_runs(read_all(found), args.results, args.dataset, args.main_method)
    write_figure(args.name, shown, args.out)


def compare_results(args: Namespace) -> None:
    from hydra_bench.report.compare import compare, markdown, write_csv

    if not 0 < args.level < 1:
        raise InputError(f"--level: {args.level} is not allowed; a number between 0 and 1 is expected")
    comparison = compare(metrics_of(args.before), metrics_of(args.after))
    print(markdown(comparison, args.level))
    if args.out:
        write_csv(comparison, args.out)


def metrics_of(folder: Path) -> list[Path]:
    """Every metrics file of a results (or metrics) folder. Raises InputError if there is none."""
    metrics = Results(folder).metrics
    found = sorted((metrics if metrics.is_dir() else folder).glob("*/*/*.json"))
    if not found:
        raise InputError(
            f"{folder}: no metrics; a results folder with metrics/<dataset>/<method>/<seed>.json is expected"
        )
    return found
