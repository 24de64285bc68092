"""Running a method so that its result, or its failure, and its cost are always recorded."""

import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from hydra_bench import __version__
from hydra_bench.contracts.reconstruction import FAILED, NOT_CONFIGURED, OK, Cost, Run, write_run
from hydra_bench.core.errors import InputError, NotConfiguredError, RunFailedError
from hydra_bench.core.json_values import JsonObject


@dataclass(frozen=True)
class Request:
    """Who runs: a method definition, its seed and device, and whether its card says that it reads the truth."""

    definition: JsonObject
    seed: int
    device: str
    reads_truth: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a method says of its own run, beside the files that it wrote."""

    images_seen: int
    notes: JsonObject = field(default_factory=dict)
    gpu_memory_mb: float = 0.0
    """Peak of the programs that it ran; this process's own is measured."""


def _nothing_known() -> Outcome:
    return Outcome(0)


def record_run(
    out: Path,
    request: Request,
    work: Callable[[Path], Outcome],
    known_of_failed: Callable[[], Outcome] = _nothing_known,
) -> Run:
    """Let `work` fill a reconstruction folder; write run.json; put the folder at `out` in one step.

    An exception in `work` leaves a folder with nothing but a run.json, state failed (or not configured) and the reason,
    because the report must show what failed, with what `known_of_failed` tells of it. An InputError is the user's to
    mend: it is passed on, and nothing is left; nor is there anything of a run that was stopped.
    """
    partial = out.with_name(f".partial-{os.getpid()}-{out.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    wall, cpu = time.monotonic(), _cpu_seconds()
    try:
        outcome, state, reason = work(partial), OK, ""
    except BaseException as error:
        shutil.rmtree(partial)
        # The user's mistake, or a run that was stopped: nothing to record.
        if isinstance(error, InputError) or not isinstance(error, Exception):
            raise
        if not isinstance(error, RunFailedError):
            traceback.print_exc(file=sys.stderr)
        outcome = known_of_failed()
        reason = _one_line(error)
        state = NOT_CONFIGURED if isinstance(error, NotConfiguredError) else FAILED
        partial.mkdir()
    gpu_memory_mb = max(_gpu_memory_mb(), outcome.gpu_memory_mb)
    cost = Cost(round(time.monotonic() - wall, 3), round(_cpu_seconds() - cpu, 3), _peak_rss_mb(), gpu_memory_mb)
    run = Run(
        method=request.definition["name"],
        program=request.definition["program"],
        version=__version__,
        seed=request.seed,
        parameters=request.definition.get("parameters", {}),
        device=request.device,
        state=state,
        reason=reason,
        images_seen=outcome.images_seen,
        cost=cost,
        reads_truth=request.reads_truth,
        notes=outcome.notes,
    )
    write_run(partial, run)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return run


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, RunFailedError) else f"{type(error).__name__}: {text}"


def _cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _peak_rss_mb() -> float:
    """The largest resident memory of this process or any child of it, so far."""
    return round(max(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024)


def _gpu_memory_mb() -> float:
    return round(torch.cuda.max_memory_allocated() / 2**20) if torch.cuda.is_available() else 0.0
