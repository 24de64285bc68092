"""`hydra-bench analyse`: one run looked at by itself, without truth."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.core.errors import InputError

HELP = "look at a run by itself: classes, latents and their clusters, maps along them, a page"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a reconstruction, of any method")
    add = parser.add_argument
    add("--clusters", type=int, default=4, metavar="M", help="k-means clusters of each class's latents (default 4)")
    add("--components", type=int, default=2, metavar="J", help="principal components to make maps along (default 2)")
    add("--points", type=int, default=7, metavar="P", help="maps along a component (default 7)")


def run(args: Namespace) -> None:
    from hydra_bench.contracts.analysis import ANALYSIS_FOLDER
    from hydra_bench.contracts.places import PARTICLES_NAME
    from hydra_bench.contracts.reconstruction import OK, read_assignments, read_run
    from hydra_bench.core.star import read_star
    from hydra_bench.report.analysis.analyse import PAGE_NAME, Wanted, analyse

    made = read_run(args.folder)
    if made.state != OK:
        raise InputError(f"{args.folder}: ended as {made.state}: {made.reason}; a run that ended well is expected")
    particles = read_star(args.folder / PARTICLES_NAME).get("particles")
    found = read_assignments(args.folder, 0 if particles is None else len(particles))
    out = args.folder / ANALYSIS_FOLDER
    analyse(args.folder, made, found, Wanted(args.clusters, args.points, args.components), out)
    print(f"Page: {out / PAGE_NAME}")
