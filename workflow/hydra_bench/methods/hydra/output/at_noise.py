"""Posteriors of classes, and of none of them, at the noise's own level, beside those that a run learns with.

What a run learns with is made sharp or soft so that fields form, and does not say how often it is right. Here Bayes'
rule is applied once, when all is learned: the likelihood of each image in each class, at its pose there and in its own
conformation, under Gaussian noise, times the classes' shares. The noise's power on each ring is what the fields leave
of the images; it, the shares and the posteriors are found together by expectation maximisation, from the run's own.

Junk is one more class, of signals without structure (fit/junk.py). What the fields leave measures how good they are: an
image is called junk where it is farther from every class than the images of a class are.
"""

from dataclasses import dataclass

import numpy as np
import torch

from hydra_bench.core.types import FloatArray
from hydra_bench.methods.hydra.data.images import centred_images
from hydra_bench.methods.hydra.fit.junk import of_a_signal, poses_tried
from hydra_bench.methods.hydra.fit.run_state import Run

_POINTS_TOGETHER, _ROUNDS = 50_000, 20
_LEAST_POWER, _LEAST_SHARE = 1e-12, 1e-9


@dataclass(frozen=True)
class AtNoise:
    """Posteriors at the noise's own level.

    classes (N, K) : of every class, given that it is one; None with one class. junk (N,) : of none of them, None where
    that was not asked for.
    """

    classes: FloatArray | None
    junk: FloatArray | None


@torch.no_grad()
def at_noise(run: Run) -> AtNoise:
    """Both, of every particle."""
    several, s = run.model.tables.classes > 1, run.settings
    if not several and not s.junk:
        return AtNoise(None, None)
    l = finest_searched(run)
    n = run.frequencies.count(l)
    left = left_unexplained(run, n)
    of_classes, of_none = expected(
        left.of_classes,
        run.source.rings[:n].bincount(),
        run.model.tables.posteriors,
        left.of_none + poses_tried(s, l) if s.junk else None,
        left.costs,
        run.source.noise_left,
    )
    return AtNoise(of_classes.cpu().numpy() if several else None, None if of_none is None else of_none.cpu().numpy())


def finest_searched(run: Run) -> int:
    """The finest l at which poses were found: beyond it a class may be unlike an image for its pose alone."""
    return max(epoch.l for epoch in run.schedule if epoch.phase in ("search", "refine"))


@dataclass(frozen=True)
class Left:
    """What classes leave of N images, and what is expected without them.

    of_classes (N, K, L) : Σ |C·V(Rᵀk; z) - Y(t)|² on each ring. costs (N, K) : -log of the prior of the contrasts that
    were taken. of_none (N,) : log of the density of an image of no class, but for factors of 2π.
    """

    of_classes: torch.Tensor
    costs: torch.Tensor
    of_none: torch.Tensor


def left_unexplained(run: Run, n: int) -> Left:
    """On the first n frequencies."""
    tables, rings, signal = run.model.tables, run.source.rings[:n], run.model.fields[0].envelope
    share = run.source.noise_left
    left = torch.zeros(tables.n, tables.classes, int(rings.max()) + 1, device=run.device)
    of_none = left.new_zeros(tables.n)
    for part in np.array_split(np.arange(tables.n), -(-tables.n * n // _POINTS_TOGETHER)):
        particles = run.tensor(part)
        batch = run.source.load(part, slice(None, n))
        of_noise = -0.5 * (batch.hartley.square().sum(1) + share * n * np.log(share))
        of_none[particles] = of_noise + of_a_signal(batch, signal[rings].square(), share)
        for k, field in enumerate(run.model.fields):
            rotations, shifts = tables.pose(particles, k)
            latents = tables.latent(particles, k)[0] if tables.latent_dims[k] else None
            seen = batch.scaled(tables.contrasts[particles, k])
            images = centred_images(seen.hartley, shifts, seen.plane, seen.box_px)
            misses = (seen.ctf * field(seen.plane @ rotations, latents) - images).square()
            left[particles, k] = left.new_zeros(len(part), left.shape[2]).index_add_(1, rings, misses)
    precision = run.contrast.precision or 0.0
    return Left(left, 0.5 * precision * (tables.contrasts - 1).square(), of_none)


def expected(
    left: torch.Tensor,
    counts: torch.Tensor,
    start: torch.Tensor,
    of_none: torch.Tensor | None = None,
    costs: torch.Tensor | None = None,
    share: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Posteriors (N, K) of the classes, given that it is one, and of none (N,) if `of_none` is given.

    They, the noise's power and the shares are found together by expectation maximisation.

    left (N, K, L), on rings of L counts; start (N, K) : the posteriors to start from; of_none, costs : as in `Left`.
    share : of the frequencies that tell something of their own; those of windowed images repeat each other.
    """
    there = counts > 0
    left, counts = left[..., there], counts[there]
    costs = left.new_zeros(left.shape[:2]) if costs is None else costs

    def logs_at(power: torch.Tensor) -> torch.Tensor:
        """Of the densities in every class, and in none, where the noise has this power (L,)."""
        misses = (left / power.float()).sum(2).double() + (counts * power.log()).sum()
        of_classes = -0.5 * share * misses - costs
        return of_classes if of_none is None else torch.cat([of_classes, of_none.double()[:, None]], 1)

    posteriors = start.double()
    if of_none is not None:
        # What is no better in any class than in none, as the noise was taken to be, counts half at first.
        first = torch.softmax(logs_at(torch.full_like(counts, share, dtype=torch.float64)), 1)[:, -1:]
        posteriors = torch.cat([posteriors * (1 - first / 2), first / 2], 1)
    for _ in range(_ROUNDS):
        of_classes = posteriors[:, : left.shape[1]]
        held = of_classes.sum().clamp(min=_LEAST_SHARE)
        power = torch.einsum("nk,nkl->l", of_classes.float(), left).double() / (held * counts)
        shares = posteriors.mean(0).clamp(min=_LEAST_SHARE)
        logs = logs_at(power.clamp(min=_LEAST_POWER)) + shares.log()
        posteriors = torch.softmax(logs, 1)
    # From the logs: what is junk beyond doubt has no share of a class that could be divided.
    return torch.softmax(logs[:, : left.shape[1]], 1), None if of_none is None else posteriors[:, -1]
