"""What each word on the page means, in a sentence or two: the measures, as registered, and some more."""

from __future__ import annotations

from dataclasses import dataclass

from hydra_bench.contracts.metrics_file import MEASURES
from hydra_bench.contracts.reconstruction import EMPTY_TEXT


@dataclass(frozen=True)
class Term:
    """A word of the page and its meaning; `anchor` is its place in the page."""

    anchor: str
    name: str
    meaning: str


TERMS = (
    *(Term(measure.column.replace("_", "-"), measure.label, measure.meaning) for measure in MEASURES),
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
)
