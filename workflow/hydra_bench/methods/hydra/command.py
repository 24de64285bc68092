"""What `hydra-bench hydra` and `hydra-bench hydra-volume` do with their arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hydra_bench.contracts.given_poses import GivenPoses, check_pose_source
from hydra_bench.contracts.reconstruction import RUN_NAME
from hydra_bench.contracts.stack import read_evaluation_list
from hydra_bench.core.definition import read_definition
from hydra_bench.core.errors import InputError, RunFailedError
from hydra_bench.core.threads import set_threads
from hydra_bench.methods.hydra.fit.checkpoint import Checkpointer, Stopped
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.output.volumes import FinishedRun, centres_path, principal_path, write_volumes
from hydra_bench.methods.hydra.run import Job, choose_device, run_hydra
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.methods.recording import Outcome, Request, record_run
from hydra_bench.particles import read_particles, read_poses

STOPPED = 143
"""The exit status of a run that SIGTERM ended: 128 + 15, as shells count."""


def hydra_command(args: argparse.Namespace) -> int:
    """Reconstruct particles. Returns the exit status; raises InputError."""
    definition, device = method_definition(args), choose_device(args.device)
    check_out(args.out)
    request = Request(definition, args.seed, str(device), bool(definition.get("reads_truth", False)))
    if args.definition and args.poses_from and waits_in_vain(args.poses_from, args.out, request):
        return 0
    source = definition.get("poses_from")
    job = read_job(args, Settings.from_parameters(definition["parameters"]))
    if not args.definition:
        job.check()
    evaluation = np.zeros(0, dtype=np.int64)
    if args.evaluation_list:
        evaluation = read_evaluation_list(args.evaluation_list, len(job.stack))
    set_threads(args.threads, device.type)
    parallel = Parallel.from_environment(device)
    checkpointer = open_checkpoint(args, job)

    def work(folder: Path) -> Outcome:
        try:
            job.check()
        except InputError as error:
            # In a benchmark every method meets every dataset: one that cannot take a stack has failed on it.
            raise RunFailedError(str(error)) from None
        outcome = run_hydra(job, evaluation, device, parallel, checkpointer, folder)
        return outcome if source is None else replace(outcome, notes={**outcome.notes, "poses_from": source})

    try:
        return recorded(args, request, parallel, work)
    except Stopped:
        print(f"hydra-bench: stopped; {checkpointer.path} is the state, --resume goes on from it", file=sys.stderr)
        return STOPPED
    finally:
        parallel.leave()


def waits_in_vain(poses: Path, out: Path, request: Request) -> bool:
    """Whether the run whose poses are given has none to give; this one then is recorded as that one ended."""
    try:
        check_pose_source(poses)
    except RunFailedError as error:
        why = error

        def work(_: Path) -> Outcome:
            raise why

        record_run(out, request, work)
        return True
    return False


def recorded(args: argparse.Namespace, request: Request, parallel: Parallel, work: Callable[[Path], Outcome]) -> int:
    """Run; the first process records what came of it. A finished run's checkpoint goes unless it is kept."""
    if parallel.rank > 0:
        try:
            work(args.out)
        except RunFailedError as error:
            print(f"hydra-bench: error: {error}", file=sys.stderr)
            return 1
        return 0
    run = record_run(args.out, request, work)
    if run.state == "ok":
        if not args.keep_checkpoint:
            checkpoint_path(args).unlink(missing_ok=True)
        return 0
    print(f"hydra-bench: error: {run.reason}", file=sys.stderr)
    # In a benchmark a failed method is a result, a failed row of the table; among processes others must end too.
    return 0 if args.definition and parallel.size == 1 else 1


def method_definition(args: argparse.Namespace) -> dict[str, Any]:
    """The definition given, or one made of the single arguments. Raises InputError."""
    single = {"classes": args.classes, "preset": args.preset, "downsample_px": args.downsample}
    parameters = {name: value for name, value in single.items() if value is not None}
    if args.latent_dim is not None:
        parameters["latent_dim"] = _numbers(args.latent_dim, int, "--latent-dim")
        if len(parameters["latent_dim"]) == 1:
            parameters["latent_dim"] = parameters["latent_dim"][0]
    if args.poses_from:
        parameters["poses"] = "refine"
    for text in args.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set: {text!r}; KEY=VALUE is expected")
        try:
            parameters[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set: {text!r}; the value is not YAML") from None
    if not args.definition:
        return {"name": "hydra", "program": "hydra", "parameters": parameters}
    if set(parameters) - {"poses"}:
        raise InputError(f"--definition: holds all parameters; {', '.join(parameters)} cannot be given beside it")
    definition = read_definition(args.definition)
    if args.poses_from:
        definition["parameters"].setdefault("poses", "refine")
    return definition


def read_job(args: argparse.Namespace, settings: Settings) -> Job:
    """The particles, and their poses if they are given. Raises InputError."""
    ctf = "none" if args.no_ctf else "file"
    stack = read_particles(
        args.particles, args.datadir, ctf=ctf, pixel_size_A=args.pixel_size, passthrough=args.passthrough
    )
    given = None
    if settings.poses != "search" or args.poses_from:
        # The passthrough file belongs to the particles; other poses may bring their own, which is found beside them.
        passthrough = None if args.poses_from else args.passthrough
        given = GivenPoses(*read_poses(args.poses_from or args.particles, stack, passthrough=passthrough))
    return Job(stack, given, settings, args.seed)


def check_out(out: Path) -> None:
    """The folder is replaced when the run ends. Raises InputError if that would take what is no reconstruction."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: {out} is a file; a folder is expected")
    if out.is_dir() and any(out.iterdir()) and not (out / RUN_NAME).is_file():
        raise InputError(f"--out: {out} holds files, but no {RUN_NAME}; a new or empty folder, or a run's, is allowed")
    if not out.name or out.name == "..":
        raise InputError(f"--out: {out}; a folder with a name is expected")


def checkpoint_path(args: argparse.Namespace) -> Path:
    return args.checkpoint or args.out.with_name(args.out.name + ".checkpoint")


def open_checkpoint(args: argparse.Namespace, job: Job) -> Checkpointer:
    """Raises InputError if a checkpoint is there and it was not asked to go on from it."""
    path = checkpoint_path(args)
    if path.is_file() and not args.resume:
        raise InputError(f"{path}: the checkpoint of an unfinished run; go on with --resume, or delete it")
    checkpointer = Checkpointer(path, job.identity(), 60 * args.checkpoint_minutes)
    checkpointer.listen()
    return checkpointer


def volume_command(args: argparse.Namespace) -> None:
    """Render maps of a finished run. Raises InputError."""
    run, k = FinishedRun.read(args.folder), args.class_number - 1
    latents = run.class_latents(k)
    if args.latent:
        wanted = [_numbers(text, float, "--latent") for text in args.latent]
        if len({len(z) for z in wanted}) > 1:
            raise InputError("--latent: all need the same number of dimensions")
        chosen = np.array(wanted)
    elif args.kmeans is not None:
        chosen = centres_path(latents, args.kmeans, args.between)
    else:
        chosen = principal_path(latents, args.principal_component, args.points)
    write_volumes(run, k, chosen, args.out)


def _numbers(text: str, kind: type, name: str) -> list[Any]:
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not np.isfinite(numbers).all():
        raise InputError(f"{name}: {text!r}; numbers with commas between them are expected")
    return numbers
