"""What is kept of every particle, for every class."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hydra_bench.rotations import rotation_from_vector


class ParticleTables(nn.Module):
    """State of N particles in K classes.

    Found by search: rotations (N, K, 3, 3), shifts_px (N, K, 2), errors (N, K), and the posteriors (N, K)
    that follow. Learned by gradient: latents (N·K, 2d), the mean and log standard deviation of a normal
    distribution each; scores (N, K); and pose corrections (N·K, 5), a rotation vector in radians that turns
    the searched rotation and a shift in px that adds to the searched one. Row i·K + k of the flat tables is
    particle i in class k.
    """

    def __init__(self, n: int, classes: int, latent_dim: int) -> None:
        super().__init__()
        self.n, self.classes, self.latent_dim = n, classes, latent_dim
        self.register_buffer("rotations", torch.eye(3).repeat(n, classes, 1, 1))
        self.register_buffer("shifts_px", torch.zeros(n, classes, 2))
        self.register_buffer("errors", torch.zeros(n, classes))
        self.register_buffer("posteriors", torch.full((n, classes), 1.0 / classes))
        self.corrections = nn.Embedding(n * classes, 5, sparse=True)
        nn.init.zeros_(self.corrections.weight)
        self.scores = nn.Embedding(n, classes, sparse=True)
        nn.init.zeros_(self.scores.weight)
        self.latents = nn.Embedding(n * classes, 2 * max(latent_dim, 1), sparse=True)
        nn.init.zeros_(self.latents.weight)

    def rows(self, particles: torch.Tensor, k: int) -> torch.Tensor:
        return particles * self.classes + k

    def pose(self, particles: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotations (B, 3, 3) and shifts (B, 2) in px of particles in class k, corrections applied."""
        correction = self.corrections(self.rows(particles, k))
        rotations = rotation_from_vector(correction[:, :3]) @ self.rotations[particles, k]
        return rotations, self.shifts_px[particles, k] + correction[:, 3:]

    def latent(self, particles: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log standard deviation (B, d) each of the latents of particles in class k."""
        mean, log_sd = self.latents(self.rows(particles, k)).chunk(2, 1)
        return mean, log_sd

    @torch.no_grad()
    def store_poses(
        self, particles: torch.Tensor, k: int, rotations: torch.Tensor, shifts: torch.Tensor, errors: torch.Tensor
    ) -> None:
        """Keep what a search found for particles (B,) in class k; corrections start again from zero."""
        self.rotations[particles, k], self.shifts_px[particles, k] = rotations, shifts
        self.errors[particles, k] = errors
        self.corrections.weight[self.rows(particles, k)] = 0

    @torch.no_grad()
    def mean_latent(self, k: int) -> torch.Tensor | None:
        """The posterior-weighted mean latent (d,) of class k."""
        if not self.latent_dim:
            return None
        weights = self.posteriors[:, k : k + 1]
        z = self.latents.weight.view(self.n, self.classes, -1)[:, k, : self.latent_dim]
        return (weights * z).sum(0) / weights.sum().clamp(min=1e-6)

    @torch.no_grad()
    def of_classes(self, keep: list[int]) -> ParticleTables:
        """New tables of the classes `keep` only, posteriors scaled to sum to 1; nothing learned yet is kept."""
        kept = ParticleTables(self.n, len(keep), self.latent_dim).to(self.rotations.device)
        for name in ("rotations", "shifts_px", "errors", "posteriors"):
            getattr(kept, name).copy_(getattr(self, name)[:, keep])
        # A particle of dropped classes alone is open to all that stay.
        kept.posteriors += 1e-6
        kept.posteriors /= kept.posteriors.sum(1, keepdim=True)
        return kept

    def hard_classes(self) -> np.ndarray:
        """The most probable class of each particle (N,), 0-based."""
        return self.posteriors.argmax(1).cpu().numpy()

    def class_sizes(self) -> list[int]:
        return np.bincount(self.hard_classes(), minlength=self.classes).tolist()
