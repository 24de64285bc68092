"""Gradient steps of all classes at once, for a GPU: nothing is waited for, and the work is recorded once and replayed.

Each class is given as many places in a minibatch as the fullest one needs, so that all are one product of matrices a
layer; a place that no particle takes counts for nothing. What a step does is then the same for all minibatches of one
size, and a CUDA graph repeats it without the host's having to say it again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from hydra_bench.core.on_device import on_device
from hydra_bench.methods.hydra.data.images import ImageBatch
from hydra_bench.methods.hydra.fit.gradient_steps import (
    Step,
    class_errors,
    drawn,
    loss_of_errors,
    summed_gradients,
)
from hydra_bench.methods.hydra.model.model import Model
from hydra_bench.methods.hydra.model.networks import Encoded
from hydra_bench.methods.hydra.model.optimisers import RowAdam


@dataclass(frozen=True)
class Minibatch:
    """B particles, and which of them stand in the M places of each class.

    low : what the encoder sees, if there is one. rows, taken (K, M) : the particle of each place, no two places of a
    class have the same, and whether it belongs there. noise (B, K, d) : what latents are drawn by, if they are.
    """

    batch: ImageBatch
    low: ImageBatch | None
    particles: torch.Tensor
    rows: torch.Tensor
    taken: torch.Tensor
    noise: torch.Tensor | None

    def tensors(self) -> list[torch.Tensor]:
        """All that differs between minibatches of one size."""
        parts = [self.batch.hartley, self.batch.ctf, self.batch.plane, self.particles, self.rows, self.taken]
        parts += [] if self.low is None else [self.low.hartley, self.low.ctf]
        return parts + ([] if self.noise is None else [self.noise])

    def copied(self) -> Minibatch:
        """The same in tensors of its own."""
        hartley, ctf, plane = self.batch.hartley.clone(), self.batch.ctf.clone(), self.batch.plane.clone()
        batch = ImageBatch(hartley, ctf, plane, self.batch.box_px)
        low = self.low and replace(self.low, hartley=self.low.hartley.clone(), ctf=self.low.ctf.clone())
        particles, rows, taken = self.particles.clone(), self.rows.clone(), self.taken.clone()
        return Minibatch(batch, low, particles, rows, taken, None if self.noise is None else self.noise.clone())


def places(belongs: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`rows` and `taken` (K, M) of a Minibatch of the given rows (B,) of belongs (C, K), all on the host.

    M is a power of two, or B: few sizes, so that few steps have to be recorded.
    """
    here = belongs[rows].T
    fullest = max(4, int(here.sum(1).max()))
    m = min(len(rows), 1 << (fullest - 1).bit_length())
    order = (~here).int().argsort(dim=1, stable=True)[:, :m]
    return order, here.gather(1, order)


def batched_sweep(
    model: Model,
    recorder: Recorder,
    chunk: ChunkOfImages,
    minibatches: Sequence[tuple[torch.Tensor, int]],
    step: Step,
) -> torch.Tensor:
    """A gradient step on each minibatch, given as rows of the chunk and particles over all processes; summed loss."""
    device, K = chunk.particles.device, model.tables.classes
    sizes = [len(rows) for rows, _ in minibatches]
    of_rows = on_device(torch.cat([rows for rows, _ in minibatches]), device).split(sizes)
    placed = [places(chunk.belongs, rows) for rows, _ in minibatches if len(rows)]
    flat = torch.zeros(0, dtype=torch.int64)  # where all particles are other processes', or of another fold
    if placed:
        flat = torch.cat([torch.stack([order, taken.long()]).flatten() for order, taken in placed])
    flat = on_device(flat, device)
    of_places = iter(flat.split([2 * order.numel() for order, _ in placed]))
    noise: Sequence[torch.Tensor | None] = [None] * len(sizes)
    if step.settings.variational and model.latents_on and model.stack.latent_dim:
        drawn_noise = torch.randn(sum(sizes), K, model.stack.latent_dim, generator=step.noise)
        noise = on_device(drawn_noise, device).split(sizes)
    total = torch.zeros((), dtype=torch.float64, device=device)
    for rows, (_, n_particles), some in zip(of_rows, minibatches, noise, strict=True):
        if not len(rows):  # all are other processes'
            model.zero_gradients()
            model.step(*summed_gradients(model, *model.stack.gradients(), step.parallel))
            continue
        order, taken = next(of_places).view(2, K, -1)
        low = None if chunk.low is None else chunk.low.take(rows)
        minibatch = Minibatch(chunk.batch.take(rows), low, chunk.particles[rows], order, taken.bool(), some)
        work = partial(batched_step, model, step=replace(step, n_particles=n_particles))
        size = (len(rows), n_particles, order.shape[1], len(chunk.batch.plane), step.n_total)
        key = (id(model), *size, step.softening is None)
        total += recorder.run(key, minibatch, work)
    return total


