"""The arguments of `hydra-bench hydra` and `hydra-bench hydra-volume`; nothing heavy is imported for them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


class _ListSettings(argparse.Action):
    """Prints the settings, which are imported only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from hydra_bench.methods.hydra.settings_tables import listing

        print(listing())
        parser.exit()


def hydra_arguments(one: argparse.ArgumentParser) -> None:
    particles = one.add_argument_group("particles")
    particles.add_argument(
        "--particles", type=Path, required=True, metavar="FILE", help="RELION .star, cryoSPARC .cs, or .mrcs"
    )
    particles.add_argument("--datadir", type=Path, metavar="DIR", help="where the image files that it names lie")
    particles.add_argument(
        "--passthrough", type=Path, metavar="CS", help="the .cs file that holds what the other lacks"
    )
    particles.add_argument("--no-ctf", action="store_true", help="images have no CTF, or were corrected for it")
    particles.add_argument(
        "--pixel-size", type=float, metavar="Å", help="pixel size, if the file's own is to be replaced"
    )
    particles.add_argument(
        "--poses-from", type=Path, metavar="FILE", help="STAR or .cs file with poses to refine (default) or hold fixed"
    )

    method = one.add_argument_group("method")
    method.add_argument("--classes", type=int, metavar="K", help="number of neural fields")
    method.add_argument(
        "--latent-dim",
        metavar="D",
        help="dimension of the conformations, 0 for rigid; 2,2,0 is one a class",
    )
    method.add_argument("--preset", metavar="NAME", help="named set of settings: see --settings")
    method.add_argument("--downsample", type=int, metavar="PX", help="box to Fourier-crop images to, inside")
    method.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting, the value as YAML; repeat for more",
    )
    method.add_argument(
        "--settings", action=_ListSettings, help="list all settings, their defaults and bounds, and exit"
    )
    method.add_argument("--definition", help="instead of these: a method definition, JSON text or a file")
    method.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")

    run = one.add_argument_group("run")
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the reconstruction")
    run.add_argument("--device", default="auto", help="auto (default), cpu, cuda, or cuda:<number>")
    run.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    run.add_argument("--resume", action="store_true", help="go on from the checkpoint, if there is one")
    run.add_argument("--checkpoint", type=Path, metavar="FILE", help="where it is kept (default <out>.checkpoint)")
    run.add_argument(
        "--checkpoint-minutes", type=float, default=3.0, metavar="MIN", help="time between checkpoints (default 3)"
    )
    run.add_argument("--keep-checkpoint", action="store_true", help="leave it there when the run has ended well")
    run.add_argument("--evaluation-list", type=Path, metavar="FILE", help="particles (from 0) to write own maps of")


def volume_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("--run", dest="folder", type=Path, required=True, metavar="DIR", help="folder of a finished run")
    one.add_argument("--class", dest="class_number", type=int, required=True, metavar="K", help="class, from 1")
    where = one.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--latent",
        action="append",
        metavar="Z",
        help="a latent as 0.5,-1 (one that starts with a minus as --latent=-1,0.5); repeat for more maps",
    )
    where.add_argument("--principal-component", type=int, metavar="J", help="along a component, from 1")
    where.add_argument("--kmeans", type=int, metavar="M", help="at the centres of M clusters of the latents")
    one.add_argument(
        "--points", type=int, default=10, help="maps along a component (default 10), from its 5th to 95th percentile"
    )
    one.add_argument("--between", type=int, default=0, help="maps between each two k-means centres (default 0)")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the maps and latents.csv")
