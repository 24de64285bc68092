"""How far posteriors of classes can be believed: reliability curves, with ECE and Brier score."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hydra_bench.contracts.scores import Reliability
from hydra_bench.report.figures.method_lines import Line
from hydra_bench.report.figures.style import Look, Picture
from hydra_bench.report.results import EvaluatedRun
from hydra_bench.report.tables.rows import number

_ROOM = 0.03


def reliability_curves(runs: list[EvaluatedRun], lines: dict[str, Line]) -> Picture | None:
    """One curve for each kind of posteriors of each method; None where no run has any that are not all certain."""
    shown = [(run, name, found) for run in runs for name, found in _posteriors(run)]
    if not shown:
        return None
    figure = Figure(figsize=(7.2, max(3.6, 0.9 + 0.42 * len(shown))), layout="constrained")
    ax = figure.subplots()
    handles = []
    for run, name, found in shown:
        look: Look = lines[run.method].look | {"marker": lines[run.method].marker, "markersize": 4.5, "markevery": 1}
        if name:
            look |= {"markerfacecolor": "white", "linewidth": 0.8}
        ax.plot([part.confidence for part in found.bins], [part.accuracy for part in found.bins], **look)
        text = f"{run.label}{name}\nECE {number(found.ece)}, Brier score {number(found.brier)}"
        handles.append(Line2D([], [], label=text, **look))
    lowest = min(min(part.confidence, part.accuracy) for _, _, found in shown for part in found.bins)
    _dress(ax, lowest - _ROOM)
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, labelspacing=0.9)
    caption = (
        "Posteriors of classes against the truth: particles in ten bins of equal count by the posterior of the species "
        "that each most probably is of; the bin's mean posterior, and the share of its particles that are of that "
        "species. On the diagonal posteriors are as often right as they say; below it they are too sure. ECE is the "
        "mean distance from it. Methods whose posteriors are all certain are left out. Open marks: Hydra's posteriors "
        "at the noise's own level, beside those it learns with. Bounds are grey. "
        f"Seed {runs[0].seed}."
    )
    return Picture("calibration", "Calibration of posteriors", caption, figure)


def _posteriors(run: EvaluatedRun) -> list[tuple[str, Reliability]]:
    """What a run's posteriors are called, and their calibration, of those that have one."""
    kinds = {"": run.metrics.calibration, ", at the noise's level": run.metrics.calibration_at_noise}
    return [(name, found) for name, found in kinds.items() if found is not None]


def _dress(ax: Axes, lowest: float) -> None:
    ax.plot([lowest, 1], [lowest, 1], color="#888888", linewidth=0.7, zorder=0)
    ax.set(xlabel="mean posterior of a bin", ylabel="share that is right")
    ax.set(xlim=(lowest, 1 + _ROOM), ylim=(lowest, 1 + _ROOM), aspect="equal")
