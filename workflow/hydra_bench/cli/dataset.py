"""`hydra-bench dataset`: what the datasets of a configuration would be."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.cli.check_config import checked
from hydra_bench.cli.options import add_configuration
from hydra_bench.config import configuration as config
from hydra_bench.datasets.kinds import description, kind_of

HELP = "say what datasets would be, or fetch the PDB entries they need"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("action", choices=("check", "fetch"), help="check explains the datasets of a configuration")
    parser.add_argument("--gallery", type=Path, metavar="DIR", help="draw a few particles of each dataset there")
    add_configuration(parser)


def run(args: Namespace) -> None:
    if args.action == "fetch":
        config.fetch_entries(config.validate(config.load(args.files), args.files), args.files)
        return
    settings = checked(args.files)
    folders = config.structure_folders(settings)
    for name in settings["datasets"]:
        dataset = settings["dataset_definitions"][name]
        print("\n".join(description(name, dataset, folders)))
        if args.gallery is not None:
            _preview({**dataset, "name": name}, folders, args.gallery / f"{name}.png")


def _preview(dataset: config.Config, folders: list[Path], out: Path) -> None:
    """Draw the gallery of a small version of a dataset, made for it and thrown away."""
    from tempfile import TemporaryDirectory

    from hydra_bench.contracts.places import PARTICLES_NAME
    from hydra_bench.report.figures.particle_images import write_gallery

    kind = kind_of(dataset)
    small = {**kind.few_images(dataset), "evaluation_particles_per_class": 1}
    with TemporaryDirectory() as folder:
        stack, truth = Path(folder) / "stack", Path(folder) / "truth"
        kind.make(small, folders, stack, truth)
        write_gallery(stack / PARTICLES_NAME, truth, out)
    print(f"  gallery: {out}", file=sys.stderr)
