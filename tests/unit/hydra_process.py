"""What one of two spawned processes does in test_hydra_parallel.py; each saves what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra_cases import run, tiny
from torch import distributed

from hydra_bench.contracts.stack import read_stack
from hydra_bench.core.threads import set_threads
from hydra_bench.methods.hydra.fit import chunks
from hydra_bench.methods.hydra.fit.checkpoint import Checkpointer, Stopped
from hydra_bench.methods.hydra.fit.likelihood import balancing, softening_of
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.run_state import Chunk, Run
from hydra_bench.methods.hydra.fit.train import start as start_run
from hydra_bench.methods.hydra.fit.training_input import TrainingInput

RIGID: dict[str, Any] = {"latent_dim": 0, "prior_epoch": 99, "l_schedule": (4, 5, 5), "decode_epochs": 2}
"""Nothing in it depends on what other processes' particles are like between two epochs."""
MAPS: dict[str, Any] = {**RIGID, "map_schedule": (4, 4, 5)}
LATENT: dict[str, Any] = {"classes": 3, "latent_dim": (2, 1, 0), "variational": True}


def start(rank: int, folder: Path, star: Path) -> None:
    set_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    parallel = Parallel(rank, 2)
    try:
        found = {"parts": parts(parallel), "sums": sums_of_maps(parallel, star), **runs(parallel, folder, star)}
        torch.save(found, folder / f"found_{rank}.pt")
    finally:
        parallel.leave()


def parts(parallel: Parallel) -> dict[str, Any]:
    """Each of Parallel's own functions, on numbers that differ between the processes."""
    rank = parallel.rank
    table = torch.arange(12.0).reshape(6, 2) + 100 * rank
    infinite = torch.tensor([1.0, torch.inf]) + rank
    flat = torch.arange(12.0) + 100 * rank
    parallel.gather_rows(table, torch.arange(6))
    parallel.gather_rows(infinite, torch.arange(2))
    parallel.gather_rows(flat, torch.arange(6).repeat_interleave(2))
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in (2, 3, 1, 2)]
    parameters[0].grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    if rank == 1:
        parameters[1].grad = torch.tensor([5.0, 6.0, 7.0])
    parameters[3].grad = torch.zeros(2)
    parallel.sum_gradients(parameters)
    errors = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    return {
        "owns": parallel.owns(np.arange(5)).tolist(),
        "sum": parallel.sum(torch.tensor([1.0, rank])),
        "any": [parallel.any(rank == 1), parallel.any(False)],
        "rows": table,
        "infinite": infinite,
        "flat": flat,
        "gradients": [p.grad for p in parameters],
        "softening": softening_of(errors[rank::2], 2.0, parallel),
        "balancing": balancing(-errors[rank::2], parallel),
    }


def sums_of_maps(parallel: Parallel, star: Path) -> torch.Tensor:
    """What first maps are made from after three steps; the images of the first are all one process's."""
    at_start = start_run(TrainingInput(read_stack(star), tiny(**MAPS), 5), torch.device("cpu"), parallel)
    for epoch, particles in zip(
        at_start.schedule[:3], (np.arange(0, 60, 2), np.arange(60), np.arange(60)), strict=True
    ):
        chunks.maps_chunk(at_start, epoch, Chunk.of(at_start, particles))
        at_start.progress.epoch += 1
    assert at_start.maps is not None
    return at_start.maps.sums


def runs(parallel: Parallel, folder: Path, star: Path) -> dict[str, Any]:
    """A rigid run, the same stopped within an epoch and resumed, and one whose processes' particles differ."""
    stack, found = read_stack(star), {}
    found["rigid"] = summary(run(stack, tiny(**RIGID), parallel=parallel))
    checkpointer, done = Checkpointer(folder / "state"), []

    def stop(n: int) -> None:
        done.append(n)
        checkpointer.asked_to_stop = len(done) == 4 and parallel.rank == 1  # one process is enough to stop all

    try:
        run(stack, tiny(**RIGID), parallel=parallel, checkpointer=checkpointer, advance=stop)
    except Stopped:
        found["stopped_after"] = len(done)
    distributed.barrier()
    found["resumed"] = summary(
        run(stack, tiny(**RIGID), parallel=parallel, checkpointer=Checkpointer(folder / "state"))
    )
    distributed.barrier()
    found["maps"] = summary(run(stack, tiny(**MAPS), parallel=parallel))
    found["latent"] = summary(run(stack, tiny(**LATENT), parallel=parallel))
    return found


def summary(found: Run) -> dict[str, Any]:
    tables = found.model.tables
    return {
        "loss": [row["loss"] for row in found.history.rows],
        "posteriors": tables.posteriors,
        "rotations": tables.rotations,
        "fields": found.model.field_weights().state_dict(),
        "corrections": tables.corrections.weight.detach(),
        "latents": [table.weight.detach() for table in tables.latents],
    }
