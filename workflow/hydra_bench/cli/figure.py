"""`hydra-bench figure`: one figure of the paper."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.contracts.places import Results
from hydra_bench.core.errors import InputError

HELP = "draw a figure of the paper from the runs that there are"
FIGURE_NAMES = ("fig1", "fig2", "fig3", "fig4", "figs")


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("name", choices=FIGURE_NAMES, help="the paper's figure; figs is the supplement")
    parser.add_argument("--dataset", required=True, help="name of the dataset")
    parser.add_argument("--results", type=Path, default=Results().folder, help="folder of the results")
    parser.add_argument(
        "--metrics", nargs="+", type=Path, metavar="JSON", help="runs to show (default: all of the dataset)"
    )
    parser.add_argument("--main-method", help="method that figures 1, 3 and 4 show (default: the best by ARI)")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix; of figs the folder")


def run(args: Namespace) -> None:
    from hydra_bench.report.paper.drawing import draw_figure

    folder = Results(args.results).metrics / args.dataset
    found = args.metrics or sorted(folder.glob("*/*.json"))
    if not found:
        raise InputError(f"{folder}: no metrics of any run; is --results right?")
    draw_figure(args.name, found, args.results, args.dataset, args.main_method, args.out)
