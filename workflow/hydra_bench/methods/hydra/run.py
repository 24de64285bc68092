"""Hydra as a method: a stack in, a reconstruction out."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from hydra_bench.contracts.given_poses import GivenPoses
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError, RunFailedError
from hydra_bench.methods.hydra.data.frequencies import largest_l
from hydra_bench.methods.hydra.fit.checkpoint import Checkpointer
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.schedule import images_to_see, make_schedule
from hydra_bench.methods.hydra.fit.train import save, train
from hydra_bench.methods.hydra.output.reconstruction import notes, write_reconstruction
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.methods.recording import Outcome

_MACHINE_ONLY = ("memory_gb", "cache_mb")
"""Settings that change what a run costs and not what it gives."""


@dataclass(frozen=True)
class Job:
    """What is run: a stack, poses if they are given, settings, a seed."""

    stack: Stack
    given: GivenPoses | None
    settings: Settings
    seed: int

    def check(self) -> None:
        """Raises InputError for settings that this stack cannot be run with."""
        s, stack = self.settings, self.stack
        if self.seed < 0:
            raise InputError(f"--seed: {self.seed}; 0 or more is allowed")
        if s.classes > len(stack):
            raise InputError(
                f"classes: {s.classes} for the {len(stack)} images of {stack.path}; "
                "at most one class an image is possible"
            )
        if s.downsample_px is not None and s.downsample_px > stack.box_px:
            raise InputError(f"downsample_px: {s.downsample_px}; the stack's box of {stack.box_px} or less is allowed")
        s.search_schedule(len(stack), largest_l(s.downsample_px or stack.box_px))
        if (s.poses == "search") != (self.given is None):
            raise InputError(f"poses: {s.poses}; {'no poses were given' if self.given is None else 'poses were given'}")

    @property
    def pixel_size_A(self) -> float:
        """Of the box that the work is done in."""
        stack = self.stack
        return stack.pixel_size_A * stack.box_px / (self.settings.downsample_px or stack.box_px)

    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be taken up again, as plain values."""
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.settings).items()}
        poses = "none"
        if self.given is not None:
            poses = hashlib.sha256(self.given.rotations.tobytes() + self.given.shifts_A.tobytes()).hexdigest()
        return {
            "settings": {k: v for k, v in settings.items() if k not in _MACHINE_ONLY},
            "seed": self.seed,
            "stack": self.stack.fingerprint(),
            "poses": poses,
        }


def choose_device(name: str) -> torch.device:
    """The device named; "auto" takes the first GPU if there is a usable one, one each under torchrun.

    Raises InputError.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "auto":
        name = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    elif name == "cuda":
        name = f"cuda:{local}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device: {name!r}; auto, cpu, cuda or cuda:<number> is allowed") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"--device: {name!r}; auto, cpu, cuda or cuda:<number> is allowed")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device: {name!r}; {torch.cuda.device_count()} usable GPUs are here")
    return device


def run_hydra(
    job: Job, evaluation: np.ndarray, device: torch.device, parallel: Parallel, checkpointer: Checkpointer, folder: Path
) -> Outcome:
    """Train and, in the first process, write the reconstruction; a progress bar shows the way on a terminal."""
    settings, stack = job.settings, job.stack
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")  # TF32 products
    schedule = make_schedule(settings, len(stack), largest_l(settings.downsample_px or stack.box_px))
    total = images_to_see(schedule, settings, len(stack))
    quiet = None if parallel.rank == 0 else True  # None: quiet unless on a terminal
    with tqdm(total=total, desc=f"Hydra K={settings.classes}", unit="image", disable=quiet) as bar:

        def report(row: dict, _: object) -> None:
            sizes = "/".join(str(value) for name, value in row.items() if name.startswith("size_"))
            state = f"{row['phase']} epoch {row['epoch'] + 1}, l={row['l']}, loss {row['loss']:.4f}, classes {sizes}"
            bar.set_postfix_str(state)
            if parallel.rank == 0 and not sys.stdout.isatty():  # a batch job's log, in place of the bar
                print(f"{state}; {row['images_seen']} of {total} images, {row['wall_s']:.1f} s", flush=True)

        run = train(
            stack,
            settings,
            job.seed,
            device,
            given=job.given,
            checkpointer=checkpointer,
            parallel=parallel,
            report=report,
            advance=bar.update,
        )
    if not all(torch.isfinite(p).all() for p in run.model.fields.parameters()):
        raise RunFailedError("the fields diverged (not a number); a lower learning_rate may help")
    if checkpointer.path is not None:
        save(run, checkpointer)  # a run that is killed while it writes its maps need not train again
    if parallel.rank == 0:
        write_reconstruction(run, job.pixel_size_A, evaluation, folder)
    return Outcome(images_seen=run.history.images_seen, notes=notes(run))
