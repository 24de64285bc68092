"""The sub-commands about datasets: what they would be, fetching, importing, drawing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hydra_bench.config import configuration as config
from hydra_bench.core.definition import read_definition
from hydra_bench.core.threads import set_threads


def checked(files: list[Path]) -> config.Config:
    """Read, check and complete configuration files, fetch what is missing, and look at the files. Raises InputError."""
    settings = config.validate(config.load(files), files)
    config.fetch_structures(settings, files)
    config.check_structures(settings, files)
    config.check_named_files(settings, files)
    return settings


def dataset_command(args: argparse.Namespace) -> None:
    """`hydra-bench dataset check|fetch FILE...`. Raises InputError."""
    if args.action == "fetch":
        config.fetch_structures(config.validate(config.load(args.files), args.files), args.files)
        return
    from hydra_bench.datasets.description import explained

    settings = checked(args.files)
    folders = config.structure_folders(settings)
    for name in settings["datasets"]:
        print("\n".join(explained(name, settings["dataset_definitions"][name], folders)))
        if args.gallery is not None:
            _preview(name, settings["dataset_definitions"][name], folders, args.gallery)


def _preview(name: str, dataset: config.Config, folders: list[Path], out: Path) -> None:
    """Draw the gallery of a small version of a dataset, made for it and thrown away."""
    import tempfile

    from hydra_bench.datasets.definitions import kind_of
    from hydra_bench.report.figures.gallery import write_gallery

    small = {**dataset, "name": name, "evaluation_particles_per_class": 1}
    if kind_of(dataset) == "species":
        small = {**small, "species": {key: _few_of(one) for key, one in dataset["species"].items()}}
    with tempfile.TemporaryDirectory() as folder:
        make_dataset(small, folders, Path(folder) / "stack", Path(folder) / "truth")
        write_gallery(Path(folder) / "stack" / "particles.star", Path(folder) / "truth", out / f"{name}.png")
    print(f"  gallery: {out / f'{name}.png'}", file=sys.stderr)


_PREVIEWED, _PREVIEW_STATES = 16, 3


def _few_of(species: config.Config) -> config.Config:
    """A species with few images and, since each costs a map, few states."""
    few = {**species, "images": min(species["images"], _PREVIEWED)}
    if species["motion"] is not None:
        few["motion"] = {**species["motion"], "states": min(species["motion"]["states"], _PREVIEW_STATES)}
    if species["interpolate"] is not None:
        few["interpolate"] = min(species["interpolate"], _PREVIEW_STATES)
    return few


def make_dataset(definition: config.Config, structures: list[Path], stack: Path, truth: Path) -> None:
    """Make the stack and the truth, or the reference, of a dataset of any kind. Raises InputError."""
    from hydra_bench.datasets.definitions import kind_of

    kind = kind_of(definition)
    if kind == "species":
        from hydra_bench.datasets.simulated.simulate import simulate

        simulate(definition, structures, stack, truth)
    elif kind == "particles":
        from hydra_bench.datasets.experiment import import_particles

        import_particles(definition, stack, truth)
    else:
        from hydra_bench.datasets.cryobench import import_cryobench

        import_cryobench(definition, stack, truth)


def simulate_command(args: argparse.Namespace) -> None:
    """`hydra-bench simulate`: a dataset of any kind. Raises InputError."""
    definition = read_definition(args.definition)
    # A few very large blocks, which would stay beside each other if they were kept.
    set_threads(args.threads, keep_memory=False)
    make_dataset(definition, args.structures, args.stack, args.truth)


def gallery_command(args: argparse.Namespace) -> None:
    """`hydra-bench gallery`. Raises InputError."""
    from hydra_bench.report.figures.gallery import write_gallery

    set_threads(1)
    write_gallery(args.particles, args.truth, args.out)
