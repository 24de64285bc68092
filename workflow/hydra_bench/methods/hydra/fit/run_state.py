"""What the phases of a run share, and what of it a checkpoint keeps."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from hydra_bench.methods.hydra.data.frequencies import Frequencies
from hydra_bench.methods.hydra.data.images import ImageSource
from hydra_bench.methods.hydra.fit.memory import Batches, budget_bytes, plan_batches
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.schedule import Epoch
from hydra_bench.methods.hydra.model.model import Model
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.physics.rotations import hopf_grid


@dataclass
class History:
    """One row an epoch, and the number of images seen so far, repeats counted.

    labels: the class (N,) of every particle after each row's epoch, 0-based, uint8 or with more classes int16, so that
    an epoch of 100,000 particles takes 0.1 MB of a checkpoint. None with one class.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    images_seen: int = 0
    labels: list[torch.Tensor] = field(default_factory=list)

    def keep_classes(self, keep: list[int]) -> None:
        """Renumber the classes of all rows so far: `keep` come first, the others, spare fields, after them."""
        spare = [k for k in range(1 + max([*keep, *(int(one.max()) for one in self.labels)])) if k not in keep]
        places = torch.empty(len(keep) + len(spare), dtype=torch.int64)
        places[[*keep, *spare]] = torch.arange(len(places))
        self.labels = [places[one.long()].to(one.dtype) for one in self.labels]
        for row in self.rows:
            sizes = [row.pop(name) for name in list(row) if name.startswith("size_")]
            spare = [k for k in range(len(sizes)) if k not in keep]
            row |= {f"size_{j + 1}": sizes[k] for j, k in enumerate(keep)}
            row |= {f"spare_{j + 1}": sizes[k] for j, k in enumerate(spare)}


@dataclass
class Place:
    """How far a run is: the next epoch of its schedule, the next chunk of it, the epoch's summed loss so far."""

    epoch: int = 0
    chunk: int = 0
    loss: float = 0.0


@dataclass(frozen=True)
class Draws:
    """The random numbers of one chunk: `rng` and `generator` alike in all processes, `noise` this one's own."""

    rng: np.random.Generator
    generator: torch.Generator
    noise: torch.Generator

    @classmethod
    def of(cls, seed: int, epoch: int, chunk: int, rank: int) -> Draws:
        rng = np.random.default_rng([seed, 3, epoch, chunk])
        first, second = rng.integers(2**62), rng.integers(2**62)
        return cls(rng, torch.Generator().manual_seed(int(first)), torch.Generator().manual_seed(int(second) + rank))


@dataclass
class Run:
    """A run between two chunks. softening: T of the likelihood; base: the search's base rotations (Q, 3, 3)."""

    settings: Settings
    seed: int
    device: torch.device
    parallel: Parallel
    schedule: list[Epoch]
    frequencies: Frequencies
    source: ImageSource
    model: Model
    softening: float = 1.0
    place: Place = field(default_factory=Place)
    history: History = field(default_factory=History)
    wall_before_s: float = 0.0
    started: float = field(default_factory=time.monotonic)
    batches: Batches = field(default_factory=lambda: Batches(1, 1))

    def __post_init__(self) -> None:
        self.base = torch.from_numpy(hopf_grid(self.settings.base_order)).float().to(self.device)

    def wall_s(self) -> float:
        """Seconds of training, those before a resumption included."""
        return self.wall_before_s + time.monotonic() - self.started

    def tensor(self, particles: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(particles).to(self.device)

    def plan_memory(self, epoch: Epoch) -> None:
        """Choose how many particles are worked on at a time in this epoch."""
        s, n = self.settings, self.frequencies.count(epoch.l)
        n_learn = min(n, s.stage(self.model.grown).frequencies or n)
        n_coarse = self.frequencies.count(min(epoch.l, s.l_coarse))
        budget = budget_bytes(s, self.device)
        self.batches = plan_batches(s, self.model.grown, len(self.base), n_coarse, n, n_learn, budget)

    def gather(self) -> None:
        """Bring together from all processes: rows of the particle tables and of their optimisers, and the loss.

        The loss so far is the first process's from then on, so that a resumed run does not count it twice.
        """
        if self.parallel.size == 1:
            return
        loss = float(self.parallel.sum(torch.tensor(self.place.loss, dtype=torch.float64, device=self.device)))
        self.place.loss = loss if self.parallel.rank == 0 else 0.0
        tables = self.model.tables
        particles = torch.arange(tables.n)
        for name in ("rotations", "shifts_px", "errors", "posteriors"):
            self.parallel.gather_rows(getattr(tables, name), particles)
        for optimiser in self.model.table_optimisers:
            for p in optimiser.param_groups[0]["params"]:
                of_rows = particles.repeat_interleave(len(p) // tables.n)
                self.parallel.gather_rows(p.data, of_rows)
                if self.parallel.any(p in optimiser.state):
                    if p not in optimiser.state:  # this process's particles took no step yet
                        moments = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
                        optimiser.state[p] = {"step": 0, **moments}
                    for name in ("exp_avg", "exp_avg_sq"):
                        self.parallel.gather_rows(optimiser.state[p][name], of_rows)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: tensors and plain values only."""
        model, encoder = self.model, self.model.encoder
        return {
            "classes": model.tables.classes,
            "grown": model.grown,
            "fields": model.fields.state_dict(),
            "tables": model.tables.state_dict(),
            "encoder": None if encoder is None else encoder.state_dict(),
            "optimisers": [o.state_dict() for o in (model.dense_optimiser, *model.table_optimisers)],
            "softening": self.softening,
            "place": asdict(self.place),
            "history": asdict(self.history),
            "wall_s": self.wall_s(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state of the same settings and stack."""
        if state["classes"] != self.model.tables.classes:  # spare fields had gone
            self.model = self.model.of_classes(list(range(state["classes"])), self.settings)
        if state["grown"]:
            self.model = self.model.with_larger_fields(self.settings)
        model = self.model
        model.fields.load_state_dict(state["fields"])
        model.tables.load_state_dict(state["tables"])
        if model.encoder is not None:
            model.encoder.load_state_dict(state["encoder"])
        for optimiser, saved in zip((model.dense_optimiser, *model.table_optimisers), state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.softening, self.place = state["softening"], Place(**state["place"])
        if self.parallel.rank > 0:
            self.place.loss = 0.0
        self.history, self.wall_before_s = History(**state["history"]), state["wall_s"]
