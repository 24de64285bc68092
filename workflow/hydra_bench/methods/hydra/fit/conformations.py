"""Conformations of the particles: inferred by Newton steps, scaled to their prior, and a few to search poses in."""

import numpy as np
import torch

from hydra_bench.core.k_means import k_means
from hydra_bench.core.on_device import on_device
from hydra_bench.methods.hydra.data.images import ImageBatch, centred_images
from hydra_bench.methods.hydra.model.model import Model
from hydra_bench.methods.hydra.model.networks import Field
from hydra_bench.methods.hydra.model.tables import ParticleTables
from hydra_bench.methods.hydra.settings import Settings

_STEP = 0.3
"""Length, in standard deviations of the prior, of the differences by which a field's slope in its latents is taken:
longer than the kinks of a piecewise linear network, shorter than what a latent space tells apart."""
_LONGEST = 1.0
"""A Newton step's largest component, likewise: the slope says little about what is further away."""

_SAMPLE = 256
"""Particles that stand for a class; scikit-learn's k-means works on as many at a time, in one order of sums."""
_KNOWN = 0.25
"""Mean variance of the posteriors along a direction, in units of the prior's, below which conformations differ along
it. The latents of species that do not move are noise: poses searched in them would fit that, and so would classes."""


Latents = list[torch.Tensor | None]
"""Some latents (d_k,) of a class; [None] is the one conformation of a rigid class."""


@torch.no_grad()
def representatives(tables: ParticleTables, count: int, rng: np.random.Generator) -> list[Latents]:
    """Up to `count` latents (d_k,) of each class k: centres of k-means of its particles' latents, where known.

    The mean alone where that is all there is: in a class whose latents are not known, or that is too small to tell.
    Drawn anew at each call, so that borders between them move.
    """
    means = [tables.mean_latent(k) for k in range(tables.classes)]
    found: list[Latents] = [[mean] for mean in means]
    if count == 1 or all(mean is None for mean in means):
        return found
    device, largest = tables.rotations.device, max(tables.latent_dims)
    own = [np.flatnonzero(column) for column in (tables.posteriors > 0.5).cpu().numpy().T]
    own = [rng.choice(rows, min(len(rows), _SAMPLE), replace=False) for rows in own]
    drawn = on_device(torch.from_numpy(np.concatenate(own)), device).split([len(rows) for rows in own])
    # One copy to the host of all classes' latents, each class's mean behind its particles'.
    latents = []
    for k, (rows, mean) in enumerate(zip(drawn, means, strict=True)):
        if mean is not None:
            some = tables.latent_table(k).weight[rows].unflatten(1, (2, -1))
            some = torch.cat([some, torch.stack([mean, torch.zeros_like(mean)])[None]])
            latents.append(torch.nn.functional.pad(some, (0, largest - len(mean))))
    on_host = iter(torch.cat(latents).cpu().split([len(part) for part in latents]))
    for k, d in enumerate(tables.latent_dims):
        if not d:
            continue
        *_, (mean_of_class, _) = part = next(on_host)[:, :, :d]
        known = (2 * part[:-1, 1]).exp().mean(0) < _KNOWN
        distinct = torch.where(known, part[:-1, 0], mean_of_class).numpy()
        # Of too few different ones nothing was learned yet, or they are those of a small class.
        if len(np.unique(distinct, axis=0)) >= 4 * count:
            centres = k_means(distinct, count, seed=int(rng.integers(2**31)), starts=1).centres
            found[k] = list(on_device(torch.from_numpy(centres).to(part.dtype), device))
    return found


@torch.no_grad()
def nearest(
    tables: ParticleTables, particles: torch.Tensor, active: torch.Tensor, centres: list[Latents]
) -> list[list[torch.Tensor]]:
    """For each class and each of its centres the rows, on the device, of the particles (B,) that are nearest to it.

    By their latents in the class. active (B, K), bool and on the host : the particles that count in it.
    """
    rows = rows_of_classes(active, particles.device)
    found = [[some] for some in rows]
    several = [k for k, some in enumerate(centres) if len(some) > 1 and len(rows[k])]
    if not several:
        return found
    labels = []
    for k in several:
        of_class = torch.stack([centre for centre in centres[k] if centre is not None])
        labels.append(torch.cdist(tables.latent(particles[rows[k]], k)[0], of_class).argmin(1))
    on_host = torch.cat(labels).cpu().split([len(some) for some in labels])
    for k, label in zip(several, on_host, strict=True):
        sizes = torch.bincount(label, minlength=len(centres[k])).tolist()
        in_order = on_device(label.argsort(stable=True), particles.device)
        found[k] = list(rows[k][in_order].split(sizes))
    for k, some in enumerate(centres):
        if len(some) > 1 and k not in several:
            found[k] = [rows[k]] * len(some)
    return found


