"""`hydra-bench check-config`: whether a configuration is right."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.cli.options import add_configuration
from hydra_bench.config import configuration as config

HELP = "check configuration files, merged in the order given"


def add_options(parser: ArgumentParser) -> None:
    add_configuration(parser)


def run(args: Namespace) -> None:
    checked(args.files)


def checked(files: list[Path]) -> config.Config:
    """Read, check and complete configuration files, fetch what is missing, and look at the files. Raises InputError."""
    settings = config.validate(config.load(files), files)
    config.check_named_files(settings, files)
    config.fetch_entries(settings, files)
    config.check_contents(settings, files)
    return settings
