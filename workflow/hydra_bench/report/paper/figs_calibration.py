"""Reliability curves of the posteriors of classes, with ECE and Brier score."""

from hydra_bench.report.figures.calibration import reliability_curves
from hydra_bench.report.figures.style import Picture
from hydra_bench.report.paper.shown_runs import ShownRuns


def draw(shown: ShownRuns) -> list[Picture]:
    """One curve for each method, bounds too. None where no method gives posteriors that are not all certain."""
    picture = reliability_curves(shown.runs, shown.lines)
    return [] if picture is None else [picture]
