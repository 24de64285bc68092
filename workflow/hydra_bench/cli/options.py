"""The options that several commands share."""

from argparse import ArgumentParser, _ArgumentGroup
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import TypeVar

from hydra_bench.core.errors import InputError

Number = TypeVar("Number", int, float)

LARGEST_SEED = 2**63 - 1


def add_paths(parser: ArgumentParser, **texts: str) -> None:
    """An option that must be given for each file or folder, with its help text."""
    for name, text in texts.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=text)


def add_threads(parser: ArgumentParser, default: int = 2) -> None:
    parser.add_argument("--threads", type=int, default=default, help=f"CPU threads (default {default})")


def add_seed(parser: ArgumentParser | _ArgumentGroup) -> None:
    parser.add_argument("--seed", type=_seed, default=0, help="of everything random (default 0)")


def _seed(text: str) -> int:
    """Raises InputError for what no generator of random numbers takes."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST_SEED):
        raise InputError(f"--seed: {text[:100]!r}; a whole number from 0 to {LARGEST_SEED} is allowed")
    return int(text)


def add_configuration(parser: ArgumentParser) -> None:
    text = "configuration files, merged in the order given"
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=text)


def add_metrics(parser: ArgumentParser) -> None:
    parser.add_argument("--metrics", nargs="+", type=Path, required=True, metavar="JSON")


def add_hide_nodes(parser: ArgumentParser) -> None:
    parser.add_argument("--hide-nodes", action="store_true", help="do not name the machines that jobs ran on")


def add_run_of_method(parser: ArgumentParser) -> None:
    """What every method of the workflow is given, and where its reconstruction goes."""
    parser.add_argument("--definition", required=True, help="method definition: JSON text, or a file")
    add_paths(parser, particles="STAR file of the stack", evaluation_list="particles to write volumes of")
    add_seed(parser)
    add_threads(parser)
    add_paths(parser, out="folder for the reconstruction")


def numbers(text: str, kind: Callable[[str], Number], option: str) -> list[Number]:
    """The numbers of an option, with commas between them. Raises InputError."""
    try:
        found = [kind(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(map(isfinite, found)):
        raise InputError(f"{option}: {text!r}; numbers with commas between them are expected")
    return found
