"""Gradient steps: fields, latents and, in auto-decoding, poses and class scores."""

from dataclasses import dataclass

import numpy as np
import torch

from hydra_bench.core.errors import RunFailedError
from hydra_bench.methods.hydra.data.images import ImageBatch, centred_images, random_pairs
from hydra_bench.methods.hydra.fit.conformations import infer_latents
from hydra_bench.methods.hydra.fit.likelihood import mixture_loss, posteriors
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.run_state import Chunk, Run
from hydra_bench.methods.hydra.fit.training_input import Epoch
from hydra_bench.methods.hydra.model.model import Model
from hydra_bench.methods.hydra.model.networks import Encoded, Field
from hydra_bench.methods.hydra.settings import Settings


@dataclass(frozen=True)
class Step:
    """How steps are made.

    n_total : frequencies at the current resolution, of which a batch may hold a random part.
    softening : T of the likelihood in auto-decoding, where poses and class scores are learned too; None while the
    search holds both fixed. n_particles : particles of the minibatch, over all processes. part : how many of them
    are worked on at a time, which memory limits.
    """

    settings: Settings
    n_total: int
    softening: float | None
    n_particles: int
    part: int
    noise: torch.Generator
    parallel: Parallel


def learn(run: Run, epoch: Epoch, chunk: Chunk, batch: ImageBatch | None = None) -> float:
    """Sweeps of gradient steps over a chunk on random ones of the epoch's frequencies; the summed loss.

    Where latents are found by Newton steps, one is made first. `batch` holds this process's particles of the chunk on
    all of the epoch's frequencies, if they were loaded already.
    """
    s, model = run.settings, run.model
    n, stage = run.frequencies.count(epoch.l), s.stage(model.grown)
    drawn = random_pairs(n, stage.frequencies_per_step, chunk.generator)
    used = drawn if len(drawn) < n else slice(None, n)
    batch = run.source.load(chunk.own, used) if batch is None else batch.at(used)
    low = None if model.encoder is None else run.source.load(chunk.own, slice(None, model.encoder.n_inputs))
    if model.latents_on and s.newton and infers_latents(s, epoch):
        infer_latents(model, s, batch, chunk.members, n, run.learn_batch)
    softening = run.softening if epoch.phase == "decode" else None
    row_among_own = torch.from_numpy(np.cumsum(chunk.mine) - 1)
    total = 0.0
    for _ in range(epoch.sweeps):
        for rows in torch.randperm(len(chunk.particles), generator=chunk.generator).split(stage.minibatch):
            here = row_among_own[rows[torch.from_numpy(chunk.mine)[rows]]].to(run.device)
            step = Step(s, n, softening, len(rows), run.learn_batch, chunk.noise, run.parallel)
            seen = None if low is None else low.take(here)
            total += learning_step(model, batch.take(here), seen, chunk.members[here], step)
    return total


def infers_latents(settings: Settings, epoch: Epoch) -> bool:
    """In auto-decoding every other epoch, the last one among them: a Newton step costs half of what a sweep does."""
    return epoch.phase != "decode" or (settings.decode_epochs - epoch.number) % 2 == 1


def class_errors(
    field: Field, batch: ImageBatch, rotations: torch.Tensor, shifts: torch.Tensor, latents: torch.Tensor | None
) -> torch.Tensor:
    """½ mean over the batch's frequencies of |C·V(Rᵀk; z) - Y(t)|² for B particles: (B,)."""
    predicted: torch.Tensor = batch.ctf * field(batch.plane @ rotations, latents)
    return 0.5 * (predicted - centred_images(batch.hartley, shifts, batch.plane, batch.box_px)).square().mean(1)


def divergence(mean: torch.Tensor, log_sd: torch.Tensor) -> torch.Tensor:
    """KL divergence (B,) of normal latents (B, d) from the standard normal prior."""
    return 0.5 * (mean.square() + (2 * log_sd).exp() - 1 - 2 * log_sd).sum(1)


