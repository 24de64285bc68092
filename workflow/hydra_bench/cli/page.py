"""`hydra-bench page`: the page of the report."""

from argparse import ArgumentParser, Namespace

from hydra_bench.cli.options import add_hide_nodes, add_metrics, add_paths
from hydra_bench.core.threads import set_threads

HELP = "make the report page"


def add_options(parser: ArgumentParser) -> None:
    add_metrics(parser)
    add_paths(parser, tables="folder of the tables", figures="folder of the figures", out="file to write")
    add_hide_nodes(parser)


def run(args: Namespace) -> None:
    from hydra_bench.report.page.page import write_page

    set_threads(1)
    write_page(args.metrics, args.tables, args.figures, args.out, nodes=not args.hide_nodes)
