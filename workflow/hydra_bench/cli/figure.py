"""`hydra-bench figure`: a figure of the paper."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hydra_bench.contracts.places import Results
from hydra_bench.core.errors import InputError
from hydra_bench.core.threads import set_threads
from hydra_bench.report.paper.catalogue import SUPPLEMENT, paper_figures

HELP = "draw a figure of the paper from the runs that there are"


def add_options(parser: ArgumentParser) -> None:
    option = parser.add_argument
    drawn = paper_figures()
    about = [f"{name}: {' '.join(modules.values())}" for name, modules in drawn.items() if name != SUPPLEMENT]
    option("name", choices=list(drawn), help=f"{' '.join(about)} {SUPPLEMENT}: the supplement.")
    option("--dataset", required=True, help="name of the dataset")
    option("--results", type=Path, default=Results().folder, help="folder of the results")
    option("--metrics", nargs="+", type=Path, metavar="JSON", help="runs to show (default: all of the dataset)")
    option("--main-method", help="method that figures of one method show (default: the best by ARI)")
    option("--out", type=Path, required=True, help="path without suffix; of figs the folder")


def run(args: Namespace) -> None:
    from hydra_bench.report.paper.shown_runs import choose_runs
    from hydra_bench.report.paper.write import write_figure
    from hydra_bench.report.results import read_all

    set_threads(1)
    folder = Results(args.results).metrics / args.dataset
    found = args.metrics or sorted(folder.glob("*/*.json"))
    if not found:
        raise InputError(f"{folder}: no metrics of any run; is --results right?")
    shown = choose_runs(read_all(found), args.dataset, args.main_method)
    write_figure(args.name, shown, args.out)
