"""What the choice of one parameter (K, σ, d …) does, everything else as by the methods' definitions."""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hydra_bench.report.figures.style import Picture, wrapped
from hydra_bench.report.paper.figs_seeds import MEASURES
from hydra_bench.report.paper.shown_runs import ShownRuns
from hydra_bench.report.results import EvaluatedRun

_CLASSES_IN_USE = "classes in use"
_HYDRA_PARAMETERS = {
    "classes": ("K", "K, the number of classes,"),
    "latent_dim": ("d", "d, the dimension of the latents,"),
    "sigma": ("σ (of the noise)", "σ, which softens the posteriors,"),
    "sharpness": ("sharpness, first and last", "the sharpness of the posteriors, σ in units of the data's own spread,"),
}
"""What the axis says, and the caption."""


@dataclass(frozen=True)
class Sweep:
    """Runs of one program that differ in `parameter` and in nothing else.

    runs: those of each value, in order; values are JSON, as a list cannot be a key.
    """

    program: str
    parameter: str
    runs: dict[str, list[EvaluatedRun]]

    @property
    def values(self) -> list[Any]:  # of a parameter: JSON
        """Whatever a program takes for a parameter: numbers, words, lists, or null for its own choice."""
        return [json.loads(value) for value in self.runs]

    @property
    def positions(self) -> list[float]:
        """Where values stand on the axis: numbers at their size, others side by side."""
        return self.values if self.numeric else list(range(len(self.runs)))

    @property
    def numeric(self) -> bool:
        return all(isinstance(value, int | float) for value in self.values)


def draw(shown: ShownRuns) -> list[Picture]:
    """One figure a sweep."""
    return [_picture(sweep, number) for number, sweep in enumerate(find_sweeps(shown.all_runs), start=1)]


def find_sweeps(runs: list[EvaluatedRun]) -> list[Sweep]:
    """Each parameter of which some methods of a program have two values or more, where all others agree."""
    good = [run for run in runs if run.ok and not run.metrics.reads_truth]
    alike: dict[tuple[str, str, str], list[EvaluatedRun]] = defaultdict(list)
    for parameter in sorted({name for run in good for name in run.metrics.parameters}):
        for run in good:
            others = {name: value for name, value in run.metrics.parameters.items() if name != parameter}
            others |= {"poses_from": run.poses_from, "init_from": run.init_from}
            alike[run.metrics.program, parameter, json.dumps(others, sort_keys=True)].append(run)
    sweeps = []
    for (program, parameter, _), members in alike.items():
        by_value: dict[str, list[EvaluatedRun]] = defaultdict(list)
        for run in members:
            by_value[json.dumps(run.metrics.parameters.get(parameter))].append(run)
        if len(by_value) > 1:
            sweeps.append(Sweep(program, parameter, dict(sorted(by_value.items(), key=lambda item: _order(item[0])))))
    return sweeps


def _order(value_json: str) -> tuple[int, Any]:  # likewise
    """Numbers before lists of numbers, these before words, and the program's own choice last."""
    value = json.loads(value_json)
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, list) and value and all(isinstance(number, int | float) for number in value):
        return (1, value)
    return (3, "") if value is None else (2, value_json)


def _classes_in_use(run: EvaluatedRun) -> float | None:
    count: int = run.clustering.n_nonempty
    return count


def _picture(sweep: Sweep, number: int) -> Picture:
    known = _HYDRA_PARAMETERS if sweep.program == "hydra" else {}
    axis, name = known.get(sweep.parameter, (sweep.parameter, sweep.parameter))
    measures = {**MEASURES, _CLASSES_IN_USE: _classes_in_use}
    figure = Figure(figsize=(7.2, 2.5), layout="constrained")
    axes = figure.subplots(1, len(measures))
    for ax, (label, measure) in zip(axes, measures.items(), strict=True):
        _dots_and_means(ax, sweep, measure)
        ax.set(xlabel=axis, ylabel=label)
        ax.set_xticks(sweep.positions, [_tick(value, len(sweep.runs)) for value in sweep.values])
        if not sweep.numeric:
            ax.set_xlim(-0.4, len(sweep.runs) - 0.6)
        if label == _CLASSES_IN_USE:
            ax.set_ylim(bottom=0)
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            ax.set_ylim(-0.05, 1.05)
    text = (
        f"What the choice of {name} does to {sweep.program}; everything else is as by the methods' definitions. Dots "
        "are seeds, the line their mean."
    )
    return Picture(f"sweep_{number}_{sweep.parameter}", f"Choice of {name.rstrip(',')}", text, figure)


def _dots_and_means(ax: Axes, sweep: Sweep, measure: Callable[[EvaluatedRun], float | None]) -> None:
    means = []
    for position, runs in zip(sweep.positions, sweep.runs.values(), strict=True):
        values = [value for run in runs if (value := measure(run)) is not None]
        ax.plot([position] * len(values), values, "o", color="#0072B2", markersize=4, alpha=0.7)
        if values:
            means.append((position, float(np.mean(values))))
    ax.plot(*zip(*means, strict=True), color="#0072B2", linewidth=1.3)


def _tick(value: Any, count: int) -> str:  # likewise
    """A value of a parameter as few letters as it can be; null is the program's own choice."""
    if isinstance(value, list):
        return " to\n".join(map(str, value))
    return wrapped("default" if value is None else str(value), 1.6 / count, 7)
