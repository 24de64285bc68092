"""Several processes, one a device, that share the particles: `torchrun` and torch.distributed.

Every process goes through the same chunks and minibatches, drawn from the same seeds, and works on its own
particles among them: number i belongs to process i mod size. Gradients of what is shared (fields, encoder) are
summed at every step; rows of the particle tables belong to their particle's process, and are put together at the
end of every epoch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from hydra_bench.core.errors import InputError, RunFailedError
from hydra_bench.core.types import BoolArray, IntArray

_TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others before it gives up; a process that dies is noticed at once."""


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
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InputError(f"--device: {name!r}; auto, cpu, cuda or cuda:<number> is allowed")
    here = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= here:
        asked = f"{name!r}, for process {local} of this machine" if local else f"{name!r}"
        raise InputError(f"--device: {asked}; {here} usable GPUs are here")
    return device


def prepare_device(device: torch.device) -> None:
    """Make a GPU the process's own. Products are float32's, whatever was set, but where model/precision.py says so."""
    torch.set_float32_matmul_precision("highest")
    if device.type == "cuda":
        torch.cuda.set_device(device)


@dataclass(frozen=True)
class Parallel:
    """This process among `size`; with one, nothing here communicates."""

    rank: int = 0
    size: int = 1

    @classmethod
    def from_environment(cls, device: torch.device) -> Parallel:
        """As torchrun started this process, if it did; joins the others."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
        return cls(distributed.get_rank(), distributed.get_world_size())

    def leave(self) -> None:
        if self.size > 1:
            distributed.destroy_process_group()

    def owns(self, particles: IntArray) -> BoolArray:
        """Which of the particles (B,) are this process's, (B,) bool."""
        mine: BoolArray = particles % self.size == self.rank
        return mine

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor summed over the processes, in place. Raises RunFailedError if one of them is gone."""
        if self.size > 1:
            try:
                distributed.all_reduce(tensor)
            except RuntimeError as error:
                raise RunFailedError(
                    "another process of this job has ended or does not answer; what it wrote says why "
                    f"({' '.join(str(error).split())[:120]})"
                ) from None
        return tensor

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Gradients summed over the processes, in one message; one that is missing everywhere stays missing.

        So a parameter that a single process would leave alone is left alone, and its optimiser takes no step.
        """
        if self.size == 1:
            return
        parameters = list(parameters)
        present = torch.stack([torch.tensor(float(p.grad is not None)) for p in parameters])
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([present.to(gradients[0]), *(gradient.flatten() for gradient in gradients)])
        anywhere, *parts = self.sum(flat).split([len(parameters), *(p.numel() for p in parameters)])
        for p, part, there in zip(parameters, parts, (anywhere > 0).tolist(), strict=True):
            p.grad = part.view_as(p).clone() if there else None

    @torch.no_grad()
    def gather_rows(self, table: torch.Tensor, particles_of_rows: torch.Tensor) -> None:
        """Every process's rows of a table put into all; particles_of_rows names the particle of each row."""
        if self.size == 1:
            return
        mine = (particles_of_rows % self.size == self.rank).to(table.device)
        kept = torch.where(mine.view(-1, *[1] * (table.ndim - 1)), table, torch.zeros((), dtype=table.dtype))
        table.copy_(self.sum(kept))

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.size == 1:
            return flag
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        return bool(self.sum(torch.tensor([float(flag)], device=device)).item())
