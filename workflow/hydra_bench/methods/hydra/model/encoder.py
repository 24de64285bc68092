"""Amortised inference: class scores and latents of a particle, computed from its image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from hydra_bench.methods.hydra.data.images import ImageBatch


@dataclass(frozen=True)
class Encoded:
    """For B images: scores (B, K), and for each class the mean and log standard deviation (B, d_k) of the latents."""

    scores: torch.Tensor
    latents: list[tuple[torch.Tensor, torch.Tensor]]

    def take(self, rows: torch.Tensor) -> Encoded:
        return Encoded(self.scores[rows], [(mean[rows], log_sd[rows]) for mean, log_sd in self.latents])


class Encoder(nn.Module):
    """A residual MLP on the phase-flipped Hartley coefficients of an image, |k| <= l_encoder.

    Its outputs start from zero: even scores, latents at the origin with deviation 1.
    """

    def __init__(self, n_inputs: int, latent_dims: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        self.n_inputs, self.latent_dims = n_inputs, latent_dims
        self.first = nn.Linear(n_inputs, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, len(latent_dims) + 2 * sum(latent_dims))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, batch: ImageBatch) -> Encoded:
        """From a batch whose first n_inputs frequencies are those of the disc |k| <= l_encoder."""
        flipped = batch.hartley[:, : self.n_inputs] * torch.sign(batch.ctf[:, : self.n_inputs])
        h = torch.relu(self.first(flipped / flipped.std(1, keepdim=True).clamp(min=1e-6)))
        for layer in self.hidden:
            h = torch.relu(layer(h) + h)
        scores, *latents = self.last(h).split([len(self.latent_dims), *(2 * d for d in self.latent_dims)], 1)
        return Encoded(scores, [tuple(part.chunk(2, 1)) for part in latents])
