"""How sure a number of Table 1 is, and which of two methods is better: intervals, and paired differences.

With several runs of a method (seeds, and draws of the images where there are several) the interval is Student's, over
runs: it speaks of new images and seeds. Of one run it is that of the metrics file, over particles: it speaks of these
maps and this sorting, and of particles like these.

Two methods are compared on the same images: run by run where both have several in common, else particle by particle.
They are told apart where the interval of the difference does not hold 0.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from hydra_bench.contracts.measures import Measure
from hydra_bench.contracts.metrics_file import ARI, FSC_AUC, MACRO_F1
from hydra_bench.metrics.resamples import LEVEL, ari_of_cells, macro_f1_of_cells, of_difference, of_means
from hydra_bench.report.results import EvaluatedRun

RUNS, PARTICLES = "new images and seeds", "these runs' particles"
"""What an interval speaks of."""


@dataclass(frozen=True)
class Range:
    """A 95 % interval, and what it speaks of: RUNS or PARTICLES."""

    low: float
    high: float
    target: str


def over_runs(values: list[float]) -> Range:
    """Student's interval of the mean of two or more values, one a run."""
    half = float(student.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    mean = float(np.mean(values))
    return Range(mean - half, mean + half, RUNS)


def interval(measure: Measure, runs: list[EvaluatedRun]) -> Range | None:
    """Of a measure of one method; None where no run has it, or one run has it without an interval."""
    values = [(run, value) for run in runs if (value := measure.of(run.metrics)) is not None]
    if len(values) > 1:
        return over_runs([value for _, value in values])
    if not values:
        return None
    metrics = values[0][0].metrics
    found = None
    if measure == ARI and metrics.clustering is not None:
        found = metrics.clustering.ari_interval
    elif measure == FSC_AUC and metrics.fsc is not None:
        found = metrics.fsc.auc_interval
    return None if found is None else Range(found.low, found.high, PARTICLES)


def told_apart(measure: Measure, first: list[EvaluatedRun], second: list[EvaluatedRun]) -> bool:
    """Whether two methods' runs on the same images differ in a measure by more than their paired difference may be."""
    others = {run.key: run for run in second if measure.of(run.metrics) is not None}
    pairs = [(run, others[run.key]) for run in first if run.key in others and measure.of(run.metrics) is not None]
    if not pairs:
        return False
    if len(pairs) == 1:
        return _apart_on_particles(measure, *pairs[0])
    differences = [(measure.of(a.metrics) or 0.0) - (measure.of(b.metrics) or 0.0) for a, b in pairs]
    found = over_runs(differences)
    return not found.low <= 0 <= found.high


def _apart_on_particles(measure: Measure, first: EvaluatedRun, second: EvaluatedRun) -> bool:
    """The same of one run each, by particles; False for what particles have no part in, and for other particles."""
    if measure in (ARI, MACRO_F1):
        known = first.clustering.per_species and second.clustering.per_species
        if not known or first.true_classes != second.true_classes:
            return False
        scores = [ari_of_cells if measure == ARI else macro_f1_of_cells(_label_of(run)) for run in (first, second)]
        labels = [np.array(run.labels) for run in (first, second)]
        found = of_difference(np.array(first.true_classes), labels[0], labels[1], (scores[0], scores[1]))
    elif measure.over == "images":
        values = [dict(zip(_evaluated(run), measure.of_images(run.metrics), strict=True)) for run in (first, second)]
        common = sorted(set(values[0]) & set(values[1]))
        if not common:
            return False
        differences = np.array([values[0][i] - values[1][i] for i in common])
        found = of_means(differences, np.array(first.true_classes)[common])
    else:
        return False
    return not found.low <= 0 <= found.high


def _label_of(run: EvaluatedRun) -> list[int | None]:
    """The label, from 0, of each species."""
    species = run.clustering.per_species or []
    return [None if entry.label is None else entry.label - 1 for entry in species]


def _evaluated(run: EvaluatedRun) -> list[int]:
    return [entry.particle for entry in run.fsc.per_particle]
