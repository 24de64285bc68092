"""How many particles are worked on at a time, so that memory is bounded."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hydra_bench.methods.hydra.settings import Settings

_CPU_BYTES = 2**30


@dataclass(frozen=True)
class Batches:
    """Particles at a time: in the base grid's search, and in one gradient step's forward and backward pass."""

    search: int
    learn: int


def budget_bytes(settings: Settings, device: torch.device) -> int:
    """What one batch's work may take: the setting, or half of a GPU's free memory, or 1 GB on a CPU."""
    if settings.memory_gb is not None:
        return int(settings.memory_gb * 2**30)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what the last phase left cached is free for the next one
        return torch.cuda.mem_get_info(device)[0] // 2
    return _CPU_BYTES


def plan_batches(
    settings: Settings, grown: bool, n_rotations: int, n_coarse: int, n_fine: int, n_learn: int, budget: int
) -> Batches:
    """Batches of B particles that fit in `budget` bytes, at least one particle each.

    Counted are the arrays that grow with B, all float32: in the base grid's search B x T x Q overlaps and the moved
    images; in a subdivision's about six arrays of B x kept x 7 rotations x n, and two products of 9 shifts; in a
    gradient step one activation a layer and its gradient, B x n x width, of a class at a time but kept for all.
    """
    s, stage = settings, settings.stage(grown)
    shifts = s.shift_points**2
    coarse = 4 * (shifts * (n_rotations + 2 * n_coarse) + 3 * n_rotations)
    fine = 4 * max(s.keep) * 7 * (6 * n_fine + 2 * 9)
    layers = 2 * stage.features + (2 * stage.depth + 3) * stage.width + 16
    step = 4 * n_learn * layers * 2 * s.fields_at_start
    return Batches(max(1, budget // max(coarse, fine)), max(1, budget // step))
