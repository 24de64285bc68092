"""Gradient steps: fields, latents and, in auto-decoding, poses and class scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hydra_bench.hydra.field import Field
from hydra_bench.hydra.frequencies import Frequencies, shift_phases
from hydra_bench.hydra.images import ImageBatch
from hydra_bench.hydra.mixture import mixture_loss
from hydra_bench.hydra.settings import Settings
from hydra_bench.hydra.tables import ParticleTables


@dataclass
class Model:
    """K fields, the particle tables, and their optimisers."""

    fields: nn.ModuleList
    tables: ParticleTables
    field_optimiser: torch.optim.Optimizer
    table_optimisers: list[torch.optim.Optimizer]
    latents_on: bool = False

    @classmethod
    def create(cls, settings: Settings, n: int, envelope: torch.Tensor, device: torch.device) -> Model:
        """Fields and tables as the search starts with."""
        s = settings
        fields = nn.ModuleList(
            Field(s.features, s.width, s.depth, s.latent_dim, s.feature_sigma, envelope)
            for _ in range(s.fields_at_start)
        ).to(device)
        return cls.of(fields, ParticleTables(n, s.fields_at_start, s.latent_dim).to(device), s)

    @classmethod
    def of(cls, fields: nn.ModuleList, tables: ParticleTables, settings: Settings) -> Model:
        """A model of given fields and tables, with new optimisers."""
        s = settings
        rates = [
            (tables.latents, s.latent_learning_rate),
            (tables.scores, s.score_learning_rate),
            (tables.corrections, s.pose_learning_rate),
        ]
        sparse = [torch.optim.SparseAdam(table.parameters(), lr=rate) for table, rate in rates]
        return cls(fields, tables, torch.optim.Adam(fields.parameters(), lr=s.learning_rate), sparse)

    def largest_classes(self, n: int) -> list[int]:
        """The n classes that hold the most particles, in their order."""
        return self.tables.posteriors.sum(0).topk(n).indices.sort().values.tolist()

    def of_classes(self, keep: list[int], settings: Settings) -> Model:
        """A model of the given classes only."""
        fields = nn.ModuleList(self.fields[k] for k in keep)
        return Model.of(fields, self.tables.of_classes(keep), settings)

    def set_learning_rate(self, rate: float) -> None:
        for group in self.field_optimiser.param_groups:
            group["lr"] = rate


def class_errors(
    field: Field,
    batch: ImageBatch,
    frequencies: Frequencies,
    subset: torch.Tensor,
    rotations: torch.Tensor,
    shifts: torch.Tensor,
    latents: torch.Tensor | None,
) -> torch.Tensor:
    """½ mean over the subset (m,) of |C·V(Rᵀk; z) - Y(t)|² for B particles: (B,)."""
    plane = frequencies.plane[subset]
    predicted = batch.ctf[:, subset] * field(plane @ rotations, latents)
    phase = shift_phases(shifts, plane, frequencies.box_px)
    y, negative = batch.hartley[:, subset], batch.hartley[:, subset ^ 1]
    return 0.5 * (predicted - torch.cos(phase) * y + torch.sin(phase) * negative).square().mean(1)


def divergence(mean: torch.Tensor, log_sd: torch.Tensor) -> torch.Tensor:
    """KL divergence (B,) of normal latents (B, d) from the standard normal prior."""
    return 0.5 * (mean.square() + (2 * log_sd).exp() - 1 - 2 * log_sd).sum(1)


def learning_step(
    model: Model,
    batch: ImageBatch,
    particles: torch.Tensor,
    frequencies: Frequencies,
    settings: Settings,
    softening: float | None,
    generator: torch.Generator,
) -> float:
    """One step of all optimisers on a minibatch of B particles; returns the loss.

    With a softening, poses and class scores are learned too (auto-decoding); without one, the posteriors that the
    search left are held fixed.
    """
    n, tables = batch.hartley.shape[1], model.tables
    subset = torch.randperm(n, generator=generator)[: settings.frequencies_per_step].to(particles.device)
    weights = tables.posteriors[particles]
    # With very many classes even an even share is small; some class must always be left.
    negligible = min(settings.negligible, 0.5 / tables.classes)
    columns, prior = [], particles.new_zeros((), dtype=torch.float32)
    for k, field in enumerate(model.fields):
        rows = (weights[:, k] > negligible).nonzero()[:, 0]
        column = weights.new_full((len(particles),), torch.inf)
        if len(rows):
            members = particles[rows]
            rotations, shifts = tables.pose(members, k)
            if softening is None:
                rotations, shifts = rotations.detach(), shifts.detach()
            latents = None
            if tables.latent_dim and model.latents_on:
                mean, log_sd = tables.latent(members, k)
                latents = mean + log_sd.exp() * torch.randn(mean.shape, generator=generator).to(mean.device)
                prior = prior + (weights[rows, k] * divergence(mean, log_sd)).sum() / len(particles)
            errors = class_errors(field, batch.take(rows), frequencies, subset, rotations, shifts, latents)
            column = column.index_put((rows,), errors)
        columns.append(column)
    errors = torch.stack(columns, 1)
    if softening is None:
        data_term = torch.where(errors.isfinite(), weights * errors, 0.0).sum(1).mean()
    else:
        data_term = mixture_loss(errors, tables.scores(particles), softening / n)
    loss = data_term + (settings.latent_prior / n) * prior
    model.field_optimiser.zero_grad()
    for optimiser in model.table_optimisers:
        optimiser.zero_grad()
    loss.backward()
    model.field_optimiser.step()
    for optimiser in model.table_optimisers:
        if any(p.grad is not None for group in optimiser.param_groups for p in group["params"]):
            optimiser.step()
    return float(data_term.detach())
