"""What is kept of every particle, for every class."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hydra_bench.core.types import IntArray
from hydra_bench.physics.rotations import rotation_from_vector

FOUND = ("rotations", "shifts_px", "errors", "contrasts", "powers", "posteriors")
"""The tables that the search fills, by name."""


class ParticleTables(nn.Module):
    """State of N particles in K classes.

    Found by search: rotations (N, K, 3, 3), shifts_px (N, K, 2), errors (N, K), and the posteriors (N, K)
    that follow. Learned by gradient: for each class latents (N, 2 d_k), the mean and log standard deviation of a
    normal distribution; scores (N, K); and pose corrections (N·K, 5), a rotation vector in radians that turns
    the searched rotation and a shift in px that adds to the searched one. Row i·K + k of the flat table is
    particle i in class k.
    """

    rotations: torch.Tensor
    shifts_px: torch.Tensor
    errors: torch.Tensor
    contrasts: torch.Tensor
    powers: torch.Tensor
    posteriors: torch.Tensor

    def __init__(self, n: int, latent_dims: tuple[int, ...]) -> None:
        super().__init__()
        self.n, self.classes, self.latent_dims = n, len(latent_dims), latent_dims
        K = self.classes
        self.register_buffer("rotations", torch.eye(3).repeat(n, K, 1, 1))
        self.register_buffer("shifts_px", torch.zeros(n, K, 2))
        self.register_buffer("errors", torch.zeros(n, K))
        self.register_buffer("contrasts", torch.ones(n, K))
        self.register_buffer("powers", torch.zeros(n, K))
        self.register_buffer("posteriors", torch.full((n, K), 1.0 / K))
        self.corrections = _zeros(n * K, 5)
        self.scores = _zeros(n, K)
        self.latents = nn.ModuleList(_zeros(n, 2 * d) for d in latent_dims)

    def rows(self, particles: torch.Tensor, k: int | torch.Tensor) -> torch.Tensor:
        return particles * self.classes + k

    def pose(self, particles: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotations (B, 3, 3) and shifts (B, 2) in px of particles in class k, corrections applied."""
        return self.corrected(self.corrections(self.rows(particles, k)), particles, k)

    def corrected(
        self, corrections: torch.Tensor, particles: torch.Tensor, k: int | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotations (..., 3, 3) and shifts (..., 2) of particles (...) in classes k, with corrections (..., 5)."""
        rotations = rotation_from_vector(corrections[..., :3]) @ self.rotations[particles, k]
        return rotations, self.shifts_px[particles, k] + corrections[..., 3:]

    def latent(self, particles: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log standard deviation (B, d_k) each of the latents of particles in class k."""
        mean, log_sd = self.latent_table(k)(particles).chunk(2, 1)
        return mean, log_sd

    def latent_table(self, k: int) -> nn.Embedding:
        table = self.latents[k]
        assert isinstance(table, nn.Embedding)
        return table

    @torch.no_grad()
    def store_latents(self, particles: torch.Tensor, k: int, mean: torch.Tensor, log_sd: torch.Tensor) -> None:
        """Keep latents of particles (B,) in class k, mean and log standard deviation (B, d_k) each."""
        self.latent_table(k).weight[particles] = torch.cat([mean, log_sd], 1)

    @torch.no_grad()
    def store_poses(
        self,
        particles: torch.Tensor,
        k: int,
        rotations: torch.Tensor,
        shifts: torch.Tensor,
        errors: torch.Tensor,
        contrasts: torch.Tensor,
        powers: torch.Tensor,
    ) -> None:
        """Keep what a search found for particles (B,) in class k; corrections start again from zero."""
        self.rotations[particles, k], self.shifts_px[particles, k] = rotations, shifts
        self.errors[particles, k], self.powers[particles, k] = errors, powers
        self.contrasts[particles, k] = contrasts
        self.corrections.weight[self.rows(particles, k)] = 0

    @torch.no_grad()
    def begin_at(self, rotations: torch.Tensor, shifts_px: torch.Tensor, classes: torch.Tensor | None = None) -> None:
        """Put all particles at poses, rotations (N, 3, 3) and shifts (N, 2), in every class; and into classes (N,).

        Classes are certain, from 0; -1 leaves a particle's class open.
        """
        self.rotations[:], self.shifts_px[:] = rotations[:, None], shifts_px[:, None]
        if classes is not None:
            certain = nn.functional.one_hot(classes.clamp(min=0), self.classes).to(self.posteriors.dtype)
            self.posteriors[:] = torch.where(classes[:, None] < 0, 1.0 / self.classes, certain)

    @torch.no_grad()
    def mean_latent(self, k: int) -> torch.Tensor | None:
        """The posterior-weighted mean latent (d_k,) of class k; None for a rigid class."""
        if not self.latent_dims[k]:
            return None
        weights = self.posteriors[:, k : k + 1]
        means = self.latent_table(k).weight[:, : self.latent_dims[k]]
        return (weights * means).sum(0) / weights.sum().clamp(min=1e-6)

    @torch.no_grad()
    def of_classes(self, keep: list[int]) -> ParticleTables:
        """New tables of the classes `keep` only, posteriors scaled to sum to 1; nothing learned yet is kept."""
        dims = tuple(self.latent_dims[k] for k in keep)
        kept = ParticleTables(self.n, dims).to(self.rotations.device)
        for name in FOUND:
            getattr(kept, name).copy_(getattr(self, name)[:, keep])
        # A particle of dropped classes alone is open to all that stay.
        kept.posteriors += 1e-6
        kept.posteriors /= kept.posteriors.sum(1, keepdim=True)
        return kept

    def hard_classes(self) -> IntArray:
        """The most probable class of each particle (N,), 0-based."""
        classes: IntArray = self.posteriors.argmax(1).cpu().numpy()
        return classes

    def class_sizes(self) -> list[int]:
        sizes: list[int] = np.bincount(self.hard_classes(), minlength=self.classes).tolist()
        return sizes


def _zeros(rows: int, columns: int) -> nn.Embedding:
    """A table that starts from zero, whose gradients are sparse: a step costs its minibatch, not all particles."""
    table = nn.Embedding(rows, columns, sparse=True)
    nn.init.zeros_(table.weight)
    return table
