"""`hydra-bench check-config`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.cli.options import add_configuration
from hydra_bench.config import configuration as config
from hydra_bench.config import named_files

HELP = "check configuration files, merged in the order given"


def add_options(parser: ArgumentParser) -> None:
    add_configuration(parser)


def run(args: Namespace) -> None:
    checked(args.files)


def checked(files: list[Path]) -> config.Config:
    """Read, check and complete configuration files, fetch what is missing, and look at the files. Raises InputError."""
    settings = config.validate(config.load(files), files)
    named_files.check_named_files(settings, files)
    named_files.fetch_entries(settings, files)
    named_files.check_contents(settings, files)
    return settings
