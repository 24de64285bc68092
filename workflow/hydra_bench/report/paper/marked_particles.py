"""Particles along the latent space of a class, each with its own map, aligned to the truth."""

from dataclasses import dataclass

import numpy as np

from hydra_bench.contracts.reconstruction import sample_path
from hydra_bench.core.mrc import read_map
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.maps.alignment import Alignment, apply
from hydra_bench.metrics.conformation import principal_axes
from hydra_bench.physics.rotations import matrices_from_euler
from hydra_bench.report.results import EvaluatedRun

MOST_MARKED = 3


@dataclass(frozen=True)
class MarkedParticle:
    """A particle by its index: its two drawn latents, and its map (D, D, D), aligned to the truth."""

    particle: int
    latents: tuple[float, float]
    volume: FloatArray


def marked_particles(run: EvaluatedRun, label: int, coordinate: FloatArray | None = None) -> list[MarkedParticle]:
    """Evaluated particles of a label, from one end of its latents to the other; none where they have no maps.

    Along the direction in which the true coordinate (N,) changes most, or else along the main axis.
    """
    aligned = alignment(run, label)
    members = members_of(run, label)
    evaluated = [p.particle for p in (run.fsc.per_particle if run.metrics.fsc else []) if p.label == label]
    with_map = [i for i in evaluated if i in members and sample_path(run.places.reconstruction, i).is_file()]
    if aligned is None or not with_map:
        return []
    points = np.array(run.latents.projection)
    along = _along(points[members], None if coordinate is None else coordinate[members])
    position = dict(zip(members, along, strict=True))
    ordered = sorted(with_map, key=lambda i: position[i])
    chosen = dict.fromkeys(ordered[round(share * (len(ordered) - 1))] for share in np.linspace(0, 1, MOST_MARKED))
    return [
        MarkedParticle(i, tuple(points[i]), apply(read_map(sample_path(run.places.reconstruction, i))[0], aligned))
        for i in chosen
    ]


def members_of(run: EvaluatedRun, label: int) -> IntArray:
    """Indices of the particles of a label (1-based); where labels are joined, of the largest, for one latent space."""
    return np.flatnonzero(np.array(run.own_labels) == run.own_label(label) - 1)


def _along(points: FloatArray, coordinate: FloatArray | None) -> FloatArray:
    """How far latents (M, 2) lie along one direction, (M,)."""
    if coordinate is None or not np.isfinite(coordinate).all() or np.ptp(coordinate) == 0:
        along: FloatArray = principal_axes(points, 1)[:, 0]
    else:
        centred = points - points.mean(0)
        along = centred @ np.linalg.lstsq(centred, coordinate - coordinate.mean(), rcond=None)[0]
    return along


def alignment(run: EvaluatedRun, label: int, own_label: int | None = None) -> Alignment | None:
    """How the map of a label (1-based) moves onto its species'; of one that is joined to it, if that is named."""
    species = run.clustering.species_of(label)
    if species is None:
        return None
    pair = (own_label or run.own_label(label), run.class_names[species])
    for entry in run.metrics.alignments or []:
        if (entry.label, entry.class_name) == pair:
            rotation = matrices_from_euler(np.array([entry.angles_deg]))[0]
            shift = np.array(entry.shift_A) / run.pixel_size_A
            return Alignment(rotation, shift, entry.mirrored, entry.correlation)
    return None
