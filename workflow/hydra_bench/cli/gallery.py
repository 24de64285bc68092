"""`hydra-bench gallery`: the step that draws a dataset."""

from argparse import ArgumentParser, Namespace

from hydra_bench.cli.options import add_paths
from hydra_bench.core.threads import set_threads

HELP = "draw true projections and particles of a dataset"


def add_options(parser: ArgumentParser) -> None:
    add_paths(parser, particles="STAR file of the stack", truth="folder of the truth", out="PNG file to write")


def run(args: Namespace) -> None:
    from hydra_bench.report.figures.particle_images import write_gallery

    set_threads(1)
    write_gallery(args.particles, args.truth, args.out)
