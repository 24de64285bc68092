"""Posteriors of classes at the noise's own level, beside those that a run learns with.

What a run learns with is made sharp or soft so that fields form, and does not say how often it is right. Here Bayes'
rule is applied once, when all is learned: the likelihood of each image in each class, at its pose there and in its own
conformation, under Gaussian noise, times the classes' shares. The noise's power on each ring is what the fields leave
of the images; it, the shares and the posteriors are found together by expectation maximisation, from the run's own.
"""

import numpy as np
import torch

from hydra_bench.core.types import FloatArray
from hydra_bench.methods.hydra.data.images import centred_images
from hydra_bench.methods.hydra.fit.run_state import Run

_POINTS_TOGETHER, _ROUNDS = 50_000, 20
_LEAST_POWER, _LEAST_SHARE = 1e-12, 1e-9


@torch.no_grad()
def posteriors_at_noise(run: Run) -> FloatArray | None:
    """Posteriors (N, K) of every class; None with one class."""
    if run.model.tables.classes == 1:
        return None
    n = run.frequencies.count(finest_searched(run))
    found: FloatArray = expected(
        left_unexplained(run, n), run.source.rings[:n].bincount(), run.model.tables.posteriors
    ).cpu().numpy()  # fmt: skip
    return found


def finest_searched(run: Run) -> int:
    """The finest l at which poses were found: beyond it a class may be unlike an image for its pose alone."""
    return max(epoch.l for epoch in run.schedule if epoch.phase in ("search", "refine"))


def left_unexplained(run: Run, n: int) -> torch.Tensor:
    """Σ |C·V(Rᵀk; z) - Y(t)|² of each image in each class on each ring of the first n frequencies, (N, K, L)."""
    tables, rings = run.model.tables, run.source.rings[:n]
    left = torch.zeros(tables.n, tables.classes, int(rings.max()) + 1, device=run.device)
    for part in np.array_split(np.arange(tables.n), -(-tables.n * n // _POINTS_TOGETHER)):
        particles = run.tensor(part)
        batch = run.source.load(part, slice(None, n))
        for k, field in enumerate(run.model.fields):
            rotations, shifts = tables.pose(particles, k)
            latents = tables.latent(particles, k)[0] if tables.latent_dims[k] else None
            seen = batch.scaled(tables.contrasts[particles, k])
            images = centred_images(seen.hartley, shifts, seen.plane, seen.box_px)
            misses = (seen.ctf * field(seen.plane @ rotations, latents) - images).square()
            left[particles, k] = left.new_zeros(len(part), left.shape[2]).index_add_(1, rings, misses)
    return left


def expected(left: torch.Tensor, counts: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Posteriors (N, K) by expectation maximisation from (N, K), given what is left (N, K, L) on rings of L counts."""
    posteriors, there = start.double(), counts > 0
    left, counts = left[..., there], counts[there]
    for _ in range(_ROUNDS):
        power = torch.einsum("nk,nkl->l", posteriors.float(), left).double() / (len(left) * counts)
        shares = posteriors.mean(0).clamp(min=_LEAST_SHARE)
        errors = 0.5 * (left / power.clamp(min=_LEAST_POWER).float()).sum(2).double()
        posteriors = torch.softmax(shares.log() - errors, 1)
    return posteriors
