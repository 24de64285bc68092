"""How many particles are worked on at a time: chosen once for a stack and a device, and kept by a run for good."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from hydra_bench.core.json_values import JsonObject
from hydra_bench.methods.hydra.settings import Settings

_CHUNKS_AN_EPOCH = 12
"""At least so many, as an epoch of the demo has: fields learn between the searches of one epoch, too."""
_LARGEST_CHUNK = 2000
"""Particles whose search in three classes keeps a large GPU busy; more classes share more of them."""
_IMAGE_BYTES = 2**30
"""The most that the images of a chunk take."""
_CPU_SEARCH_BATCH = 8
"""Images whose overlaps with the base grid, 1.8 MB of them at order 2 with 25 shifts, stay in a processor's cache."""


@dataclass(frozen=True)
class Sizes:
    """Particles of a chunk in the search and in auto-decoding, and in refinement, and of a search.

    search_batch : whose overlaps with the base grid are worked out at once. All decide what is learned from what, or in
    which order it is summed, so a run keeps those that it began with, wherever it goes on. How much of them fits into
    memory at a time is another matter: Run.plan_memory. A gradient step has the settings' minibatch on every device:
    larger ones make worse maps, at higher learning rates, too (docs/explanation/benchmarks.md, larger minibatches).
    """

    chunk: int
    refine_chunk: int
    search_batch: int

    @classmethod
    def of(cls, settings: Settings, n_particles: int, box_px: int, device: torch.device) -> Sizes:
        """The settings' on a CPU. On a GPU each chunk costs its start, so that large stacks have larger ones."""
        s, chunk = settings, settings.chunk
        if device.type == "cpu":
            return cls(chunk, s.refine_chunk, _CPU_SEARCH_BATCH)
        if device.type == "cuda" and s.larger_on_gpu:
            most = min(_LARGEST_CHUNK * max(3, s.classes) // 3, _IMAGE_BYTES // (4 * box_px**2))
            chunk = max(chunk, min(most, n_particles // _CHUNKS_AN_EPOCH) // s.minibatch * s.minibatch)
        return cls(chunk, s.refine_chunk, max(chunk, s.refine_chunk))

    def plain(self) -> JsonObject:
        """For a checkpoint."""
        return asdict(self)
