"""`hydra-bench bound`: the bounds, which are given the truth."""

from argparse import ArgumentParser, Namespace

from hydra_bench.cli.options import add_paths, add_run_of_method
from hydra_bench.config.by_hand import method_definition
from hydra_bench.core.threads import set_threads

HELP = "make a bound, which reads the truth: back-projection at true poses, maps of other species, ..."


def add_options(parser: ArgumentParser) -> None:
    add_run_of_method(parser)
    add_paths(parser, truth="folder of the truth")


def run(args: Namespace) -> None:
    from hydra_bench.contracts.stack import read_evaluation_list, read_stack
    from hydra_bench.contracts.truth import read_truth
    from hydra_bench.methods.bounds.task import BoundTask
    from hydra_bench.methods.cards import named_function
    from hydra_bench.methods.recording import Request, record_run

    definition = method_definition(args.definition)
    stack = read_stack(args.particles)
    evaluation = read_evaluation_list(args.evaluation_list, len(stack))
    task = BoundTask(stack, read_truth(args.truth), evaluation, definition["parameters"], args.seed)
    bound = named_function(definition["program"], "bound")
    set_threads(args.threads)
    record_run(args.out, Request(definition, args.seed, "cpu", reads_truth=True), lambda out: bound(task, out))
