"""Gradient steps: fields, latents and, in auto-decoding, poses and class scores.

On a CPU one class after the other is worked on, with the particles that may belong to it. A GPU works on all classes
at once, in fit/batched_steps.py; the likelihood is the same, and here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from hydra_bench.core.errors import RunFailedError
from hydra_bench.methods.hydra.data.images import ImageBatch, centred_images
from hydra_bench.methods.hydra.fit.likelihood import mixture_loss, posteriors
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.model.model import Model
from hydra_bench.methods.hydra.model.networks import Encoded
from hydra_bench.methods.hydra.settings import Settings

DIVERGED = "the fields diverged (not a number); a lower learning_rate may help"

FieldValues = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
"""Of one field (B, n), or of all (K, B, n), at points (..., 3) for latents (..., d)."""


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

    @property
    def poses_learned(self) -> bool:
        return self.softening is not None and self.settings.poses != "fixed"


def negligible(settings: Settings, classes: int) -> float:
    """The posterior at which a class is left out. With very many even an even share is small; some must be left."""
    return min(settings.negligible, 0.5 / classes)


def class_errors(
    field: FieldValues, batch: ImageBatch, rotations: torch.Tensor, shifts: torch.Tensor, latents: torch.Tensor | None
) -> torch.Tensor:
    """½ mean over the batch's frequencies of |C·V(Rᵀk; z) - Y(t)|² for B particles: (B,), or (K, B) of all classes."""
    predicted: torch.Tensor = batch.ctf * field(batch.plane @ rotations, latents)
    return 0.5 * (predicted - centred_images(batch.hartley, shifts, batch.plane, batch.box_px)).square().mean(-1)


def divergence(mean: torch.Tensor, log_sd: torch.Tensor) -> torch.Tensor:
    """KL divergence (...) of normal latents (..., d) from the standard normal prior."""
    return 0.5 * (mean.square() + (2 * log_sd).exp() - 1 - 2 * log_sd).sum(-1)


def learning_step(
    model: Model, batch: ImageBatch, low: ImageBatch | None, particles: torch.Tensor, step: Step
) -> torch.Tensor:
    """One step of all optimisers on a minibatch of B particles; returns their summed loss.

    `low` is what the encoder sees of them, if there is one. Raises RunFailedError for a loss that is no number.
    """
    model.zero_gradients()
    total = torch.zeros((), dtype=torch.float64, device=particles.device)
    for rows in torch.arange(len(particles), device=particles.device).split(step.part) if len(particles) else ():
        encoded = None if model.encoder is None or low is None else model.encoder(low.take(rows))
        loss, data_term = minibatch_loss(model, batch.take(rows), encoded, particles[rows], step)
        # Of posteriors that are no numbers no class takes part, and the loss is a constant.
        if not loss.requires_grad or not torch.isfinite(loss):
            raise RunFailedError(DIVERGED)
        (loss / step.n_particles).backward()
        total += data_term.detach()
    model.step(*summed_gradients(model, *model.stack.gradients(), step.parallel))
    return total


def summed_gradients(
    model: Model, gradients: torch.Tensor, present: torch.Tensor, parallel: Parallel
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients (K, P) of the fields, and which are present (K,), summed over processes; the encoder's in place."""
    if parallel.size > 1:
        together = parallel.sum(torch.cat([gradients, present[:, None].to(gradients)], 1))
        gradients, present = together[:, :-1], together[:, -1] > 0
    if model.encoder is not None:
        parallel.sum_gradients(model.encoder.parameters())
    return gradients, present


def minibatch_loss(
    model: Model, batch: ImageBatch, encoded: Encoded | None, particles: torch.Tensor, step: Step
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of B particles, summed, and the part of it that the images make."""
    s, tables = step.settings, model.tables
    weights = tables.posteriors[particles]
    columns: list[torch.Tensor] = []
    prior = particles.new_zeros((), dtype=torch.float32)
    for k, field in enumerate(model.fields):
        rows = (weights[:, k] > negligible(s, tables.classes)).nonzero()[:, 0]
        column = weights.new_full((len(particles),), torch.inf)
        if len(rows):
            rotations, shifts = tables.pose(particles[rows], k)
            if not step.poses_learned:
                rotations, shifts = rotations.detach(), shifts.detach()
            latents, cost = None, None
            if tables.latent_dims[k] and model.latents_on:
                latents, cost = draw_latents(model, encoded, particles, rows, k, step)
                prior = prior + (weights[rows, k] * cost).sum()
            column = column.index_put(
                (rows,),
                class_errors(
                    field, batch.take(rows).scaled(tables.contrasts[particles[rows], k]), rotations, shifts, latents
                ),
            )
        columns.append(column)
    amortised = encoded is not None and s.gating == "encoder"
    scores = encoded.scores if encoded is not None and amortised else tables.scores(particles)
    return loss_of_errors(model, torch.stack(columns, 1), prior, scores, particles, step)


def loss_of_errors(
    model: Model,
    errors: torch.Tensor,
    prior: torch.Tensor,
    scores: torch.Tensor,
    particles: torch.Tensor,
    step: Step,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of B particles, summed, and the part of it that the images make.

    errors (B, K) : infinite for classes that are left out. prior : what the latents' prior costs all of them.
    scores (B, K) : the encoder's, if it gives them, or the table's.
    """
    s, tables = step.settings, model.tables
    weights, amortised = tables.posteriors[particles], model.encoder is not None and s.gating == "encoder"
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
    """Latents (m, d_k) of the given rows of B particles in class k, and what the prior costs each (m,)."""
    tables = model.tables
    if encoded is not None and step.settings.conformations == "encoder":
        mean, log_sd = (part[rows] for part in encoded.latents[k])
        # The table keeps the last word, for rendering and output.
        tables.store_latents(particles[rows], k, mean, log_sd)
    else:
        mean, log_sd = tables.latent(particles[rows], k)
        if step.settings.newton:
            mean, log_sd = mean.detach(), log_sd.detach()
    noise = torch.randn(mean.shape, generator=step.noise).to(mean.device) if step.settings.variational else None
    return drawn(mean, log_sd, noise)


def drawn(mean: torch.Tensor, log_sd: torch.Tensor, noise: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (..., d), and what the prior costs each (...).

    Variational latents are drawn from their normal distribution, by noise (..., d); point latents, drawn by none, have
    a normal prior.
    """
    if noise is None:
        return mean, 0.5 * mean.square().sum(-1)
    return mean + log_sd.exp() * noise, divergence(mean, log_sd)
