"""The command line: one sub-command for each step of the workflow, each in a file of its own beside this one.

A command's file has its help text, its options, and `run`, which imports what is heavy when it is called, so that help
and errors are quick.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from importlib import import_module
from typing import Protocol

from hydra_bench import __version__
from hydra_bench.core.errors import InputError


class Command(Protocol):
    """What a command's file has. It is named as the command, with underscores."""

    HELP: str

    def add_options(self, parser: ArgumentParser) -> None: ...

    def run(self, args: Namespace) -> int | None:
        """Returns the exit status, None for 0. Raises InputError."""


COMMANDS: tuple[str, ...] = ("check-config", "dataset", "simulate", "gallery", "hydra", "hydra-volume", "backproject")
COMMANDS += ("reconstruct", "evaluate", "bench", "launch", "doctor", "summarise", "tables", "figures", "page", "figure")
COMMANDS += ("compare",)
"""In the order of the help."""


def build_parser() -> ArgumentParser:
    parser = ArgumentParser(prog="hydra-bench", description="Benchmarks of heterogeneous cryo-EM.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        command: Command = import_module(f"hydra_bench.cli.{name.replace('-', '_')}")
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
