"""The sub-commands about datasets: what they would be, fetching, importing, drawing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hydra_bench.config import configuration as config
from hydra_bench.config import named_files
from hydra_bench.core.definition import read_definition
from hydra_bench.core.threads import set_threads
from hydra_bench.datasets.kinds import description, kind_of


def checked(files: list[Path]) -> config.Config:
    """Read, check and complete configuration files, fetch what is missing, and look at the files. Raises InputError."""
    settings = config.validate(config.load(files), files)
    named_files.check_named_files(settings, files)
    named_files.fetch_entries(settings, files)
    named_files.check_contents(settings, files)
    return settings


def dataset_command(args: argparse.Namespace) -> None:
    """`hydra-bench dataset check|fetch FILE...`. Raises InputError."""
    if args.action == "fetch":
        named_files.fetch_entries(config.validate(config.load(args.files), args.files), args.files)
        return
    settings = checked(args.files)
    folders = named_files.structure_folders(settings)
    for name in settings["datasets"]:
        print("\n".join(description(name, settings["dataset_definitions"][name], folders)))
        if args.gallery is not None:
            _preview(name, settings["dataset_definitions"][name], folders, args.gallery)


def _preview(name: str, dataset: config.Config, folders: list[Path], out: Path) -> None:
    """Draw the gallery of a small version of a dataset, made for it and thrown away."""
    import tempfile

    from hydra_bench.report.figures.gallery import write_gallery

    kind = kind_of(dataset)
    small = {**kind.few_images(dataset), "name": name, "evaluation_particles_per_class": 1}
    with tempfile.TemporaryDirectory() as folder:
        kind.make(small, folders, Path(folder) / "stack", Path(folder) / "truth")
        write_gallery(Path(folder) / "stack" / "particles.star", Path(folder) / "truth", out / f"{name}.png")
    print(f"  gallery: {out / f'{name}.png'}", file=sys.stderr)


def simulate_command(args: argparse.Namespace) -> None:
    """`hydra-bench simulate`: a dataset of any kind. Raises InputError."""
    definition = read_definition(args.definition)
    # A few very large blocks, which would stay beside each other if they were kept.
    set_threads(args.threads, keep_memory=False)
    kind_of(definition).make(definition, args.structures, args.stack, args.truth)


def gallery_command(args: argparse.Namespace) -> None:
    """`hydra-bench gallery`. Raises InputError."""
    from hydra_bench.report.figures.gallery import write_gallery

    set_threads(1)
    write_gallery(args.particles, args.truth, args.out)
