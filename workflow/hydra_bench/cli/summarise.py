"""`hydra-bench summarise`: the report of what is finished."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.contracts.places import Results

HELP = "tables, figures and page of what is finished; the rest are failed rows"


def add_options(parser: ArgumentParser) -> None:
    option = parser.add_argument
    usual = Results().folder
    option("--results", type=Path, default=usual, metavar="DIR", help=f"folder of the results (default {usual})")
    option("--configuration", type=Path, metavar="FILE", help="as it was run (default that in the results)")


def run(args: Namespace) -> None:
    from hydra_bench.report.summarise import summarise

    summarise(args.configuration or Results(args.results).configuration, args.results)
