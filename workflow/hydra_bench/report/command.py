"""The sub-commands `figure` and `compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hydra_bench.core.errors import InputError


def figure_command(args: argparse.Namespace) -> None:
    from hydra_bench.report.paper.drawing import draw_figure

    found = args.metrics or sorted((args.results / "metrics" / args.dataset).glob("*/*.json"))
    if not found:
        raise InputError(f"{args.results / 'metrics' / args.dataset}: no metrics of any run; is --results right?")
    draw_figure(args.name, found, args.results, args.dataset, args.main_method, args.out)


def compare_command(args: argparse.Namespace) -> None:
    from hydra_bench.report.compare import compare, markdown, write_csv

    if not 0 < args.level < 1:
        raise InputError(f"--level: {args.level} is not allowed; a number between 0 and 1 is expected")
    comparison = compare(metrics_of(args.before), metrics_of(args.after))
    print(markdown(comparison, args.level))
    if args.out:
        write_csv(comparison, args.out)


def metrics_of(folder: Path) -> list[Path]:
    """Every metrics file of a results (or metrics) folder. Raises InputError if there is none."""
    metrics = folder / "metrics" if (folder / "metrics").is_dir() else folder
    found = sorted(metrics.glob("*/*/*.json"))
    if not found:
        raise InputError(
            f"{folder}: no metrics; a results folder with metrics/<dataset>/<method>/<seed>.json is expected"
        )
    return found
