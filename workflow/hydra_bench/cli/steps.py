"""The steps of the workflow on one dataset or one run: simulate, gallery, backproject, reconstruct and evaluate.

Hydra, which is run by itself too, is in a file of its own.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra_bench.cli.options import Add, add_paths, add_threads
from hydra_bench.core.errors import InputError
from hydra_bench.core.threads import set_threads
from hydra_bench.core.yaml_files import read_definition
from hydra_bench.datasets.kinds import kind_of
from hydra_bench.methods import cards

if TYPE_CHECKING:
    from hydra_bench.methods.recording import Outcome


def add_commands(add: Add) -> None:
    about = "make a dataset's particle stack and truth, from PDB entries or others' particles"
    parser = add("simulate", about, simulate)
    parser.add_argument("--definition", required=True, help="dataset definition: JSON text, or a file")
    parser.add_argument("--structures", type=Path, nargs="+", required=True, help="folders of PDB entries")
    add_paths(parser, stack="folder for the stack", truth="folder for the truth")
    add_threads(parser)

    parser = add("gallery", "draw true projections and particles of a dataset", draw_gallery)
    add_paths(parser, particles="STAR file of the stack", truth="folder of the truth", out="PNG file to write")

    parser = add("backproject", "back-project with true poses: the bounds", backproject)
    add_run_of_method(parser)
    add_paths(parser, truth="folder of the truth")

    parser = add("reconstruct", "reconstruct particles by another program, as its method's card says", reconstruct)
    add_run_of_method(parser)
    parser.add_argument("--environments", type=Path, metavar="DIR", help="folder of the environments of `make envs`")
    add_paths(parser, state="folder that outlives a killed attempt")
    parser.add_argument("--poses-from", type=Path, metavar="STAR", help="given poses: a truth.star or particles.star")

    parser = add("evaluate", "score a reconstruction against the truth", score)
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


def add_run_of_method(parser: ArgumentParser) -> None:
    """What every method of the workflow is given, and where its reconstruction goes."""
    parser.add_argument("--definition", required=True, help="method definition: JSON text, or a file")
    add_paths(parser, particles="STAR file of the stack", evaluation_list="particles to write volumes of")
    parser.add_argument("--seed", type=int, default=0)
    add_threads(parser)
    add_paths(parser, out="folder for the reconstruction")


def simulate(args: Namespace) -> None:
    definition = read_definition(args.definition)
    # A few very large blocks, which would stay beside each other if they were kept.
    set_threads(args.threads, keep_memory=False)
    kind_of(definition).make(definition, args.structures, args.stack, args.truth)


def draw_gallery(args: Namespace) -> None:
    from hydra_bench.report.figures.particle_images import write_gallery

    set_threads(1)
    write_gallery(args.particles, args.truth, args.out)


def backproject(args: Namespace) -> None:
    from hydra_bench.contracts.stack import read_evaluation_list, read_stack
    from hydra_bench.contracts.truth import read_truth
    from hydra_bench.methods.bounds.backprojection import run_backprojection
    from hydra_bench.methods.recording import Request, record_run

    definition, stack, truth = read_definition(args.definition), read_stack(args.particles), read_truth(args.truth)
    evaluation = read_evaluation_list(args.evaluation_list, len(stack))
    labels = definition["parameters"]["labels"]
    set_threads(args.threads)
    request = Request(definition, args.seed, "cpu", reads_truth=True)
    record_run(args.out, request, lambda out: run_backprojection(stack, truth, evaluation, labels, args.seed, out))


def reconstruct(args: Namespace) -> None:
    """A run that fails is recorded, and is no error here."""
    import torch

    from hydra_bench.contracts.reconstruction import read_given_poses
    from hydra_bench.contracts.stack import read_evaluation_list, read_stack
    from hydra_bench.methods.programs.programs import Programs
    from hydra_bench.methods.programs.task import Adapter, Task
    from hydra_bench.methods.recording import Outcome, Request, record_run

    definition = read_definition(args.definition)
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
    install = card.get("install") or "docs/baselines.md says how"
    programs = Programs(cards.environment_folder(card, args.environments), install, args.threads, limit_s)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    task = Task(
        stack=stack,
        evaluation=evaluation,
        parameters={key: value for key, value in definition["parameters"].items() if value is not None},
        seed=args.seed,
        threads=args.threads,
        device=device,
        work=args.state / "work",
        programs=programs,
    )
    task.work.mkdir(parents=True, exist_ok=True)

    def work(out: Path) -> Outcome:
        given = task
        if args.poses_from is not None:
            given = replace(task, poses=read_given_poses(args.poses_from, definition["poses_from"], len(stack)))
        outcome = adapter(given, out)
        return Outcome(outcome.images_seen, notes() | outcome.notes, programs.gpu_memory_mb)

    def notes() -> dict[str, Any]:
        return task.notes() | ({} if source is None else {"poses_from": source})

    def failed() -> Outcome:
        tail = list(programs.log_tail)
        return Outcome(0, notes() | ({"log_tail": tail} if tail else {}), programs.gpu_memory_mb)

    reads_truth = bool(definition.get("reads_truth", card["reads_truth"]))
    record_run(args.out, Request(definition, args.seed, device, reads_truth), work, failed)


def score(args: Namespace) -> None:
    from hydra_bench.metrics.evaluate import EvaluationSettings, RunFiles, evaluate

    set_threads(args.threads)
    settings = EvaluationSettings.from_definition(read_definition(args.definition))
    files = RunFiles(args.particles, args.truth, args.reconstruction, args.dataset, args.method, args.label)
    evaluate(files, args.out, args.aligned, settings)
