"""`hydra-bench evaluate`: the metrics of a run."""

from argparse import ArgumentParser, Namespace

from hydra_bench.cli.options import add_paths, add_threads
from hydra_bench.config.by_hand import evaluation_definition
from hydra_bench.core.threads import set_threads

HELP = "score a reconstruction against the truth"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--definition", default="{}", help="evaluation settings: JSON text, or a file")
    for name in ("dataset", "method", "label"):
        parser.add_argument(f"--{name}", required=True, help=f"name of the {name}, for the report")
    add_paths(
        parser,
        particles="STAR file of the stack",
        truth="folder of the truth",
        reconstruction="folder of the reconstruction",
        out="JSON file for the metrics",
        aligned="folder for the maps, aligned to the truth",
    )
    add_threads(parser, default=1)


def run(args: Namespace) -> None:
    from hydra_bench.metrics.evaluate import EvaluationSettings, RunFiles, evaluate

    set_threads(args.threads)
    settings = EvaluationSettings.from_definition(evaluation_definition(args.definition))
    files = RunFiles(args.particles, args.truth, args.reconstruction, args.dataset, args.method, args.label)
    evaluate(files, args.out, args.aligned, settings)
