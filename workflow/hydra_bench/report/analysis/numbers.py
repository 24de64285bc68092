"""What can be said of one run without a truth: how large and how sure its classes are, what its latents look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hydra_bench.contracts.analysis import ParticleAnalysis
from hydra_bench.contracts.reconstruction import Assignments, least_share
from hydra_bench.core.k_means import k_means
from hydra_bench.core.types import FloatArray, IntArray

SURE = 0.9
"""A particle whose own class is at least so probable is called sure."""


@dataclass(frozen=True)
class ClassSize:
    """Of class `number`, from 1: particles, their share of all, mean posterior, the share that is sure."""

    number: int
    particles: int
    share: float
    mean_posterior: float
    sure: float
    empty: bool


@dataclass(frozen=True)
class Cluster:
    """K-means cluster `number`, from 1 through all classes.

    latent (d,) : of the particle nearest to its centre.
    """

    number: int
    class_number: int
    particles: int
    latent: FloatArray


@dataclass(frozen=True)
class LatentSpace:
    """The latents of one class (n, d), of its members (n,).

    axes (d, d) : principal directions, one a row, each with its largest entry positive. shares (d,) of the variance.
    principal (n, d) : coordinates along them. clusters and labels (n,) : k-means clusters, in the order of their
    centres along the first direction, and each member's, from 0.
    """

    class_number: int
    members: IntArray
    latents: FloatArray
    axes: FloatArray
    shares: FloatArray
    principal: FloatArray
    clusters: tuple[Cluster, ...]
    labels: IntArray


def class_sizes(found: Assignments) -> list[ClassSize]:
    """One entry a class; of one without particles, posteriors are 0."""
    n, n_classes = found.posteriors.shape
    result = []
    for k in range(n_classes):
        own = found.posteriors[found.classes == k, k]
        mean, sure = (float(own.mean()), float((own >= SURE).mean())) if len(own) else (0.0, 0.0)
        result.append(ClassSize(k + 1, len(own), len(own) / n, mean, sure, len(own) < least_share(n_classes) * n))
    return result


def latent_spaces(found: Assignments, clusters: int, seed: int = 0) -> list[LatentSpace]:
    """The space of each class that has latents, with up to so many clusters; numbers of clusters go on from the last.

    A latent that is the same for all of a class is none of its own: classes may have fewer than others.
    """
    spaces: list[LatentSpace] = []
    first = 1
    for k in range(found.posteriors.shape[1]):
        members = np.flatnonzero(found.classes == k)
        latents = found.latents[members]
        latents = latents[:, : _used(latents)]
        if latents.shape[1] == 0 or len(members) < 2:
            continue
        space = _space(k + 1, members, latents, clusters, first, seed)
        spaces.append(space)
        first += len(space.clusters)
    return spaces


def particle_analysis(spaces: list[LatentSpace], n_particles: int) -> ParticleAnalysis:
    """Each particle's cluster and principal coordinates."""
    columns = max((space.principal.shape[1] for space in spaces), default=0)
    clusters, principal = np.zeros(n_particles, dtype=np.int64), np.zeros((n_particles, columns))
    for space in spaces:
        clusters[space.members] = space.labels + space.clusters[0].number
        principal[space.members, : space.principal.shape[1]] = space.principal
    return ParticleAnalysis(clusters, principal)


def _used(latents: FloatArray) -> int:
    """How many leading latents (n, d) differ between particles: those of a class of fewer dimensions end in zeros."""
    used = np.flatnonzero((latents != 0).any(0)) if len(latents) else np.zeros(0)
    return int(used[-1]) + 1 if len(used) else 0


def _space(number: int, members: IntArray, latents: FloatArray, most: int, first: int, seed: int) -> LatentSpace:
    centred = latents - latents.mean(0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    principal = centred @ axes.T
    made = k_means(latents, min(most, len(np.unique(latents, axis=0))), seed)
    order = np.argsort((made.centres - latents.mean(0)) @ axes[0])
    labels = np.argsort(order)[made.labels]
    nearest = ((latents[None] - made.centres[order][:, None]) ** 2).sum(2).argmin(1)
    clusters = tuple(
        Cluster(first + j, number, int((labels == j).sum()), latents[particle]) for j, particle in enumerate(nearest)
    )
    shares = spread**2 / max(float((spread**2).sum()), 1e-300)
    return LatentSpace(number, members, latents, axes, shares, principal, clusters, labels)
