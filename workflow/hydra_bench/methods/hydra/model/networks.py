"""The networks: a field, which is a map in the Hartley domain with conformations, and the encoder of images."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from hydra_bench.methods.hydra.data.images import ImageBatch


class Field(nn.Module):
    """V(k; z), the Hartley transform of a map at frequency k (cycles per box) in conformation z.

    Gaussian random Fourier features of k, a residual MLP, and one output scaled by the signal envelope,
    so that the network's own output is of order one at all resolutions. A feature cos(2π b·k) is the
    transform of a point at b boxes from the origin: `feature_sigma`, the standard deviation of b along
    each axis, is the size of the region in which density is expected.

    Source: paper, section 3; Tancik et al., NeurIPS 2020, for the features.
    """

    features: torch.Tensor
    envelope: torch.Tensor

    def __init__(
        self, n_features: int, width: int, depth: int, latent_dim: int, feature_sigma: float, envelope: torch.Tensor
    ) -> None:
        super().__init__()
        self.shape, self.latent_dim = (n_features, width, depth), latent_dim
        self.register_buffer("features", 2 * math.pi * feature_sigma * torch.randn(3, n_features))
        self.register_buffer("envelope", envelope.clone())
        self.first = nn.Linear(2 * n_features, width)
        self.latent = nn.Linear(latent_dim, width, bias=False) if latent_dim else None
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, 1)

    def forward(self, points: torch.Tensor, latents: torch.Tensor | None = None) -> torch.Tensor:
        """Values (B, n) at points (B, n, 3) for latents (B, d); no latents is the latent space's origin."""
        return self.at_latents(self.embedded(points), points, latents)

    def embedded(self, points: torch.Tensor) -> torch.Tensor:
        """What points (B, n, 3) give whatever the conformation: (B, n, width). Most of a field's work is here."""
        phase = points @ self.features
        embedded: torch.Tensor = self.first(torch.cat([phase.sin(), phase.cos()], -1))
        return embedded

    def at_latents(
        self, embedded: torch.Tensor, points: torch.Tensor, latents: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Values (B, n) of embedded points for latents (B, d); one embedding may serve several latents."""
        h = embedded
        if self.latent is not None and latents is not None:
            h = h + self.latent(latents)[:, None]
        h = torch.relu(h)
        for layer in self.hidden:
            h = torch.relu(layer(h) + h)
        values: torch.Tensor = self.last(h)[..., 0] * self._scale(points)
        return values

    def _scale(self, points: torch.Tensor) -> torch.Tensor:
        """The envelope at |k|, linear between integers."""
        radius: torch.Tensor = points.detach().norm(dim=-1).clamp(max=len(self.envelope) - 1)
        low = radius.floor().long().clamp(max=len(self.envelope) - 2)
        fraction = radius - low
        return (1 - fraction) * self.envelope[low] + fraction * self.envelope[low + 1]


@dataclass(frozen=True)
class Encoded:
    """For B images: scores (B, K), and for each class the mean and log standard deviation (B, d_k) of the latents."""

    scores: torch.Tensor
    latents: list[tuple[torch.Tensor, torch.Tensor]]


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
