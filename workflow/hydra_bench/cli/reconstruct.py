"""`hydra-bench reconstruct`: a method that runs another program."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from hydra_bench.cli.options import add_paths, add_run_of_method
from hydra_bench.config.by_hand import method_definition
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import writing
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.threads import set_threads
from hydra_bench.methods import cards

HELP = "reconstruct particles by another program, as its method's card says"


def add_options(parser: ArgumentParser) -> None:
    add_run_of_method(parser)
    parser.add_argument("--environments", type=Path, metavar="DIR", help="folder of the environments of `make envs`")
    add_paths(parser, state="folder that outlives a killed attempt")
    parser.add_argument("--poses-from", type=Path, metavar="STAR", help="given poses: a truth.star or particles.star")


def run(args: Namespace) -> None:
    """A run that fails is recorded, and is no error here."""
    import torch

    from hydra_bench.contracts.reconstruction import read_given_poses
    from hydra_bench.contracts.stack import read_evaluation_list, read_stack
    from hydra_bench.methods.programs.programs import Programs
    from hydra_bench.methods.programs.task import Adapter, Task
    from hydra_bench.methods.recording import Outcome, Request, record_run

    definition = method_definition(args.definition)
    program, source = definition["program"], definition.get("poses_from")
    card = cards.card(program)
    if card.get("needs_poses") and args.poses_from is None:
        raise InputError(f"--poses-from: is missing; the program {program} needs poses")
    adapter: Adapter = cards.named_function(program, "adapter")
    stack = read_stack(args.particles)
    evaluation = read_evaluation_list(args.evaluation_list, len(stack))
    set_threads(args.threads)
    limit = definition.get("time_limit_min")
    limit_s = None if limit is None else 60.0 * limit
    install = card.get("install") or "docs/how-to/baselines.md says how"
    programs = Programs(cards.environment_folder(card, args.environments), install, args.threads, limit_s)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    task = Task(
        stack=stack,
        evaluation=evaluation,
        parameters=cards.given_parameters(definition),
        seed=args.seed,
        threads=args.threads,
        device=device,
        work=args.state / "work",
        programs=programs,
    )
    with writing(task.work):
        task.work.mkdir(parents=True, exist_ok=True)

    def work(out: Path) -> Outcome:
        given = task
        if args.poses_from is not None:
            given = replace(task, poses=read_given_poses(args.poses_from, definition["poses_from"], len(stack)))
        outcome = adapter(given, out)
        return Outcome(outcome.images_seen, notes() | outcome.notes, programs.gpu_memory_mb)

    def notes() -> JsonObject:
        return task.notes() | ({} if source is None else {"poses_from": source})

    def failed() -> Outcome:
        tail = list(programs.log_tail)
        return Outcome(0, notes() | ({"log_tail": tail} if tail else {}), programs.gpu_memory_mb)

    reads_truth = bool(definition.get("reads_truth", card["reads_truth"]))
    record_run(args.out, Request(definition, args.seed, device, reads_truth), work, failed, task.work)
