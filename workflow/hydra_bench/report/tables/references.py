"""Where a score lies between what chance gives and what the images allow: 0 is chance, 1 the ceiling.

Both are runs of bounds on the same dataset: back-projection at true poses and classes in a mask of its own, and maps of
other species or noise, after the same alignment and in the same mask as every method. Species count alike. Of species
that move there is no such number: a map without any motion is nearer to the truth than the ceiling of one map is.
"""

import numpy as np

from hydra_bench.report.results import CEILING, CHANCE, EvaluatedRun


def normalised(runs: list[EvaluatedRun], group: list[EvaluatedRun]) -> float | None:
    """(score - chance) / (ceiling - chance) of one method's runs among all of its dataset; None without references."""
    if any(run.metrics.conformation is not None for run in group):
        return None
    ceiling, chance = (
        _per_species([run for run in group if run.ok and run.reference == name]) for name in (CEILING, CHANCE)
    )
    shares = [
        (np.mean(values) - max(chance[name])) / (max(ceiling[name]) - max(chance[name]))
        for name, values in _per_species(runs).items()
        if ceiling.get(name) and chance.get(name) and max(ceiling[name]) > max(chance[name])
    ]
    return float(np.mean(shares)) if shares else None


def _per_species(runs: list[EvaluatedRun]) -> dict[str, list[float]]:
    """The FSC-AUC of each species in each run."""
    found: dict[str, list[float]] = {}
    for entry in (entry for run in runs if run.metrics.fsc for entry in run.fsc.per_class):
        found.setdefault(entry.class_name, []).append(entry.auc_mean)
    return found
