"""Running a method so that its result, or its failure, and its cost are always recorded."""

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
from hydra_bench.contracts.places import RUN_NAME
from hydra_bench.contracts.reconstruction import (
    FAILED,
    HISTORY_NAME,
    NOT_APPLICABLE,
    NOT_CONFIGURED,
    OK,
    Cost,
    Run,
    write_run,
)
from hydra_bench.core.checksums import check_checksums, write_checksums
from hydra_bench.core.errors import (
    InputError,
    MachineError,
    NotApplicableError,
    NotConfiguredError,
    RunFailedError,
)
from hydra_bench.core.files import sync, sync_all, writing
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.machine import machine_error
from hydra_bench.core.partial import clear_dead, partial_path


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


def check_out(out: Path) -> None:
    """Whether a reconstruction's folder, which is replaced as a whole, can be put there. Raises InputError."""
    if not out.name or out.name == "..":
        raise InputError(f"--out: {out}; a folder with a name is expected")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: {out} is a file; a folder is expected")
    if out.resolve().is_mount():
        raise InputError(f"--out: {out} is where a disk is mounted; a folder within it is allowed")


def record_run(
    out: Path,
    request: Request,
    work: Callable[[Path], Outcome],
    known_of_failed: Callable[[], Outcome] = _nothing_known,
    also_written: Path | None = None,
) -> Run:
    """Let `work` fill a reconstruction folder; write run.json; put the folder at `out` in one step, and read it back.

    An exception in `work` leaves a folder with nothing but a run.json, state failed (or not configured, or not
    applicable) and the reason, because the report must show what failed, with what `known_of_failed` tells of it. An
    InputError is the user's to mend: it is passed on, and nothing is left; nor is there anything of a run that was
    stopped.

    also_written : a folder that `work` writes to besides.
    Raises MachineError, and leaves nothing, where a disk is full or fails: that says nothing of the method.
    """
    check_out(out)
    out = out.resolve() if out.is_symlink() else out  # what a link names is replaced, not the link
    partial = partial_path(out)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        clear_dead(out.parent)
        partial.mkdir()
    wall = time.monotonic()
    cpu = _cpu_seconds()
    try:
        outcome = work(partial)
        state = OK
        reason = ""
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        # The user's mistake, or a run that was stopped: nothing to record.
        if isinstance(error, InputError | MachineError) or not isinstance(error, Exception):
            raise
        if machine := machine_error(error, out.parent, *([also_written] if also_written else [])):
            raise machine from error
        if not isinstance(error, RunFailedError):
            traceback.print_exc(file=sys.stderr)
        outcome = known_of_failed()
        reason = _one_line(error)
        state = _state_of(error)
        with writing(out):
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
    try:
        with writing(out):
            # Both say what a run cost, which differs between two runs of a seed.
            write_checksums(partial, without=(RUN_NAME, HISTORY_NAME))
            write_run(partial, run)
            sync_all(partial)
            check_checksums(partial)
            shutil.rmtree(out, ignore_errors=True)
            partial.rename(out)
            sync(out.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return run


def _state_of(error: Exception) -> str:
    if isinstance(error, NotConfiguredError):
        return NOT_CONFIGURED
    return NOT_APPLICABLE if isinstance(error, NotApplicableError) else FAILED


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
