"""The likelihood of the mixture: errors of the classes in, posteriors and loss out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from hydra_bench.methods.hydra.fit.parallel import Parallel


def softening_of(errors: torch.Tensor, sharpness: float, parallel: Parallel) -> float | None:
    """The softening T of the likelihood, from errors (B, K) = ½‖Y - Ŷ‖² of searched particles of every process.

    The paper's σ is a free parameter. Here it follows the data: the differences between classes, in units of
    their own standard deviation, are multiplied by `sharpness`. Soft posteriors at the start stall in
    states where two fields share two species; sharp ones from the first pass do not. None for too few particles.
    """
    differences = (errors - errors.mean(1, keepdim=True)).double()
    own = differences.new_full((), len(errors))
    count, squares = parallel.sum(torch.stack([own, differences.square().sum()])).tolist()  # waits for the device once
    if count < 8:
        return None
    spread: float = (squares / (count * errors.shape[1] - 1)) ** 0.5
    return max(spread, 1e-6) / sharpness


_LEAST_CONTRAST_SD, _MOST_CONTRAST_SD = 0.03, 0.5


@dataclass(frozen=True)
class Contrast:
    """The contrast a of an image, which multiplies what is predicted: normal, of mean 1 and a precision.

    With overlap o = ⟨C·Y, s⟩ and power p = ⟨C², s²⟩ the error is ½‖Y‖² - a o + ½ a² p, of which ½‖Y‖² is left out.
    precision : None for a contrast of 1.
    """

    precision: float | None

    @property
    def deviation(self) -> float:
        return 0.0 if self.precision is None else self.precision**-0.5

    def learned(self, contrasts: torch.Tensor, powers: torch.Tensor) -> Contrast:
        """The prior that is likelier, given the most likely contrasts (N,) of images and the powers (N,) predicted.

        A step of expectation maximisation: the mean of (a - 1)² under the posterior, whose precision is p + λ.
        """
        if self.precision is None:
            return self
        variance = (contrasts - 1).square() + 1 / (powers + self.precision)
        return Contrast(1 / min(max(float(variance.mean()), _LEAST_CONTRAST_SD**2), _MOST_CONTRAST_SD**2))

    @classmethod
    def of_precision(cls, precision: float | None) -> Contrast:
        return EVEN if precision is None else cls(precision)

    @classmethod
    def of_deviation(cls, deviation: float) -> Contrast:
        return cls(1 / deviation**2) if deviation else EVEN

    def error(self, overlap: torch.Tensor, half_power: torch.Tensor) -> torch.Tensor:
        """-log of the likelihood, contrasts of precision λ marginalised: ½ (λ - (o + λ)²/(p + λ) + log(1 + p/λ))."""
        if self.precision is None:
            return half_power - overlap
        known, power = self.precision, 2 * half_power
        return 0.5 * (known + torch.log1p(power / known) - (overlap + known).square() / (power + known))

    def most_likely(self, overlap: torch.Tensor, half_power: torch.Tensor) -> torch.Tensor:
        """(o + λ)/(p + λ), at least 0."""
        if self.precision is None:
            return torch.ones_like(overlap)
        return ((overlap + self.precision) / (2 * half_power + self.precision)).clamp(min=0)


EVEN = Contrast(None)
"""Images of one contrast."""


def posteriors(errors: torch.Tensor, softening: float, log_prior: torch.Tensor | None = None) -> torch.Tensor:
    """r_ik ∝ p_ik exp(-e_ik / T), (B, K), rows sum to 1."""
    logits = -errors / softening
    return torch.softmax(logits if log_prior is None else logits + log_prior, 1)


_ROUNDS = 200
"""Of Sinkhorn's iteration, each a sum over a chunk's particles; a fixed number, so that a GPU is not waited for."""


def balancing(logits: torch.Tensor, parallel: Parallel) -> torch.Tensor:
    """The log weights (K,) of classes with which the posteriors softmax(logits + weights) have equal shares.

    logits (B, K) are those of this process's particles; shares are over the particles of every process. This is the
    entropic optimal transport of particles to classes of equal size, by Sinkhorn's iteration (Cuturi, NeurIPS 2013).
    """
    weights = logits.new_zeros(logits.shape[1])  # also of no particle
    n = parallel.sum(logits.new_full((), len(logits)))
    for _ in range(_ROUNDS):
        held = parallel.sum(torch.softmax(logits + weights, 1).sum(0))
        # A class that nobody was searched in gains, too, and nobody has it all the same.
        weights = weights - (held.clamp(min=1e-30) * logits.shape[1] / n).log()
    return weights


def fading(number: int, passes: int) -> float:
    """How much classes are pulled to equal shares in a pass, from 1, whole, to 0 after `passes`; less from half on."""
    return min(1.0, max(0.0, 2 * (1 - number / passes))) if passes else 0.0


BY_CHANCE = 6.0
"""Nats that one of two fields of a species may have over the other at half of its images: of two searches one ends
better, and each field knows the noise of its own images. Measured: 2 to 3, and 10 to 40 where species differ
(docs/explanation/benchmarks.md)."""


def most_needed(
    errors: torch.Tensor,
    softening: float,
    n: int,
    by_chance: float = math.inf,
    of_none: torch.Tensor | None = None,
    only_by_chance: bool = False,
) -> list[int]:
    """The n classes to keep, rising, if the others must go: one at a time, that which the likelihood misses least.

    errors (N, K), infinite where a particle was not searched. A field that describes no species, or one that another
    describes as well, is missed by nobody, however many particles it holds; a small species' own field is. Halves of a
    common species, which half of their particles miss by no more than `by_chance`, go before a rare one's own field.
    of_none (N,) : the error of each particle as one of no class, where there may be such. only_by_chance : whether more
    than n stay if each is missed by most of its particles more than by chance.
    """
    finite = torch.where(errors.isfinite(), errors, errors.new_tensor(torch.nan))
    # Not searched is as bad as the worst that was.
    logits = -torch.nan_to_num(finite, nan=float(finite.nan_to_num(nan=-torch.inf).max())) / softening
    keep = list(range(errors.shape[1]))
    always: list[int] = []
    if of_none is not None:
        always = [len(keep)]
        logits = torch.cat([logits, -of_none[:, None] / softening], 1)
    while len(keep) > n:
        missed = [missed_by(logits[:, keep + always], position, by_chance) for position in range(len(keep))]
        least = min(missed)
        if only_by_chance and least[0]:
            break
        del keep[missed.index(least)]
    return keep


def missed_by(logits: torch.Tensor, k: int, by_chance: float) -> tuple[bool, float]:
    """How much class k of logits (N, K) is missed if it goes: by most of its particles more than by chance; in all."""
    others = [other for other in range(logits.shape[1]) if other != k]
    losses = torch.logsumexp(logits, 1) - torch.logsumexp(logits[:, others], 1)
    own = losses[logits.argmax(1) == k]
    return len(own) > 0 and float(own.median()) > by_chance, float(losses.sum())


def mixture_loss(errors: torch.Tensor, scores: torch.Tensor, softening: float) -> torch.Tensor:
    """-T mean_i log Σ_k softmax(s_i)_k exp(-e_ik / T); classes left out have infinite error.

    The factor T makes the gradient by e_ik the posterior r_ik itself, whatever the softening.
    Source: the paper's loss, with T = 2σ²n.
    """
    joint = torch.log_softmax(scores, 1) - errors / softening
    return -softening * torch.logsumexp(joint, 1).mean()
