"""`hydra-bench backproject`: the bounds, which are given the truth."""

from argparse import ArgumentParser, Namespace

from hydra_bench.cli.options import add_paths, add_run_of_method
from hydra_bench.config.by_hand import method_definition
from hydra_bench.core.threads import set_threads

HELP = "back-project with true poses: the bounds"


def add_options(parser: ArgumentParser) -> None:
    add_run_of_method(parser)
    add_paths(parser, truth="folder of the truth")


def run(args: Namespace) -> None:
    from hydra_bench.contracts.stack import read_evaluation_list, read_stack
    from hydra_bench.contracts.truth import read_truth
    from hydra_bench.methods.bounds.backprojection import run_backprojection
    from hydra_bench.methods.recording import Request, record_run

    definition = method_definition(args.definition)
    stack = read_stack(args.particles)
    truth = read_truth(args.truth)
    evaluation = read_evaluation_list(args.evaluation_list, len(stack))
    labels = definition["parameters"]["labels"]
    set_threads(args.threads)
    request = Request(definition, args.seed, "cpu", reads_truth=True)
    record_run(args.out, request, lambda out: run_backprojection(stack, truth, evaluation, labels, args.seed, out))
