"""`hydra-bench archive`: a results folder as one file, to be published or handed in."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.contracts.places import Results

HELP = "pack a results folder into an RO-Crate: workflow, configuration, environment, results, checksums"


def add_options(parser: ArgumentParser) -> None:
    option = parser.add_argument
    option("results", type=Path, metavar="RESULTS", help="results folder of a finished run")
    option("--out", type=Path, required=True, metavar="ZIP", help="file to write")
    option("--by", metavar="NAME", help="who made the results")
    option("--orcid", metavar="ID", help="their ORCID, such as 0000-0002-1825-0097")
    option("--with-images", action="store_true", help="the image stacks, too; without, a sample of 16 images of each")


def run(args: Namespace) -> None:
    from hydra_bench.sharing.archive import Author, archive

    author = Author(args.by, args.orcid) if args.by else None
    archive(Results(args.results), args.out, author, args.with_images)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:,.1f} MB")