def batched_step(model: Model, m: Minibatch, step: Step) -> torch.Tensor:
    """One step of all optimisers on a minibatch; returns its summed loss. No size in it depends on a value."""
    learned = Learned(model, m, step)
    scores = learned.scores
    amortised = model.encoder is not None and step.settings.gating == "encoder"
    if amortised and learned.encoded is not None:
        scores = learned.encoded.scores
    loss, data_term = loss_of_errors(model, learned.errors(), learned.prior, scores, m.particles, step)
    leaves = [learned.weights, *(leaf for _, _, leaf, _ in learned.rows)]
    encoder = [] if model.encoder is None else list(model.encoder.parameters())
    found = torch.autograd.grad(loss / step.n_particles, [*leaves, *encoder], allow_unused=True)
    for p, gradient in zip(encoder, found[len(leaves) :], strict=True):
        p.grad = gradient
    with torch.no_grad():
        model.field_optimiser.step(*summed_gradients(model, found[0], m.taken.any(1), step.parallel))
        if model.encoder_optimiser is not None:
            model.encoder_optimiser.step()
        for (optimiser, rows, _, taken), gradient in zip(learned.rows, found[1 : len(leaves)], strict=True):
            optimiser.move(rows, gradient, taken)
    return data_term.detach()


class Learned:
    """What one step differentiates by: the fields' weights, and rows of the tables.

    rows : of each table that learns, its optimiser, the rows (m,), their values as a leaf (m, d), and which take part.
    """

    def __init__(self, model: Model, m: Minibatch, step: Step) -> None:
        self.model, self.m, self.step = model, m, step
        self.weights = model.stack.weights.detach().requires_grad_()
        self.encoded: Encoded | None = None if model.encoder is None or m.low is None else model.encoder(m.low)
        self.rows: list[tuple[RowAdam, torch.Tensor, torch.Tensor, torch.Tensor | None]] = []
        self.who = m.particles[m.rows]
        self.classes = torch.arange(model.tables.classes, device=self.who.device)[:, None]
        self.prior = torch.zeros((), device=self.who.device)
        by_table = step.softening is not None and step.settings.gating == "table"
        self.scores = self._rows(0, m.particles, None, by_table)

    def _rows(self, number: int, rows: torch.Tensor, taken: torch.Tensor | None, learns: bool) -> torch.Tensor:
        """Rows (m, d) of one of the tables, in the order of the optimisers; remembered if it learns."""
        optimiser = self.model.table_optimisers[number]
        values = optimiser.table.detach()[rows]
        if learns:
            self.rows.append((optimiser, rows, values.requires_grad_(), taken))
        return values

    def errors(self) -> torch.Tensor:
        """(B, K), infinite for classes that a particle does not stand in."""
        model, m, tables = self.model, self.m, self.model.tables
        K, M = m.rows.shape
        rows = tables.rows(self.who, self.classes).flatten()
        corrections = self._rows(1, rows, m.taken.flatten(), self.step.poses_learned).view(K, M, -1)
        rotations, shifts = tables.corrected(corrections, self.who, self.classes)
        latents = self._latents() if model.latents_on and model.stack.latent_dim else None
        ctf = m.batch.ctf[m.rows] * tables.contrasts[self.who, self.classes][..., None]
        images = ImageBatch(m.batch.hartley[m.rows], ctf, m.batch.plane, m.batch.box_px)

        def values(points: torch.Tensor, z: torch.Tensor | None) -> torch.Tensor:
            return model.stack.values(self.weights, points, z)

        errors = class_errors(values, images, rotations, shifts, latents)
        errors = torch.where(m.taken, errors, torch.inf)
        return errors.new_full((K, len(m.particles)), torch.inf).scatter(1, m.rows, errors).T

    def _latents(self) -> torch.Tensor:
        """(K, M, d), padded with zeros in classes of fewer dimensions; what their prior costs is added up."""
        model, m, s = self.model, self.m, self.step.settings
        tables, found = model.tables, []
        by_encoder = self.encoded is not None and s.conformations == "encoder"
        for k, d in enumerate(tables.latent_dims):
            who, rows, taken = self.who[k], m.rows[k], m.taken[k]
            if by_encoder and self.encoded is not None:
                mean, log_sd = (part[rows] for part in self.encoded.latents[k])
                old = tables.latent(who, k)
                kept = (torch.where(taken[:, None], *pair) for pair in zip((mean, log_sd), old, strict=True))
                tables.store_latents(who, k, *kept)
            else:
                learns = s.conformations == "table" and not s.newton and d > 0
                mean, log_sd = self._rows(2 + k, who, taken, learns).chunk(2, 1)
            noise = None if m.noise is None else m.noise[rows, k, :d]
            z, cost = drawn(mean, log_sd, noise)
            of_class = tables.posteriors[who, k] * cost
            self.prior = self.prior + torch.where(taken, of_class, 0.0).sum()
            found.append(torch.nn.functional.pad(z, (0, model.stack.latent_dim - d)))
        return torch.stack(found)


