"""What in a metrics file contradicts itself: lists of other lengths, numbers of species and labels that are none.

A file that came from elsewhere has every key of the right type, perhaps, and still says what cannot be; those who draw
it would fail on that, far from where it is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hydra_bench.contracts.metrics_file import MetricsFile
    from hydra_bench.contracts.scores import ClusteringScores, FscScores


def contradictions(metrics: MetricsFile) -> Iterator[str]:
    """What is wrong in the file of a run that ended well, each begun with its key."""
    names, clustering = metrics.class_names or [], metrics.clustering
    if clustering is None:
        return
    n_classes, n_labels, n_particles = len(names), clustering.n_labels, metrics.n_particles or 0
    if not names or len(set(names)) < n_classes:
        yield "class_names: species are expected, each once"
    for key, values, count in (
        ("labels", metrics.labels, n_labels),
        ("true_classes", metrics.true_classes, n_classes),
        ("own_labels", metrics.own_labels, None),
    ):
        if values is not None:
            yield from _list(key, values, n_particles, "n_particles")
            yield from _numbers(key, values, 0, None if count is None else count - 1)
    if metrics.latents is not None:
        yield from _list("latents.projection", metrics.latents.projection, n_particles, "n_particles")
        if any(not 1 <= len(point) <= 2 for point in metrics.latents.projection):
            yield "latents.projection: one or two coordinates a particle are expected"
    yield from _of_clustering(clustering, n_classes)
    if metrics.fsc is not None:
        yield from _of_fsc(metrics.fsc, n_particles, n_classes)
    named = [part.class_name for part in metrics.fsc.per_class] if metrics.fsc else []
    named += [part.class_name for part in metrics.pose.per_class] if metrics.pose else []
    named += [part.class_name for part in metrics.conformation.per_class] if metrics.conformation else []
    named += [part.class_name for part in metrics.alignments or []]
    for name in named:
        if name not in names:
            yield f"class_name: {name[:100]!r} is none of class_names"


def _of_clustering(clustering: ClusteringScores, n_classes: int) -> Iterator[str]:
    n_labels = clustering.n_labels
    for key in ("label_sizes", "matched_class", "majority_class"):
        yield from _list(f"clustering.{key}", getattr(clustering, key), n_labels, "n_labels")
    for key in ("matched_class", "majority_class"):
        known = [k for k in getattr(clustering, key) if k is not None]
        yield from _numbers(f"clustering.{key}", known, 0, n_classes - 1)
    yield from _numbers("clustering.label_sizes", clustering.label_sizes, 0)
    yield from _numbers("clustering.empty_labels", clustering.empty_labels, 1, n_labels)
    yield from _list("clustering.confusion", clustering.confusion, n_classes, "species")
    for row in clustering.confusion:
        yield from _list("clustering.confusion", row, n_labels, "n_labels")
        yield from _numbers("clustering.confusion", row, 0)
    if clustering.groups is not None:
        yield from _list("clustering.groups", clustering.groups, n_labels, "n_labels")
        for group in clustering.groups:
            yield from _numbers("clustering.groups.labels", [*group.labels, group.map_of], 1)


def _of_fsc(fsc: FscScores, n_particles: int, n_classes: int) -> Iterator[str]:
    for species in fsc.per_class:
        for curve in (species.curve_mean, species.curve_sd):
            yield from _list("fsc.per_class.curve", curve, len(fsc.frequency_per_A), "frequency_per_A")
    if any(frequency <= 0 for frequency in fsc.frequency_per_A):
        yield "fsc.frequency_per_A: numbers above 0 are expected"
    yield from _numbers("fsc.per_particle.particle", [p.particle for p in fsc.per_particle], 0, n_particles - 1)
    yield from _numbers("fsc.per_particle.true_class", [p.true_class for p in fsc.per_particle], 0, n_classes - 1)
    yield from _numbers("fsc.per_particle.label", [p.label for p in fsc.per_particle], 1)


def _list(key: str, values: Sequence[object], wanted: int, of: str) -> Iterator[str]:
    if len(values) != wanted:
        yield f"{key}: {len(values)} entries; as many as {of}, {wanted}, are expected"


def _numbers(key: str, values: Sequence[int], low: int, high: int | None = None) -> Iterator[str]:
    wrong = next((value for value in values if value < low or (high is not None and value > high)), None)
    if wrong is not None:
        yield f"{key}: {wrong} is not allowed; {low}{' or more' if high is None else f'..{high}'} is expected"
