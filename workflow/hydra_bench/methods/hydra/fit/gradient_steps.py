"""Gradient steps: fields, latents and, in auto-decoding, poses and class scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hydra_bench.core.errors import RunFailedError
from hydra_bench.methods.hydra.data.frequencies import centred_images, random_pairs
from hydra_bench.methods.hydra.data.images import ImageBatch
from hydra_bench.methods.hydra.fit.conformations import infer_latents
from hydra_bench.methods.hydra.fit.likelihood import mixture_loss, posteriors
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.run_state import Draws, Run
from hydra_bench.methods.hydra.model.encoder import Encoded
from hydra_bench.methods.hydra.model.field import Field
from hydra_bench.methods.hydra.model.model import Model
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


def learn(
    run: Run,
    particles: np.ndarray,
    batch: ImageBatch | None,
    n: int,
    sweeps: int,
    softening: float | None,
    draws: Draws,
    infer: bool = True,
) -> float:
    """Sweeps of gradient steps over a chunk on random ones of the first n frequencies; the summed loss.

    infer : whether latents that are found by Newton steps make one first.
    `batch` holds this process's particles of the chunk on the first n frequencies, if they were loaded already.
    """
    s, model = run.settings, run.model
    mine = run.parallel.owns(particles)
    own, members = particles[mine], run.tensor(particles[mine])
    stage = s.stage(model.grown)
    places = random_pairs(n, stage.frequencies, draws.generator)
    everything = places if len(places) < n else slice(None, n)
    batch = run.source.load(own, everything) if batch is None else batch.at(everything)
    low = None if model.encoder is None else run.source.load(own, slice(None, model.encoder.n_inputs))
    local = torch.from_numpy(np.cumsum(mine) - 1)  # place among the own particles
    if infer and model.latents_on and s.newton:
        infer_latents(model, batch, members, n, run.batches.learn, s.latent_prior, s.negligible)
    total = 0.0
    for _ in range(sweeps):
        for rows in torch.randperm(len(particles), generator=draws.generator).split(stage.minibatch):
            here = local[rows[torch.from_numpy(mine)[rows]]].to(run.device)
            step = Step(s, n, softening, len(rows), run.batches.learn, draws.noise, run.parallel)
            seen = None if low is None else low.take(here)
            total += learning_step(model, batch.take(here), seen, members[here], step)
    return total


def class_errors(
    field: Field, batch: ImageBatch, rotations: torch.Tensor, shifts: torch.Tensor, latents: torch.Tensor | None
) -> torch.Tensor:
    """½ mean over the batch's frequencies of |C·V(Rᵀk; z) - Y(t)|² for B particles: (B,)."""
    predicted = batch.ctf * field(batch.plane @ rotations, latents)
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
        encoded = model.encoder(low.take(rows)) if model.encoder is not None else None
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
    columns, prior = [], particles.new_zeros((), dtype=torch.float32)
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
    amortised, gating = encoded is not None and s.gating == "encoder", 0.0
    scores = encoded.scores if amortised else tables.scores(particles)
    if step.softening is None:
        data_term = torch.where(errors.isfinite(), weights * errors, 0.0).sum()
        if amortised:  # the encoder learns the posteriors that the search found
            gating = -(weights * torch.log_softmax(scores, 1)).sum()
    else:
        softening = step.softening / step.n_total
        data_term = mixture_loss(errors, scores, softening) * len(particles)
        if amortised:
            log_prior = torch.log_softmax(scores.detach(), 1)
            tables.posteriors[particles] = posteriors(errors.detach(), softening, log_prior)
    return data_term + prior * (s.latent_prior / step.n_total) + gating, data_term


def draw_latents(
    model: Model, encoded: Encoded | None, particles: torch.Tensor, rows: torch.Tensor, k: int, step: Step
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (m, d_k) of the given rows of B particles in class k, and what the prior costs each (m,).

    Variational latents are drawn from their normal distribution; point latents have a normal prior.
    """
    tables = model.tables
    if encoded is not None and step.settings.conformations == "encoder":
        mean, log_sd = (part[rows] for part in encoded.latents[k])
        with torch.no_grad():  # the table keeps the last word, for rendering and output
            tables.latents[k].weight[particles[rows]] = torch.cat([mean, log_sd], 1)
    else:
        mean, log_sd = tables.latent(particles[rows], k)
        if step.settings.newton:
            mean, log_sd = mean.detach(), log_sd.detach()
    if not step.settings.variational:
        return mean, 0.5 * mean.square().sum(1)
    noise = torch.randn(mean.shape, generator=step.noise).to(mean.device)
    return mean + log_sd.exp() * noise, divergence(mean, log_sd)