@torch.no_grad()
def infer_latents(
    model: Model,
    settings: Settings,
    batch: ImageBatch,
    particles: torch.Tensor,
    belongs: torch.Tensor,
    n_total: int,
    part: int,
) -> None:
    """One Newton step of the latents of B particles in every class that they may belong to, at their poses.

    `batch` holds a random part of the n_total frequencies, for all of which it stands. belongs (B, K), on the host :
    which classes they may belong to. `part` particles are worked on at a time.
    """
    tables = model.tables
    for k, (field, rows) in enumerate(zip(model.fields, rows_of_classes(belongs, particles.device), strict=True)):
        if not tables.latent_dims[k]:
            continue
        for some in rows.split(part):
            mean, _ = tables.latent(particles[some], k)
            rotations, shifts = tables.pose(particles[some], k)
            found = newton_step(
                field,
                batch.take(some).scaled(tables.contrasts[particles[some], k]),
                (rotations, shifts),
                mean,
                n_total,
                settings.latent_prior,
            )
            tables.store_latents(particles[some], k, *found)


def rows_of_classes(belongs: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, ...]:
    """The rows of belongs (B, K), bool and on the host, that belong to each class, on the device."""
    rows = on_device(belongs.T.nonzero()[:, 1], device)
    of_classes: tuple[torch.Tensor, ...] = rows.split(belongs.sum(0).tolist())
    return of_classes


def newton_step(
    field: Field,
    batch: ImageBatch,
    poses: tuple[torch.Tensor, torch.Tensor],
    latents: torch.Tensor,
    n_total: int,
    prior: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log standard deviation (B, d) of the latents' posterior, from where they are now (B, d).

    poses : rotations (B, 3, 3) and shifts (B, 2) in px. n_total : as in `infer_latents`. prior : weight of the prior.
    With the slope J = C ∂V/∂z and the residual r = Y(t) - C·V, sums over all frequencies, the posterior is normal with
    precision H = JᵀJ + λ where the field is linear in z, and its mean H⁻¹(Jᵀr - λz) further. Given deviations are
    those of the best normal distribution without correlations, H_jj^(-1/2).
    """
    rotations, shifts = poses
    points = batch.plane @ rotations
    embedded = field.embedded(points)
    here = field.at_latents(embedded, points, latents)
    steps = _STEP * torch.eye(latents.shape[1], device=latents.device)
    slope = torch.stack([field.at_latents(embedded, points, latents + step) - here for step in steps], 2) / _STEP
    slope = batch.ctf[:, :, None] * slope
    residual = centred_images(batch.hartley, shifts, batch.plane, batch.box_px) - batch.ctf * here
    scale = n_total / batch.plane.shape[0]
    precision = scale * slope.mT @ slope + prior * torch.eye(latents.shape[1], device=latents.device)
    force = scale * (slope.mT @ residual[:, :, None])[:, :, 0] - prior * latents
    move = torch.linalg.solve_ex(precision, force)[0]  # the prior keeps it positive: there is nothing to check
    return latents + move.clamp(-_LONGEST, _LONGEST), -0.5 * precision.diagonal(dim1=1, dim2=2).log()


@torch.no_grad()
def scale_latents(model: Model) -> None:
    """Bring each class's latents to the prior's scale: mean of μ² + σ² = 1 in every direction; no map changes.

    It is the scale at which their divergence from the prior is least. A direction that the images say nothing about
    comes to μ = 0, σ = 1 over the epochs by itself, as the field learns from latents that are noise.
    """
    tables = model.tables
    for k, field in enumerate(model.fields):
        own = tables.posteriors[:, k] > 0.5
        if field.latent is None or int(own.sum()) < 10:
            continue
        mean, log_sd = tables.latent_table(k).weight.chunk(2, 1)
        scale = (mean[own].square() + (2 * log_sd[own]).exp()).mean(0).sqrt().clamp(min=1e-3)
        mean /= scale
        log_sd -= scale.log()
        field.latent.weight *= scale
