"""What the process of test_hydra_on_a_device.py does: runs of every kind on the emulated device, whose waits it tells.

A process of its own, because PyTorch takes no new device once it has made its first backward pass.
"""

from __future__ import annotations

import hashlib
import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from emulated_device import Account, device, emulated
from hydra_cases import tiny

from hydra_bench.contracts.reconstruction import GivenPoses
from hydra_bench.contracts.stack import Stack, read_stack
from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.threads import set_threads
from hydra_bench.methods.hydra.fit import batched_steps, chunks, first_maps
from hydra_bench.methods.hydra.fit.checkpoint import Checkpointer, Stopped
from hydra_bench.methods.hydra.fit.train import train
from hydra_bench.methods.hydra.fit.training_input import TrainingInput
from hydra_bench.methods.hydra.output.reconstruction import write_reconstruction

LOOPS = {
    "search": (chunks, "find_poses_and_classes"),
    "maps": (first_maps, "improve"),
    "learn": (chunks, "learn"),
    "step": (batched_steps, "batched_step"),
}
"""The loops in which waits are counted, and where they are called from."""


class Waits:
    """What the account says of each call of each loop."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.found: dict[str, list[Counter[str]]] = {loop: [] for loop in LOOPS}
        self.real = {loop: getattr(module, name) for loop, (module, name) in LOOPS.items()}
        for loop, (module, name) in LOOPS.items():
            setattr(module, name, self._watched(loop))

    def _watched(self, loop: str) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            outside = self.account.take()
            found = self.real[loop](*args, **kwargs)
            within = self.account.take()
            self.found[loop].append(within)
            self.account.waits = outside + within
            return found

        return watched

    def end(self) -> None:
        for loop, (module, name) in LOOPS.items():
            setattr(module, name, self.real[loop])

    def worst(self) -> dict[str, dict[str, int]]:
        """Of each loop the call that waited most."""
        return {loop: max(calls, key=lambda c: c.total(), default=Counter()) for loop, calls in self.found.items()}


def run_to_the_maps(start_from: TrainingInput, folder: Path) -> dict[str, Any]:
    """Train, stopped after seven chunks and resumed, and write the maps; the waits of the worst calls."""
    with emulated() as account:
        waits, done = Waits(account), []
        checkpointer = Checkpointer(folder / "state")

        def stop(n: int) -> None:
            done.append(n)
            checkpointer.asked_to_stop = len(done) == 7

        try:
            train(start_from, device(), checkpointer=checkpointer, advance=stop)
            raise AssertionError("the run was not stopped")
        except Stopped:
            pass
        found = train(start_from, device(), checkpointer=Checkpointer(folder / "state"))
        write_reconstruction(found, 3.3, np.arange(0, 60, 20), folder / "out")
        waits.end()
    written = [folder / "out" / name for name in ("particles.star", "volumes/class_1.mrc")]
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in written]
    calls = {loop: len(waits.found[loop]) for loop in ("step", "maps")}
    return {"written": sums, "worst": waits.worst(), "calls": calls}


def what_is_refused() -> dict[str, bool]:
    """Whether operations without a repeatable kernel on CUDA are refused, and others are not."""
    tried: dict[str, Callable[[torch.Tensor], object]] = {
        "weighted bincount": lambda x: torch.bincount(x.long(), weights=x),
        "bincount": lambda x: torch.bincount(x.long()),
        "sums along floats": lambda x: x.cumsum(0),
        "sums along integers": lambda x: x.long().cumsum(0),
        "median and where": lambda x: x.median(0),
        "sums into rows": lambda x: x.clone().index_add_(0, x.long(), x),
    }
    found = {}
    with emulated():
        for name, work in tried.items():
            try:
                work(torch.ones(3).to(device()))
                found[name] = False
            except AssertionError:
                found[name] = True
    return found


def main(case: Path, folder: Path, kinds: dict[str, Any]) -> None:
    set_threads(1)
    first_maps._LESSONS = 3  # each is as the others, and takes this device tens of milliseconds
    stack, truth, results = read_stack(case / "stack" / "particles.star"), read_truth(case / "truth"), {}
    given = GivenPoses(truth.rotations, truth.shifts_A)
    for number, (kind, changes) in enumerate(kinds.items()):
        settings = tiny(**{name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()})
        start_from = TrainingInput(stack, settings, 5, None if settings.poses == "search" else given)
        try:
            results[kind] = run_to_the_maps(start_from, folder / str(number))
        except Exception:
            results[kind] = {"failed": traceback.format_exc()}
    results["again"] = {"written": again(stack, folder, kinds), "refused": what_is_refused()}
    (folder / "found.json").write_text(json.dumps(results))


def again(stack: Stack, folder: Path, kinds: dict[str, Any]) -> list[str]:
    """What a second run of the kind that takes least wrote."""
    (folder / "again").mkdir()
    settings = tiny(**{name: tuple(v) if isinstance(v, list) else v for name, v in kinds["one class"].items()})
    written: list[str] = run_to_the_maps(TrainingInput(stack, settings, 5), folder / "again")["written"]
    return written


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
