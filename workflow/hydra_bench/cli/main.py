"""The command line: the sub-commands of the workflow and of its users, in files beside this one.

A command's file has its help text, its options, and what it runs, which imports what is heavy when it is called, so
that help and errors are quick.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from hydra_bench import __version__
from hydra_bench.cli import bench, configuration, hydra, jobs, report, steps
from hydra_bench.core.errors import InputError


def build_parser() -> ArgumentParser:
    parser = ArgumentParser(prog="hydra-bench", description="Benchmarks of heterogeneous cryo-EM.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[Namespace], int | None]) -> ArgumentParser:
        options = commands.add_parser(name, help=text, description=text)
        options.set_defaults(run=run)
        return options

    for group in (configuration, steps, hydra, bench, jobs, report):
        group.add_commands(add)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; 2 for an input that is wrong, with one line that says so."""
    args = build_parser().parse_args(arguments)
    try:
        return args.run(args) or 0
    except InputError as error:
        print(f"hydra-bench: error: {error}", file=sys.stderr)
        return 2
