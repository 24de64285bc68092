"""What the phases of a run share, and what of it a checkpoint keeps."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.on_device import on_device
from hydra_bench.core.types import BoolArray, IntArray
from hydra_bench.methods.hydra.data.images import Frequencies, ImageSource
from hydra_bench.methods.hydra.fit.batched_steps import Recorder
from hydra_bench.methods.hydra.fit.first_maps import FirstMaps
from hydra_bench.methods.hydra.fit.likelihood import Contrast
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.sizes import Sizes
from hydra_bench.methods.hydra.fit.training_input import Epoch
from hydra_bench.methods.hydra.model.model import Model
from hydra_bench.methods.hydra.model.optimisers import RowAdam
from hydra_bench.methods.hydra.model.tables import FOUND
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.physics.rotations import half_hopf_grid

_CPU_BYTES = 2**30


@dataclass
class History:
    """One row an epoch, and the number of images seen so far, repeats counted.

    labels: the class (N,) of every particle after each row's epoch, 0-based, uint8 or with more classes int16, so that
    an epoch of 100,000 particles takes 0.1 MB of a checkpoint. None with one class.
    """

    rows: list[JsonObject] = field(default_factory=list)
    images_seen: int = 0
    labels: list[torch.Tensor] = field(default_factory=list)

    def keep_classes(self, keep: list[int]) -> None:
        """Renumber the classes of all rows so far: `keep` come first, the others, spare fields, after them."""
        largest = max([*keep, *(int(labels.max()) for labels in self.labels)])
        spare = [k for k in range(largest + 1) if k not in keep]
        number_of = torch.empty(largest + 1, dtype=torch.int64)
        number_of[[*keep, *spare]] = torch.arange(largest + 1)
        self.labels = [number_of[labels.long()].to(labels.dtype) for labels in self.labels]
        for row in self.rows:
            sizes, gone = (
                [row.pop(name) for name in list(row) if name.startswith(part)] for part in ("size_", "spare_")
            )
            spare = [k for k in range(len(sizes)) if k not in keep]
            row |= {f"size_{j + 1}": sizes[k] for j, k in enumerate(keep)}
            row |= {f"spare_{j + 1}": size for j, size in enumerate([*(sizes[k] for k in spare), *gone])}


@dataclass
class Progress:
    """How far a run is: the next epoch of its schedule, the next chunk of it, the epoch's summed loss so far.

    The loss stays on the device until it is asked for: a GPU is not waited for in every chunk.
    """

    epoch: int = 0
    chunk: int = 0
    loss: float | torch.Tensor = 0.0

    def plain(self) -> JsonObject:
        """For a checkpoint."""
        return {"epoch": self.epoch, "chunk": self.chunk, "loss": float(self.loss)}


@dataclass
class Run:
    """A run between two chunks.

    begin_in (N,) : the class that each particle begins in, -1 for none; None where nothing is known of them.
    maps : those that come before fields, while there are any. others : models of other fields for the same
    classes, while there are such; the images of fold (N,) f do not teach those of model f, counting from this model.
    softening : T of the likelihood.
    base : the search's base rotations (Q, 3, 3), those below 180° in the plane.
    search_batch, coarse_batch, maps_batch, learn_batch : particles at a time in the search, on its base grid, in a step
    of first maps, and in one gradient step's forward and backward pass. recorder : of gradient steps on a GPU.
    """

    settings: Settings
    seed: int
    device: torch.device
    parallel: Parallel
    schedule: list[Epoch]
    frequencies: Frequencies
    source: ImageSource
    model: Model
    begin_in: IntArray | None = None
    maps: FirstMaps | None = None
    others: list[Model] = field(default_factory=list)
    softening: float = 1.0
    progress: Progress = field(default_factory=Progress)
    history: History = field(default_factory=History)
    wall_before_s: float = 0.0
    started: float = field(default_factory=time.monotonic)
    search_batch: int = 1
    coarse_batch: int = 1
    maps_batch: int = 1
    learn_batch: int = 1

    def __post_init__(self) -> None:
        self.sizes = Sizes.of(self.settings, len(self.source), self.frequencies.box_px, self.device)
        self.recorder = Recorder(self.device.type == "cuda" and self.parallel.size == 1)
        self.contrast = Contrast.of_deviation(self.settings.contrast_sd)
        self.fold: IntArray = np.random.default_rng([self.seed, 5]).permutation(len(self.source))
        self.fold %= self.settings.held_out_folds
        self.base = torch.from_numpy(half_hopf_grid(self.settings.base_order)).float().to(self.device)

    def wall_s(self) -> float:
        """Seconds of training, those before a resumption included."""
        return self.wall_before_s + time.monotonic() - self.started

    def tensor(self, particles: IntArray) -> torch.Tensor:
        return on_device(torch.from_numpy(particles), self.device)

    def plan_memory(self, epoch: Epoch) -> None:
        """Choose how many particles are worked on at a time in this epoch, so that memory is bounded; at least one.

        Counted are the arrays that grow with B particles, all float32: in the base grid's search four times B x T x Q
        overlaps and the moved images; in first maps the posteriors of all poses and classes, and two copies; in a
        subdivision's about six arrays of B x kept x 7 rotations x n, and two
        products of 9 shifts; in a gradient step one activation a layer and its gradient, B x n x width, of a class at a
        time but kept for all. No more are searched at a time than `sizes` says, whatever the memory.
        """
        s, stage = self.settings, self.settings.stage(self.model.grown)
        n, n_rotations, n_shifts = self.frequencies.count(epoch.l), len(self.base), s.shift_points**2
        if s.shift_near is not None:
            n_shifts = min(n_shifts, (2 * s.shift_near + 1) ** 2)
        n_coarse = self.frequencies.count(min(epoch.l, s.l_coarse))
        n_learn = min(n, stage.frequencies_per_step or n)
        coarse = 4 * (n_shifts * (4 * n_rotations + 2 * n_coarse) + 6 * n_rotations)
        maps = 4 * 3 * n_shifts * 2 * n_rotations * s.fields_at_start
        fine = 4 * max(s.keep) * 7 * (6 * n + 2 * 9)
        layers = 2 * stage.features + (2 * stage.depth + 3) * stage.width + 16
        step = 4 * n_learn * layers * 2 * s.fields_at_start
        budget = self.memory_bytes()
        self.search_batch, self.learn_batch = max(1, budget // fine), max(1, budget // step)
        self.coarse_batch = min(self.sizes.search_batch, max(1, budget // coarse))
        self.maps_batch = min(self.sizes.search_batch, max(1, budget // maps))

    def hold_out(self) -> None:
        """Each class gets as many fields as there are folds, all like its first."""
        self.others = [self.model.with_same_fields(self.settings) for _ in range(1, self.settings.held_out_folds)]

    def keep_classes(self, keep: list[int]) -> None:
        """Go on with the classes `keep` only."""
        kept = [[other.fields[k] for k in keep] for other in self.others]
        self.model = self.model.of_classes(keep, self.settings)
        self.others = [self.model.of_other_fields(fields) for fields in kept]

    def models(self) -> list[Model]:
        """That of all images, or of all but the first fold, and those of all but each other fold."""
        return [self.model, *self.others]

    def memory_bytes(self) -> int:
        """What one batch's work may take: the setting, or half of a GPU's free memory, or 1 GB on a CPU."""
        if self.settings.memory_gb is not None:
            return int(self.settings.memory_gb * 2**30)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # what the last phase left cached is free for the next one
            return torch.cuda.mem_get_info(self.device)[0] // 2
        return _CPU_BYTES

    def measure_contrast(self, particles: torch.Tensor) -> None:
        """Learn the prior of the contrasts from some particles, each in its most probable class."""
        tables = self.model.tables
        best = tables.posteriors[particles].argmax(1)
        self.contrast = self.contrast.learned(tables.contrasts[particles, best], tables.powers[particles, best])

    def gather(self) -> None:
        """Bring together from all processes: rows of the particle tables and of their optimisers, and the loss.

        The loss so far is the first process's from then on, so that a resumed run does not count it twice.
        """
        if self.parallel.size == 1:
            return
        loss = torch.as_tensor(self.progress.loss, dtype=torch.float64, device=self.device).clone()
        total = float(self.parallel.sum(loss))
        self.progress.loss = total if self.parallel.rank == 0 else 0.0
        tables = self.model.tables
        particles = torch.arange(tables.n)
        for name in FOUND:
            self.parallel.gather_rows(getattr(tables, name), particles)
        for optimiser in self.model.table_optimisers:
            self._gather_learned(optimiser, particles)

    def _gather_learned(self, optimiser: RowAdam, particles: torch.Tensor) -> None:
        """Rows of one table that gradient steps change, and of their moments."""
        table = optimiser.table
        of_rows = particles.repeat_interleave(len(table) // len(particles))
        self.parallel.gather_rows(table.data, of_rows)
        if self.parallel.any(optimiser.mean is not None):  # this process's particles may have taken no step yet
            for moment in optimiser.moments():
                self.parallel.gather_rows(moment, of_rows)

    def state(self) -> dict[str, Any]:  # tensors, too
        """What a checkpoint keeps: tensors and plain values only."""
        model = self.model
        return {
            "classes": model.tables.classes,
            "grown": model.grown,
            "fields": model.field_weights().state_dict(),
            "tables": model.tables.state_dict(),
            "encoder": None if model.encoder is None else model.encoder.state_dict(),
            "optimisers": model.optimiser_states(),
            "others": [other.state_of_fields() for other in self.others],
            "maps": None if self.maps is None else self.maps.state(),
            "softening": self.softening,
            "sizes": self.sizes.plain(),
            "contrast_precision": self.contrast.precision,
            "place": self.progress.plain(),  # its name in the checkpoints that there are
            "history": asdict(self.history),
            "wall_s": self.wall_s(),
        }

    def restore(self, state: dict[str, Any]) -> None:  # tensors, too
        """Take up a state of the same settings and stack."""
        if state["classes"] != self.model.tables.classes:  # spare fields had gone
            self.keep_classes(list(range(state["classes"])))
        if state["grown"]:
            self.model = self.model.with_larger_fields(self.settings)
        model = self.model
        model.field_weights().load_state_dict(state["fields"])
        model.tables.load_state_dict(state["tables"])
        if model.encoder is not None:
            model.encoder.load_state_dict(state["encoder"])
        model.restore_optimisers(state["optimisers"])
        if state["others"]:
            self.hold_out()
        for other, fields in zip(self.others, state["others"], strict=True):
            other.restore_fields(fields)
        if state["maps"] is not None:
            self.maps = FirstMaps(**{name: part.to(self.device) for name, part in state["maps"].items()})
        self.softening = state["softening"]
        self.sizes = Sizes(**state["sizes"])
        self.contrast = Contrast.of_precision(state["contrast_precision"])
        self.progress = Progress(**state["place"])
        if self.parallel.rank > 0:
            self.progress.loss = 0.0
        self.history = History(**state["history"])
        self.wall_before_s = state["wall_s"]


@dataclass(frozen=True)
class Chunk:
    """Particles that are worked on at a time, and their random numbers: those of this place in the schedule.

    particles : (B,), of all processes. mine : (B,), which of them are this process's; own : these, and members : these
    on the device. rng, generator : alike in all processes. noise : this process's own.
    """

    particles: IntArray
    mine: BoolArray
    own: IntArray
    members: torch.Tensor
    rng: np.random.Generator
    generator: torch.Generator
    noise: torch.Generator

    @classmethod
    def of(cls, run: Run, particles: IntArray) -> Chunk:
        """The run's next chunk, of these particles."""
        rng = np.random.default_rng([run.seed, 3, run.progress.epoch, run.progress.chunk])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)) + run.parallel.rank)
        mine = run.parallel.owns(particles)
        own = particles[mine]
        return cls(particles, mine, own, run.tensor(own), rng, generator, noise)

    def part(self, chosen: BoolArray) -> Chunk:
        """Some of its particles, chosen (B,), with the same random numbers."""
        rows = on_device(torch.from_numpy(np.flatnonzero(chosen[self.mine])), self.members.device)
        own = self.own[chosen[self.mine]]
        return replace(
            self, particles=self.particles[chosen], mine=self.mine[chosen], own=own, members=self.members[rows]
        )
