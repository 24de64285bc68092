"""The command line: the sub-commands of the workflow and of its users, each in the file of its name beside this one."""

import sys
from argparse import ArgumentParser, Namespace
from importlib import import_module
from typing import Protocol, cast

from hydra_bench import __version__
from hydra_bench.core.errors import InputError

COMMANDS = (
    "check-config",
    "start",
    "dataset",
    "simulate",
    "gallery",
    "backproject",
    "reconstruct",
    "evaluate",
    "hydra",
    "hydra-volume",
    "select",
    "bench",
    "launch",
    "doctor",
    "summarise",
    "tables",
    "figures",
    "page",
    "figure",
    "compare",
)
"""In the order of the help."""


class Command(Protocol):
    """What a command's file says. It imports what is heavy in `run`, so that help and errors are quick."""

    HELP: str

    def add_options(self, parser: ArgumentParser) -> None: ...

    def run(self, args: Namespace) -> int | None:
        """The exit status, None for 0. May raise InputError."""


def build_parser() -> ArgumentParser:
    parser = ArgumentParser(prog="hydra-bench", description="Benchmarks of heterogeneous cryo-EM.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        command = cast("Command", import_module(f"hydra_bench.cli.{name.replace('-', '_')}"))
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
