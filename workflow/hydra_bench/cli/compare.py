"""`hydra-bench compare`: two results folders, one beside the other."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.contracts.places import Results
from hydra_bench.core.errors import InputError

HELP = "say what changed between two results folders"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="results folder, or its metrics folder")
    parser.add_argument("after", type=Path, help="the one to compare with it")
    parser.add_argument("--out", type=Path, help="CSV file for the table of differences")
    parser.add_argument("--level", type=float, default=0.05, help="of significance, for the marks (default 0.05)")


def run(args: Namespace) -> None:
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
