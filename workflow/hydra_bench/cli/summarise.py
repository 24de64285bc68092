"""`hydra-bench summarise`: the report of what is finished."""

from argparse import ArgumentParser, Namespace

from hydra_bench.cli.options import add_paths

HELP = "tables, figures and page of what is finished; the rest are failed rows"


def add_options(parser: ArgumentParser) -> None:
    add_paths(parser, configuration="the configuration as it was run", results="folder of the results")


def run(args: Namespace) -> None:
    from hydra_bench.report.summarise import summarise

    summarise(args.configuration, args.results)
