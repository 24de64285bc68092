"""What each number on the page means, in a sentence or two. docs/metrics.md says it at length."""

from __future__ import annotations

from dataclasses import dataclass

from hydra_bench.contracts.reconstruction import EMPTY_TEXT


@dataclass(frozen=True)
class Term:
    """A word of the page and its meaning; `anchor` is its place in the page."""

    anchor: str
    name: str
    meaning: str


TERMS = (
    Term(
        "ari",
        "ARI",
        "Adjusted Rand index: how well predicted classes agree with true species, whatever the classes are called. "
        "1 is perfect, 0 is chance. With several seeds: mean ± sd over seeds. A method without classes is labelled by "
        "k-means on its latents, with k the number of species; the column “Labels from” says so.",
    ),
    Term(
        "fsc-auc",
        "FSC-AUC",
        "How good the maps are. The method's own volume for a particle is compared with the true map of that particle "
        "after alignment over rotation, shift and hand; the Fourier shell correlation is averaged over shells 1 to "
        "D/2 − 1. 1 is perfect. Mean ± 1 sd over the evaluated particles. The mask is stated with the dataset.",
    ),
    Term(
        "cryobench",
        "CryoBench's scale",
        "The area under |FSC| over spatial frequency up to 0.5 − 1/D per pixel; its maximum is just below 0.5. "
        "Never to be compared with the FSC-AUC.",
    ),
    Term(
        "ami",
        "AMI, accuracy",
        "Adjusted mutual information: another agreement corrected for chance. Accuracy: the share of particles in the "
        "class that is matched to their species, at most one class a species.",
    ),
    Term(
        "empty",
        "Empty, split, merged",
        f"Empty: a class with less than {EMPTY_TEXT}. Split: a species is the most frequent one "
        "in two or more classes that are not empty. Merged: a class holds the largest part of two or more species.",
    ),
    Term(
        "resolution",
        "Resolution",
        "Where a species' mean FSC curve first falls below 0.5 or 0.143. The curves compare with the truth, so 0.5 is "
        "the one to read; 0.143 is there for comparison with half-map habits.",
    ),
    Term(
        "pose",
        "Pose error",
        "Median angle between estimated and true orientation, and median error of the in-plane shift, after the same "
        "alignment as the maps, over particles in the class that is matched to their species.",
    ),
    Term(
        "conformation",
        "Conformations",
        "Where species move: the rank correlation of the true coordinate with latents, and R² of a monotone fit, on "
        "particles that the fit did not see.",
    ),
    Term(
        "bounds",
        "Bounds",
        "Methods that read the truth: they show what is possible and what chance gives, and are not ranked. Oracle: "
        "back-projection with true poses and classes, the ceiling. Shuffled labels: the floor.",
    ),
    Term(
        "cost",
        "Wall time, CPU time, memory",
        "Of the reconstruction alone, mean over seeds, on the device named in each method's section. Memory is the "
        "largest resident set.",
    ),
)
