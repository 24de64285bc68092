"""How well predicted labels tell the species apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from hydra_bench.contracts.reconstruction import Assignments, least_share
from hydra_bench.core.errors import InputError
from hydra_bench.core.k_means import k_means


@dataclass(frozen=True)
class Group:
    """Labels (0-based) that count as one: its name, which they are, and the largest, whose map stands for all."""

    name: str
    members: tuple[int, ...]
    largest: int


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
    groups: tuple[Group, ...] | None = None

    def group(self, label: int) -> Group:
        """What a label is joined from: itself, if nothing is joined."""
        return Group("", (label,), label) if self.groups is None else self.groups[label]


@dataclass(frozen=True)
class Clustering:
    """Scores and matching; classes and labels 0-based.

    scores: agreement with the true classes, by the key that the metrics file has for it;
    confusion (true classes, labels); matched_class and majority_class: per label a true class or None;
    split: class -> the non-empty labels (two or more) in which it is the most frequent class;
    merged: label -> the classes (two or more) of which it holds the largest part.
    """

    scores: dict[str, float]
    confusion: np.ndarray
    empty: tuple[int, ...]
    matched_class: tuple[int | None, ...]
    majority_class: tuple[int | None, ...]
    split: dict[int, tuple[int, ...]]
    merged: dict[int, tuple[int, ...]]


def labels_of(assignments: Assignments, n_true_classes: int, seed: int = 0) -> Labels:
    """A method's classes; of a method with one class, k-means of its latents, k = number of species."""
    n_classes = assignments.posteriors.shape[1]
    if n_classes > 1:
        return Labels(assignments.classes, n_classes, "classes")
    k = min(n_true_classes, len(np.unique(assignments.latents, axis=0))) if assignments.latents.shape[1] else 1
    if k == 1:
        return Labels(np.zeros(len(assignments), dtype=np.int64), 1, "one class")
    means = k_means(assignments.latents, k, seed)
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
        groups.append(Group(name, tuple(members.tolist()), int(members[sizes[members].argmax()])))
    return Labels(number[own.labels], len(groups), own.source, groups=tuple(groups))


def confusion_matrix(true_classes: np.ndarray, labels: np.ndarray, n_classes: int, n_labels: int) -> np.ndarray:
    """Counts (n_classes, n_labels)."""
    return np.bincount(true_classes * n_labels + labels, minlength=n_classes * n_labels).reshape(n_classes, n_labels)


def score(true_classes: np.ndarray, n_classes: int, predicted: Labels) -> Clustering:
    """Compare predicted labels with true classes (N,)."""
    labels, n_labels = predicted.labels, predicted.n_labels
    confusion = confusion_matrix(true_classes, labels, n_classes, n_labels)
    rows, columns = linear_sum_assignment(confusion, maximize=True)
    # A match without a single particle in common is what the assignment left over.
    matched = {int(j): int(i) for i, j in zip(rows, columns, strict=True) if confusion[i, j]}
    sizes = confusion.sum(0)
    empty = tuple(int(j) for j in np.nonzero(sizes < least_share(n_labels) * len(labels))[0])
    majority = tuple(int(confusion[:, j].argmax()) if sizes[j] else None for j in range(n_labels))
    homes = {i: int(confusion[i].argmax()) for i in range(n_classes) if confusion[i].any()}
    split = {i: tuple(j for j in range(n_labels) if j not in empty and majority[j] == i) for i in range(n_classes)}
    merged = {j: tuple(i for i, home in homes.items() if home == j) for j in range(n_labels)}
    return Clustering(
        scores={
            "ari": float(adjusted_rand_score(true_classes, labels)),
            "ami": float(adjusted_mutual_info_score(true_classes, labels)),
            "accuracy": float(confusion[rows, columns].sum() / len(labels)),
        },
        confusion=confusion,
        empty=empty,
        matched_class=tuple(matched.get(j) for j in range(n_labels)),
        majority_class=majority,
        split={i: labels for i, labels in split.items() if len(labels) > 1},
        merged={j: classes for j, classes in merged.items() if len(classes) > 1},
    )