def learning_step(
    model: Model, batch: ImageBatch, low: ImageBatch | None, particles: torch.Tensor, step: Step
) -> float:
    """One step of all optimisers on a minibatch of B particles; returns their summed loss.

    `low` is what the encoder sees of them, if there is one. Raises RunFailedError for a loss that is no number.
    """
    model.zero_gradients()
    total = 0.0
    for rows in torch.arange(len(particles), device=particles.device).split(step.part) if len(particles) else ():
        encoded = None if model.encoder is None or low is None else model.encoder(low.take(rows))
        loss, data_term = minibatch_loss(model, batch.take(rows), encoded, particles[rows], step)
        # Of posteriors that are no numbers no class takes part, and the loss is a constant.
        if not loss.requires_grad or not torch.isfinite(loss):
            raise RunFailedError("the fields diverged (not a number); a lower learning_rate may help")
        (loss / step.n_particles).backward()
        total += float(data_term.detach())
    step.parallel.sum_gradients(model.dense_parameters())
    model.step()
    return total


def minibatch_loss(
    model: Model, batch: ImageBatch, encoded: Encoded | None, particles: torch.Tensor, step: Step
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of B particles, summed, and the part of it that the images make."""
    s, tables = step.settings, model.tables
    weights = tables.posteriors[particles]
    # With very many classes even an even share is small; some class must always be left.
    negligible = min(s.negligible, 0.5 / tables.classes)
    columns: list[torch.Tensor] = []
    prior = particles.new_zeros((), dtype=torch.float32)
    for k, field in enumerate(model.fields):
        rows = (weights[:, k] > negligible).nonzero()[:, 0]
        column = weights.new_full((len(particles),), torch.inf)
        if len(rows):
            rotations, shifts = tables.pose(particles[rows], k)
            if step.softening is None or s.poses == "fixed":
                rotations, shifts = rotations.detach(), shifts.detach()
            latents, cost = None, None
            if tables.latent_dims[k] and model.latents_on:
                latents, cost = draw_latents(model, encoded, particles, rows, k, step)
                prior = prior + (weights[rows, k] * cost).sum()
            column = column.index_put((rows,), class_errors(field, batch.take(rows), rotations, shifts, latents))
        columns.append(column)
    errors = torch.stack(columns, 1)
    amortised = encoded is not None and s.gating == "encoder"
    scores = encoded.scores if encoded is not None and amortised else tables.scores(particles)
    cost_of_latents = prior * (s.latent_prior / step.n_total)
    if step.softening is None:
        data_term = torch.where(errors.isfinite(), weights * errors, 0.0).sum()
        total = data_term + cost_of_latents
        if amortised:  # the encoder learns the posteriors that the search found
            total = total - (weights * torch.log_softmax(scores, 1)).sum()
        return total, data_term
    softening = step.softening / step.n_total
    data_term = mixture_loss(errors, scores, softening) * len(particles)
    if amortised:
        log_prior = torch.log_softmax(scores.detach(), 1)
        tables.posteriors[particles] = posteriors(errors.detach(), softening, log_prior)
    return data_term + cost_of_latents, data_term


def draw_latents(
    model: Model, encoded: Encoded | None, particles: torch.Tensor, rows: torch.Tensor, k: int, step: Step
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (m, d_k) of the given rows of B particles in class k, and what the prior costs each (m,).

    Variational latents are drawn from their normal distribution; point latents have a normal prior.
    """
    tables = model.tables
    if encoded is not None and step.settings.conformations == "encoder":
        mean, log_sd = (part[rows] for part in encoded.latents[k])
        # The table keeps the last word, for rendering and output.
        tables.store_latents(particles[rows], k, mean, log_sd)
    else:
        mean, log_sd = tables.latent(particles[rows], k)
        if step.settings.newton:
            mean, log_sd = mean.detach(), log_sd.detach()
    if not step.settings.variational:
        return mean, 0.5 * mean.square().sum(1)
    noise = torch.randn(mean.shape, generator=step.noise).to(mean.device)
    return mean + log_sd.exp() * noise, divergence(mean, log_sd)
