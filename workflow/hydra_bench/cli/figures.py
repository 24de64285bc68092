"""`hydra-bench figures`: the figures of the report."""

from argparse import ArgumentParser, Namespace

from hydra_bench.cli.options import add_metrics, add_paths
from hydra_bench.core.threads import set_threads

HELP = "draw the figures from all results"


def add_options(parser: ArgumentParser) -> None:
    add_metrics(parser)
    add_paths(parser, out="folder to write")


def run(args: Namespace) -> None:
    from hydra_bench.report.figures.index import write_figures

    set_threads(1)
    write_figures(args.metrics, args.out)
