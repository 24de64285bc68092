"""How many particles are searched, then learned from, at a time: chosen once, and kept by a run for good."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from hydra_bench.core.json_values import JsonObject
from hydra_bench.methods.hydra.settings import Settings

_CHUNKS_AN_EPOCH = 12
"""At least so many, as an epoch of the demo has: fields learn between the searches of one epoch, too."""
_LARGEST = 2000
"""Particles whose search keeps a large GPU busy; more bring nothing, and take memory."""


@dataclass(frozen=True)
class Sizes:
    """Particles of a chunk in the search and in auto-decoding, and in refinement.

    They decide what is learned from what, so a run keeps those that it began with, wherever it goes on. How much of a
    chunk is worked on at a time is the memory's matter: Run.plan_memory.
    """

    chunk: int
    refine_chunk: int

    @classmethod
    def of(cls, settings: Settings, n_particles: int, device: torch.device) -> Sizes:
        """The settings' on a CPU. On a GPU each chunk costs its start, so that large stacks have larger ones."""
        chunk = settings.chunk
        if device.type == "cuda":
            whole = n_particles // (_CHUNKS_AN_EPOCH * settings.minibatch) * settings.minibatch
            chunk = max(chunk, min(_LARGEST, whole))
        return cls(chunk, settings.refine_chunk)

    def plain(self) -> JsonObject:
        """For a checkpoint."""
        return asdict(self)
