"""`hydra-bench tables`: the tables of the report."""

from argparse import ArgumentParser, Namespace

from hydra_bench.cli.options import add_hide_nodes, add_metrics, add_paths

HELP = "make the tables from all metrics"


def add_options(parser: ArgumentParser) -> None:
    add_metrics(parser)
    add_paths(parser, out="folder to write")
    add_hide_nodes(parser)


def run(args: Namespace) -> None:
    from hydra_bench.report.tables.tables import write_tables

    write_tables(args.metrics, args.out, nodes=not args.hide_nodes)
