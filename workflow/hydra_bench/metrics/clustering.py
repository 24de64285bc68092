"""How well predicted labels tell the species apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from hydra_bench.contracts.reconstruction import IS_JUNK, Assignments, least_share
from hydra_bench.contracts.scores import ClusteringScores, Group, JunkScores, SpeciesRecovery
from hydra_bench.core.errors import InputError
from hydra_bench.core.k_means import k_means
from hydra_bench.metrics.resamples import of_confusion


@dataclass(frozen=True)
class Labels:
    """Predicted labels (N,), 0-based; how many there may be; where they come from.

    centres (n_labels, d) in the latent space, only of labels that k-means made; groups, one a label, only where the
    labels are joined from others.
    """

    labels: np.ndarray
    n_labels: int
    source: str
    centres: np.ndarray | None = None
    groups: list[Group] | None = None

    def group(self, label: int) -> Group:
        """What a label is joined from: itself, if nothing is joined."""
        own = label + 1
        return Group(name="", labels=[own], map_of=own) if self.groups is None else self.groups[label]

    @property
    def joined_as(self) -> dict[int, int]:
        """The label that each of the method's own labels counts as."""
        return {own - 1: label for label in range(self.n_labels) for own in self.group(label).labels}


def labels_of(assignments: Assignments, n_true_classes: int) -> Labels:
    """A method's classes; of a method with one class, k-means of its latents, k = number of species."""
    n_classes = assignments.posteriors.shape[1]
    if n_classes > 1:
        return Labels(assignments.classes, n_classes, "classes")
    k = min(n_true_classes, len(np.unique(assignments.latents, axis=0))) if assignments.latents.shape[1] else 1
    if k == 1:
        return Labels(np.zeros(len(assignments), dtype=np.int64), 1, "one class")
    means = k_means(assignments.latents, k, seed=0)
    return Labels(means.labels, k, f"k-means on latents, k={k}", means.centres)


def joined(own: Labels, wanted: dict[str, list[int]] | None) -> Labels:
    """Labels of which some count as one: `wanted` is a name -> the labels (from 1) that it joins, None for nothing.

    Joined ones come first, in the order of the mapping; the others follow and keep their names. Raises InputError for
    a label that is not there.
    """
    if not wanted:
        return own
    for name, numbers in wanted.items():
        missing = [number for number in numbers if not 1 <= number <= own.n_labels]
        if missing:
            raise InputError(
                f"merge_classes: {name}: {missing[0]} is not allowed; labels are 1 to {own.n_labels} ({own.source})"
            )
    taken = {number for numbers in wanted.values() for number in numbers}
    noun = "class" if own.source == "classes" else "cluster"
    rest = {f"{noun} {j}": [j] for j in range(1, own.n_labels + 1) if j not in taken}
    sizes = np.bincount(own.labels, minlength=own.n_labels)
    groups, number = [], np.empty(own.n_labels, dtype=np.int64)
    for label, (name, numbers) in enumerate({**wanted, **rest}.items()):
        members = np.array(numbers) - 1
        number[members] = label
        groups.append(Group(name=name, labels=numbers, map_of=numbers[sizes[members].argmax()]))
    return Labels(number[own.labels], len(groups), own.source, groups=groups)


def confusion_matrix(true_classes: np.ndarray, labels: np.ndarray, n_classes: int, n_labels: int) -> np.ndarray:
    """Counts (n_classes, n_labels)."""
    return np.bincount(true_classes * n_labels + labels, minlength=n_classes * n_labels).reshape(n_classes, n_labels)


def score(
    true_classes: np.ndarray,
    class_names: Sequence[str],
    predicted: Labels,
    known: bool = True,
    junk: np.ndarray | None = None,
) -> ClusteringScores:
    """Compare predicted labels with true classes (N,); agreement is only stated where these are known.

    junk (N,): which particles are junk, a class of its own.
    """
    labels, n_labels, n_classes = predicted.labels, predicted.n_labels, len(class_names)
    confusion = confusion_matrix(true_classes, labels, n_classes, n_labels)
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    # A match without a single particle in common is what the assignment left over.
    matched = {int(j): int(i) for i, j in zip(rows, columns, strict=True) if confusion[i, j]}
    sizes = confusion.sum(0)
    empty = [int(j) for j in np.nonzero(sizes < least_share(n_labels) * len(labels))[0]]
    majority = [int(confusion[:, j].argmax()) if sizes[j] else None for j in range(n_labels)]
    homes = {i: int(confusion[i].argmax()) for i in range(n_classes) if confusion[i].any()}
    split = {i: [j + 1 for j in range(n_labels) if j not in empty and majority[j] == i] for i in range(n_classes)}
    merged = {j: [class_names[i] for i, home in homes.items() if home == j] for j in range(n_labels)}
    label_of = {i: j for j, i in matched.items()}
    recovered = [_recovery(confusion, i, name, label_of.get(i)) for i, name in enumerate(class_names)]
    agreement = {
        "ari": float(adjusted_rand_score(true_classes, labels)),
        "ari_good": ari_without(junk, true_classes, labels),
        "ari_interval": of_confusion(confusion),
        "ami": float(adjusted_mutual_info_score(true_classes, labels)),
        "accuracy": float(confusion[rows, columns].sum() / len(labels)),
        "majority_accuracy": float(confusion.max(0).sum() / len(labels)),
        "per_species": recovered,
        "macro_f1": float(np.mean([species.f1 for species in recovered])),
    }
    return ClusteringScores(
        labels_from=predicted.source,
        n_labels=n_labels,
        n_nonempty=n_labels - len(empty),
        label_sizes=sizes.tolist(),
        empty_labels=[j + 1 for j in empty],
        matched_class=[matched.get(j) for j in range(n_labels)],
        majority_class=majority,
        split_species={class_names[i]: labels for i, labels in split.items() if len(labels) > 1},
        lost_species=[class_names[i] for i, found in split.items() if not found],
        merged_labels={str(j + 1): names for j, names in merged.items() if len(names) > 1},
        confusion=confusion.tolist(),
        groups=predicted.groups,
        **(agreement if known else dict.fromkeys(agreement)),
    )


def ari_without(junk: np.ndarray | None, true_classes: np.ndarray, labels: np.ndarray) -> float | None:
    """The ARI of the particles that are no junk (N,); None where none is, or all are."""
    if junk is None or not junk.any() or junk.all():
        return None
    return float(adjusted_rand_score(true_classes[~junk], labels[~junk]))


def junk_scores(told: np.ndarray | None, junk: np.ndarray) -> JunkScores | None:
    """Of posteriors (N,) of junk, given which particles are (N,); None without them, or where none or all are."""
    if told is None or not junk.any() or junk.all():
        return None
    called = told > IS_JUNK
    return JunkScores(found=float(called[junk].mean()), good_lost=float(called[~junk].mean()))


def _recovery(confusion: np.ndarray, species: int, name: str, label: int | None) -> SpeciesRecovery:
    """Recall and precision of a species (from 0) in its label (from 0)."""
    n_particles = int(confusion[species].sum())
    common = 0 if label is None else int(confusion[species, label])
    recall = common / max(n_particles, 1)
    precision = 0.0 if label is None else common / int(confusion[:, label].sum())
    return SpeciesRecovery(
        class_name=name,
        n_particles=n_particles,
        label=None if label is None else label + 1,
        recall=recall,
        precision=precision,
        f1=2 * recall * precision / (recall + precision) if common else 0.0,
    )
