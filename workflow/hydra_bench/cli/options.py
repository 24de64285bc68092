"""What several commands share: how one is added to the command line, and some of the options."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

Add = Callable[[str, str, Callable[[Namespace], int | None]], ArgumentParser]
"""Adds a command: its name, its help, and what it runs, which returns the exit status, None for 0, and may raise
InputError. Gives the parser that its options are added to."""


def add_paths(parser: ArgumentParser, **texts: str) -> None:
    """An option that must be given for each file or folder, with its help text."""
    for name, text in texts.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help=text)


def add_threads(parser: ArgumentParser, default: int = 2) -> None:
    parser.add_argument("--threads", type=int, default=default, help=f"CPU threads (default {default})")
