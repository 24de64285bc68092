"""The command line: one sub-command for each step of the workflow, each in a file of its own beside this one.

A command's file has its help text, its options, and `run`, which imports what is heavy when it is called, so that help
and errors are quick.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Protocol

from hydra_bench import __version__
from hydra_bench.cli import (
    backproject,
    bench,
    check_config,
    compare,
    dataset,
    doctor,
    evaluate,
    figure,
    figures,
    gallery,
    hydra,
    hydra_volume,
    launch,
    page,
    reconstruct,
    simulate,
    summarise,
    tables,
)
from hydra_bench.core.errors import InputError


class Command(Protocol):
    """What a command's file must have; it is called by the file's name."""

    __name__: str
    HELP: str

    def add_options(self, parser: ArgumentParser) -> None: ...

    def run(self, args: Namespace) -> int | None:
        """Returns the exit status, None for 0. Raises InputError."""


COMMANDS: tuple[Command, ...] = (
    check_config,
    dataset,
    simulate,
    gallery,
    hydra,
    hydra_volume,
    backproject,
    reconstruct,
    evaluate,
    bench,
    launch,
    doctor,
    summarise,
    tables,
    figures,
    page,
    figure,
    compare,
)
"""In the order of the help."""


def build_parser() -> ArgumentParser:
    parser = ArgumentParser(prog="hydra-bench", description="Benchmarks of heterogeneous cryo-EM.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2].replace("_", "-")
        options = commands.add_parser(name, help=command.HELP, description=command.HELP)
        command.add_options(options)
        options.set_defaults(run=command.run)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; 2 for an input that is wrong, with one line that says so."""
    args = build_parser().parse_args(arguments)
    try:
        return args.run(args) or 0
    except InputError as error:
        print(f"hydra-bench: error: {error}", file=sys.stderr)
        return 2
