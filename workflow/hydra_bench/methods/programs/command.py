"""`hydra-bench reconstruct`: a method of another program, by its adapter."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hydra_bench.contracts.given_poses import read_given_poses
from hydra_bench.contracts.stack import read_evaluation_list, read_stack
from hydra_bench.core.definition import read_definition
from hydra_bench.core.errors import InputError
from hydra_bench.core.threads import set_threads
from hydra_bench.methods import cards as method_cards
from hydra_bench.methods.programs.programs import Programs
from hydra_bench.methods.programs.task import Task, load_adapter
from hydra_bench.methods.recording import Outcome, Request, record_run


def reconstruct_command(args: argparse.Namespace) -> int:
    """Run the method's adapter; a run that fails is recorded, and is no error here. Raises InputError."""
    definition = read_definition(args.definition)
    program = definition["program"]
    card, folder = method_cards.card(program), method_cards.METHODS_FOLDER / program
    if card.get("needs_poses") and args.poses_from is None:
        raise InputError(f"--poses-from: is missing; the program {program} needs poses")
    adapter = load_adapter(str(card.get("adapter")), folder)
    stack = read_stack(args.particles)
    evaluation = read_evaluation_list(args.evaluation_list, len(stack))
    set_threads(args.threads)
    limit = definition.get("time_limit_min")
    programs = Programs(
        method_cards.environment_folder(card, args.environments),
        card.get("install") or "docs/baselines.md says how",
        args.threads,
        None if limit is None else 60.0 * limit,
    )
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
            poses = read_given_poses(args.poses_from, definition["poses_from"], len(stack))
            given = replace(task, poses=poses)
        outcome = adapter(given, out)
        return Outcome(outcome.images_seen, notes() | outcome.notes, programs.gpu_memory_mb)

    def notes() -> dict[str, Any]:
        source = definition.get("poses_from")
        return task.notes() | ({} if source is None else {"poses_from": source})

    def failed() -> Outcome:
        tail = list(programs.log_tail)
        return Outcome(0, notes() | ({"log_tail": tail} if tail else {}), programs.gpu_memory_mb)

    reads_truth = bool(definition.get("reads_truth", card["reads_truth"]))
    record_run(args.out, Request(definition, args.seed, device, reads_truth), work, failed)
    return 0
