"""`hydra-bench select`: particles of a run, given back in the rows of the user's own file."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra_bench.cli.options import numbers
from hydra_bench.core.errors import InputError

if TYPE_CHECKING:
    from hydra_bench.contracts.reconstruction import Assignments
    from hydra_bench.contracts.source import Source
    from hydra_bench.core.types import IntArray

HELP = "give particles of a run back as rows of your own .star or .cs file, or as a list for cryoDRGN"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="RUN", help="folder of a reconstruction, of any method")
    add = parser.add_argument_group("which particles (all, if nothing is said)").add_argument
    add("--class", dest="classes", metavar="K", help="of these classes, from 1, as 1,3")
    add("--exclude-junk", action="store_true", help="that are more likely of a class than of none, of a run that tells")
    add("--min-posterior", type=float, metavar="P", help="whose own class is at least so probable")
    add(
        "--latent-box",
        action="append",
        default=[],
        metavar="J:LOW:HIGH",
        help="whose latent J, from 1, lies between; repeat for more",
    )
    add("--cluster", dest="clusters", metavar="C", help="of these clusters of `hydra-bench analyse`, as 2,5")
    add = parser.add_argument_group("how they are written").add_argument
    text = "a .star file; a .cs file, with its .csg; .ind, .pkl or .npy: row numbers for cryoDRGN's --ind"
    add("--out", type=Path, required=True, metavar="FILE", help=text)
    add("--one-a-class", action="store_true", help="a file for each class: FILE with _class1 and so on in its name")
    add("--keep-poses", action="store_true", help="the file's own poses stay as they are")
    add("--relative-to", type=Path, metavar="DIR", help="STAR: image paths from this folder, RELION's project")
    add = parser.add_argument_group("where the particles' own file lies, if it was moved").add_argument
    add("--particles", type=Path, metavar="FILE", help="the .star or .cs file that the run was of")
    add("--passthrough", type=Path, metavar="CS", help="its passthrough file")
    add("--datadir", type=Path, metavar="DIR", help="where the image files lie, for --relative-to")


def run(args: Namespace) -> None:
    from hydra_bench.contracts.analysis import read_clusters
    from hydra_bench.contracts.reconstruction import OK, read_assignments, read_run
    from hydra_bench.contracts.source import source_of_run
    from hydra_bench.particles.give_back import check_form
    from hydra_bench.particles.selection import Criteria, LatentBox

    made = read_run(args.folder)
    if made.state != OK:
        raise InputError(f"{args.folder}: ended as {made.state}: {made.reason}; a run that ended well is expected")
    source = source_of_run(args.folder)
    if args.particles is not None:
        source = replace(source, path=args.particles, passthrough=None)
    if args.passthrough is not None:
        source = replace(source, passthrough=args.passthrough)
    source.check_unchanged()
    check_form(args.out, source)
    found = read_assignments(args.folder, len(source.rows))
    criteria = Criteria(
        classes=None if args.classes is None else tuple(numbers(args.classes, int, "--class")),
        min_posterior=args.min_posterior,
        no_junk=args.exclude_junk,
        latent_boxes=tuple(map(LatentBox.parse, args.latent_box)),
        clusters=None if args.clusters is None else tuple(numbers(args.clusters, int, "--cluster")),
    )
    clusters_of = None if criteria.clusters is None else read_clusters(args.folder, len(found))
    chosen = criteria.chosen(found, clusters_of)
    # In the order of the user's file, whatever order the stack had.
    chosen = chosen[source.rows[chosen].argsort(kind="stable")]
    if not args.one_a_class:
        write(args, args.out, source, found, chosen)
        return
    for k in sorted(set(found.classes[chosen].tolist())):
        out = args.out.with_name(f"{args.out.stem}_class{k + 1}{args.out.suffix}")
        write(args, out, source, found, chosen[found.classes[chosen] == k])


def write(args: Namespace, out: Path, source: "Source", found: "Assignments", chosen: "IntArray") -> None:
    """Write the chosen particles (n,) and say how many of which class they are."""
    import numpy as np

    from hydra_bench.particles.give_back import give_back
    from hydra_bench.particles.give_back_star import Style

    style = Style(keep_poses=args.keep_poses, relative_to=args.relative_to, datadir=args.datadir)
    give_back(out, replace(source, rows=source.rows[chosen]), found.take(chosen), style)
    sizes = np.bincount(found.classes[chosen])
    each = ", ".join(f"class {k + 1}: {size:,}" for k, size in enumerate(sizes) if size)
    print(f"{out}: {len(chosen):,} of {len(found):,} particles of {source.path} ({each})")
