"""`hydra-bench board`: the board of results that anybody hands in."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

HELP = "score a reconstruction or an archive again, and add it to a board of results"


def add_options(parser: ArgumentParser) -> None:
    option = parser.add_argument
    option("action", choices=("add",), help="add scores what is handed in, and writes its row and the page")
    option("source", type=Path, metavar="FOLDER|ZIP", help="folder of a reconstruction, or an archive")
    option("--by", required=True, metavar="NAME", help="who hands it in")
    option(
        "--dataset",
        type=Path,
        metavar="DIR",
        help="folder of its dataset, among those of the results, to score with; else an archive's own scores are taken",
    )
    option("--method", metavar="NAME", help="its name on the board; of an archive, the only one to take")
    option("--label", help="what the board calls it (default its name)")
    option("--board", type=Path, default=Path("board"), metavar="DIR", help="folder of the board (default board)")


def run(args: Namespace) -> None:
    from hydra_bench.sharing.board import Submission, add
    from hydra_bench.sharing.board_page import write_page

    submission = Submission(args.source, args.by, args.dataset, args.method, args.label)
    for path in add(args.board, submission):
        print(path)
    print(write_page(args.board))
