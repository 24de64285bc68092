"""The networks: a field, which is a map in the Hartley domain with conformations, and the encoder of images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hydra_bench.methods.hydra.data.images import ImageBatch
from hydra_bench.methods.hydra.model.precision import product


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
        values: torch.Tensor = self.last(h)[..., 0] * envelope_at(self.envelope, points)
        return values


class FieldStack:
    """The weights of K fields of one shape in one array, so that a GPU works on all fields at once.

    weights (K, P); a row is a field's weights one after the other, those of its latents last, and padded with zeros
    where another field has more latent dimensions. The fields' own parameters become views of the rows.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields, self.latent_dim = list(fields), max(field.latent_dim for field in fields)
        shapes = [tuple(p.shape) for name, p in fields[0].named_parameters() if not name.startswith("latent")]
        self._shapes = [*shapes, (fields[0].shape[1], self.latent_dim)]
        self.weights = fields[0].envelope.new_zeros(len(fields), sum(map(math.prod, self._shapes)))
        for field, row in zip(fields, self.weights, strict=True):
            for name, part in self._own(field, row):
                part.copy_(field.get_parameter(name).detach())
                module, _, leaf = name.rpartition(".")
                setattr(field.get_submodule(module), leaf, nn.Parameter(part))
        self.features = torch.stack([field.features for field in fields])
        self.envelope = fields[0].envelope

    def _split(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """Rows (..., P) as parameters (..., *shape)."""
        parts = rows.split([math.prod(shape) for shape in self._shapes], -1)
        return [part.unflatten(-1, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def _own(self, field: Field, row: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
        """The names of a field's parameters, and the parts of its row (P,) that are theirs."""
        *parts, latent = self._split(row)
        names = [name for name, _ in field.named_parameters() if not name.startswith("latent")]
        own = list(zip(names, parts, strict=True))
        return own if field.latent is None else [*own, ("latent.weight", latent[:, : field.latent_dim])]

    def gradients(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the fields' parameters have as gradients (K, P), zero where they have none, and which have (K,) bool."""
        there = [field.last.weight.grad is not None for field in self.fields]
        found = torch.zeros_like(self.weights)
        for row, field in zip(found, self.fields, strict=True):
            for name, part in self._own(field, row):
                gradient = field.get_parameter(name).grad
                if gradient is not None:
                    part.copy_(gradient)
        return found, torch.tensor(there, device=found.device)

    def values(self, weights: torch.Tensor, points: torch.Tensor, latents: torch.Tensor | None) -> torch.Tensor:
        """Values (K, B, n) of all fields with the given weights (K, P) at points (K, B, n, 3), latents (K, B, d).

        As Field.forward of each; its layers may be made in a GPU's reduced precision, the features' phases may not.
        """
        K, B, n, _ = points.shape
        first, first_bias, *rest, last, last_bias, latent = self._split(weights)
        phase = points.reshape(K, B * n, 3) @ self.features
        h = product(torch.cat([phase.sin(), phase.cos()], -1), first.mT) + first_bias[:, None]
        if latents is not None:
            h = (h.view(K, B, n, -1) + product(latents, latent.mT)[:, :, None]).view(K, B * n, -1)
        h = torch.relu(h)
        for weight, bias in zip(rest[::2], rest[1::2], strict=True):
            h = torch.relu(product(h, weight.mT) + bias[:, None] + h)
        values = (product(h, last.mT) + last_bias[:, None]).view(K, B, n)
        return values * envelope_at(self.envelope, points)


def envelope_at(envelope: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """The envelope (l + 1,) at |k| of points (..., 3), linear between integers."""
    radius: torch.Tensor = points.detach().norm(dim=-1).clamp(max=len(envelope) - 1)
    low = radius.floor().long().clamp(max=len(envelope) - 2)
    fraction = radius - low
    return (1 - fraction) * envelope[low] + fraction * envelope[low + 1]


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
