"""`hydra-bench hydra-volume`: maps of what hydra made."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.cli.options import numbers
from hydra_bench.core.errors import InputError

HELP = "render maps of a finished run of hydra"


def add_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--run", dest="folder", type=Path, required=True, metavar="DIR", help="folder of a finished run")
    add("--class", dest="class_number", type=int, required=True, metavar="K", help="class, from 1")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--latent",
        action="append",
        metavar="Z",
        help="a latent as 0.5,-1 (one that starts with a minus as --latent=-1,0.5); repeat for more maps",
    )
    where.add_argument("--principal-component", type=int, metavar="J", help="along a component, from 1")
    where.add_argument("--kmeans", type=int, metavar="M", help="at the centres of M clusters of the latents")
    add("--points", type=int, default=10, help="maps along a component (default 10), from its 5th to 95th percentile")
    add("--between", type=int, default=0, help="maps between each two k-means centres (default 0)")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the maps and latents.csv")


def run(args: Namespace) -> None:
    import numpy as np

    from hydra_bench.methods.hydra.output.reconstruction import read_fields
    from hydra_bench.methods.hydra.output.volumes import centres_path, class_latents, principal_path, write_volumes

    saved = read_fields(args.folder)
    k = args.class_number - 1
    latents = class_latents(args.folder, saved, k)
    if args.latent:
        wanted = [numbers(text, float, "--latent") for text in args.latent]
        if len({len(z) for z in wanted}) > 1:
            raise InputError("--latent: all need the same number of dimensions")
        chosen = np.array(wanted)
    elif args.kmeans is not None:
        chosen = centres_path(latents, args.kmeans, args.between)
    else:
        chosen = principal_path(latents, args.principal_component, args.points)
    write_volumes(saved, k, chosen, args.out)
