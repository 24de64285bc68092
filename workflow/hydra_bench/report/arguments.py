"""Options of the sub-commands that draw one figure and compare two results folders."""

from __future__ import annotations

import argparse
from pathlib import Path

FIGURE_NAMES = ("fig1", "fig2", "fig3", "fig4", "figs")


def figure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=FIGURE_NAMES, help="the paper's figure; figs is the supplement")
    parser.add_argument("--dataset", required=True, help="name of the dataset")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument(
        "--metrics", nargs="+", type=Path, metavar="JSON", help="runs to show (default: all of the dataset)"
    )
    parser.add_argument("--main-method", help="method that figures 1, 3 and 4 show (default: the best by ARI)")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix; of figs the folder")


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="results folder, or its metrics folder")
    parser.add_argument("after", type=Path, help="the one to compare with it")
    parser.add_argument("--out", type=Path, help="CSV file for the table of differences")
    parser.add_argument("--level", type=float, default=0.05, help="of significance, for the marks (default 0.05)")