@dataclass(frozen=True)
class ChunkOfImages:
    """Particles (C,) that are learned from: their images, what the encoder sees, and the classes that each may be in.

    belongs (C, K) bool, on the host.
    """

    batch: ImageBatch
    low: ImageBatch | None
    particles: torch.Tensor
    belongs: torch.Tensor


@dataclass
class Recording:
    """A step that is replayed: its graph, and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    minibatch: Minibatch
    loss: torch.Tensor


@dataclass
class Recorder:
    """Runs steps: the first of a size as it is, the second recorded, from then on by replaying that.

    Only on a GPU, where `on`; recordings hold the memory of a step, one after the other in the same place.
    """

    on: bool
    seen: set[Hashable] = field(default_factory=set)
    recordings: dict[Hashable, Recording] = field(default_factory=dict)

    def run(self, key: Hashable, minibatch: Minibatch, work: Callable[[Minibatch], torch.Tensor]) -> torch.Tensor:
        """The loss that `work` gives for a minibatch; `key` says what its recording depends on."""
        if not self.on or key not in self.seen:
            self.seen.add(key)
            return work(minibatch)
        if key not in self.recordings:
            own, graph = minibatch.copied(), torch.cuda.CUDAGraph()
            pool = next((r.graph.pool() for r in self.recordings.values()), None)
            with torch.cuda.graph(graph, pool=pool):
                loss = work(own)
            self.recordings[key] = Recording(graph, own, loss)
        recording = self.recordings[key]
        for own_part, part in zip(recording.minibatch.tensors(), minibatch.tensors(), strict=True):
            own_part.copy_(part)
        recording.graph.replay()
        return recording.loss

    def forget(self) -> None:
        """Before anything changes that recordings hold: model, softening, or whether latents take part."""
        self.seen.clear()
        self.recordings.clear()
