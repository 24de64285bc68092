"""`hydra-bench dataset`: what the datasets of a configuration would be, and troubles put onto a stack that is there."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.cli.check_config import checked
from hydra_bench.cli.options import add_configuration, add_seed, numbers
from hydra_bench.config import configuration as config
from hydra_bench.core.errors import InputError
from hydra_bench.datasets.kinds import description, kind_of

HELP = "say what datasets would be, fetch the PDB entries they need, or degrade a stack"


def add_options(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "explain the datasets of a configuration"
    check = actions.add_parser("check", help=text, description=text)
    check.add_argument("--gallery", type=Path, metavar="DIR", help="draw a few particles of each dataset there")
    add_configuration(check)
    text = "fetch the PDB entries that the datasets of a configuration need"
    add_configuration(actions.add_parser("fetch", help=text, description=text))
    text = "put troubles of real images onto a stack that is there, into a new one beside a record of what was done"
    _add_degrading(actions.add_parser("degrade", help=text, description=text))


def _add_degrading(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("stack", type=Path, metavar="STACK", help="STAR file of particles (RELION 3.0 to 5)")
    add(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder to make: particles.star, .mrcs, degraded.json, .csv",
    )
    add("--datadir", type=Path, metavar="DIR", help="where the image files lie, if not where the file says")
    text = (
        "where particles end, in half boxes: noise is measured outside, and is the unit of what is added (default 0.75)"
    )
    add("--background-radius", type=float, default=0.75, metavar="R", help=text)
    add_seed(parser)
    add = parser.add_argument_group("troubles, each off if nothing is said").add_argument

    def amount(option: str, metavar: str, text: str, default: float | None = 0.0) -> None:
        add(option, type=float, default=default, metavar=metavar, help=text)

    amount(
        "--contrast-log-sd",
        "SD",
        "contrasts that vary, of this deviation of their logarithm; the greatest is as it was",
    )
    amount("--noise-excess", "E", "noise on top of what is there, of power E / (1 + (s corner)²) of it at frequency s")
    amount("--noise-corner-A", "Å", "inverse of the frequency at which half of that is left (default 66)", 66.0)
    amount("--plane-sd", "SD", "background that slopes, by so many deviations of the noise over half a box")
    amount(
        "--view-kappa",
        "K",
        "fewer views, chosen by their angles with a density ∝ exp(K cos² of that to the axis)",
        None,
    )
    add("--view-axis", default="0,0,1", metavar="X,Y,Z", help="that axis in the map's frame (default 0,0,1)")
    amount("--defocus-error-sd-A", "Å", "defocus that the STAR file states wrongly, of both axes alike")
    amount("--origin-error-sd-A", "Å", "origins that the STAR file states wrongly, along x and y")
    amount(
        "--neighbour-share", "P", "share of the images that another one of the stack is laid over, beside its particle"
    )
    amount("--neighbour-distance-px", "PX", "how far from the middle (default 0.8 half boxes)", None)
    amount("--junk-share", "P", "share of the images that become junk")
    text = "what it is, of empty (noise alone), edge (of a carbon film), overlapping (two images); default all three"
    add("--junk-kinds", default="empty,edge,overlapping", metavar="KIND,…", help=text)


def run(args: Namespace) -> None:
    if args.action == "degrade":
        _degrade(args)
        return
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


def _degrade(args: Namespace) -> None:
    from hydra_bench.core.threads import set_threads
    from hydra_bench.datasets.degraded.degrade import degrade
    from hydra_bench.datasets.degraded.wanted import Degradation
    from hydra_bench.datasets.simulated.troubles import Troubles, Views

    set_threads(1)
    axis = numbers(args.view_axis, float, "--view-axis")
    if len(axis) != 3:
        raise InputError(f"--view-axis: {args.view_axis!r}; three numbers with commas between them are expected")
    plain = (
        *("contrast_log_sd", "noise_excess", "noise_corner_A", "plane_sd", "defocus_error_sd_A"),
        *("junk_share", "neighbour_share"),
    )
    troubles = Troubles(
        views=() if args.view_kappa is None else (Views(args.view_kappa, (axis[0], axis[1], axis[2])),),
        junk_kinds=tuple(args.junk_kinds.split(",")),
        **{name: getattr(args, name) for name in plain},
    )
    own = ("neighbour_distance_px", "origin_error_sd_A", "background_radius", "seed")
    wanted = Degradation(troubles, **{name: getattr(args, name) for name in own})
    degrade(args.stack, wanted, args.out, args.datadir)


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
