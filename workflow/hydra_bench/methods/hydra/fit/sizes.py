"""How many particles are worked on at a time: chosen once for a stack and a device, and kept by a run for good."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from hydra_bench.core.json_values import JsonObject
from hydra_bench.methods.hydra.settings import Settings

_STEPS_AN_EPOCH = 60
"""Gradient steps of a sweep that a larger minibatch leaves, as an epoch of the demo has."""
_CHUNKS_AN_EPOCH = 12
"""At least so many, as an epoch of the demo has: fields learn between the searches of one epoch, too."""
_LARGEST_GROWTH = 4
"""How many times as large as it is set a minibatch becomes at most. Learning rates stay as they are, since higher ones
did not help (docs/explanation/benchmarks.md, larger minibatches)."""
_LARGEST_CHUNK = 2000
"""Particles whose search in three classes keeps a large GPU busy; more classes share more of them."""
_IMAGE_BYTES = 2**30
"""The most that the images of a chunk take."""
_CPU_SEARCH_BATCH = 8
"""Images whose overlaps with the base grid, 1.8 MB of them at order 2 with 25 shifts, stay in a processor's cache."""


@dataclass(frozen=True)
class Sizes:
    """Particles of a chunk in the search and in auto-decoding, and in refinement; of a gradient step; of a search.

    minibatch : of the fields that the search begins with. search_batch : whose overlaps with the base grid are worked
    out at once. All decide what is learned from what, or in which order it is summed, so a run keeps those that it
    began with, wherever it goes on. How much of them fits into memory at a time is another matter: Run.plan_memory.
    """

    chunk: int
    refine_chunk: int
    minibatch: int
    search_batch: int

    @classmethod
    def of(cls, settings: Settings, n_particles: int, box_px: int, device: torch.device) -> Sizes:
        """The settings' on a CPU. On a GPU each chunk and each step costs its start, so that large stacks have larger.

        With an encoder minibatches stay as they are set: what they would do to it was not measured.
        """
        s = settings
        if device.type == "cpu":
            return cls(s.chunk, s.refine_chunk, s.minibatch, _CPU_SEARCH_BATCH)
        chunk, minibatch = s.chunk, s.minibatch
        if device.type == "cuda" and s.larger_on_gpu:
            if "encoder" not in (s.gating, s.conformations):
                minibatch *= max(1, min(_LARGEST_GROWTH, n_particles // (_STEPS_AN_EPOCH * s.minibatch)))
            most = min(_LARGEST_CHUNK * max(3, s.classes) // 3, _IMAGE_BYTES // (4 * box_px**2))
            whole = min(most, n_particles // _CHUNKS_AN_EPOCH) // minibatch * minibatch
            chunk = max(chunk, whole)
        return cls(chunk, s.refine_chunk, minibatch, max(chunk, s.refine_chunk))

    def plain(self) -> JsonObject:
        """For a checkpoint."""
        return asdict(self)
