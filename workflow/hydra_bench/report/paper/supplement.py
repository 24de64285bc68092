"""The supplement: convergence, sweeps of one parameter (K, σ, d …), pose errors, seeds, held poses."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from hydra_bench.contracts.reconstruction import EMPTY_TEXT, HISTORY_NAME, least_share, read_assignments
from hydra_bench.core.errors import InputError
from hydra_bench.metrics.pose import aligned_poses, pose_errors
from hydra_bench.report.figures.method_lines import Line
from hydra_bench.report.figures.style import Picture, wrapped
from hydra_bench.report.paper.conformations import alignment
from hydra_bench.report.paper.fixed_poses import fixed_poses
from hydra_bench.report.paper.selection import Selection
from hydra_bench.report.results import Metrics, by_method, truth_of

_BINS = 40


def draw(selection: Selection) -> list[Picture]:
    """Every figure of the supplement that the runs allow."""
    runs, lines = selection.everything, selection.lines
    found = [
        convergence(runs, lines),
        seeds(runs, lines),
        poses(selection, lines),
        *fixed_poses(selection),
        *sweeps(runs),
    ]
    return [picture for picture in found if picture is not None]


def convergence(runs: list[Metrics], lines: dict[str, Line]) -> Picture | None:
    """Loss, ARI, resolution, entropy of the posteriors and classes in use against images seen; one line a run."""
    histories = [(run, _history(run)) for run in runs if run.ok]
    histories = [(run, history) for run, history in histories if history is not None]
    if not histories:
        return None
    wanted = {
        "loss": "loss",
        "ari": "ARI",
        "resolution_A": "resolution used (Å)",
        "entropy": "entropy of the\nposteriors (nats)",
        "used": "classes that\nare not empty",
    }
    shown = {key: name for key, name in wanted.items() if any(key in history for _, history in histories)}
    figure = Figure(figsize=(7.2, 1.5 * len(shown) + 1.0), layout="constrained")
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (key, name) in zip(axes, shown.items(), strict=True):
        for run, history in histories:
            if key in history:
                ax.plot(history["images_seen"] / 1e3, history[key], linewidth=1.3, **lines[run.method].keywords)
        ax.set_ylabel(name)
        if key == "ari":
            ax.set_ylim(min(-0.03, ax.get_ylim()[0]), 1.03)
        if key == "used":
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        if key == "resolution_A":
            ax.set_yscale("log")
            ax.invert_yaxis()
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter(ScalarFormatter())
            ax.yaxis.set_minor_formatter(NullFormatter())
    axes[-1].set_xlabel("images seen (thousands, repeats counted)")
    figure.align_ylabels(axes)
    _legend(figure, list(dict.fromkeys(run.method for run, _ in histories)), runs, lines)
    text = (
        "How runs went: loss (comparable within a phase and resolution of one method only), ARI of the labels after "
        "each epoch (of methods that leave them), the resolution of the images used, the mean entropy of the "
        f"particles' class posteriors, and the number of classes that have {EMPTY_TEXT}. One line a seed."
    )
    return Picture("convergence", "Convergence", text, figure)


def _history(run: Metrics) -> pd.DataFrame | None:
    path = run.reconstruction / HISTORY_NAME
    if not path.is_file():
        return None
    history = pd.read_csv(path)
    if "images_seen" not in history:
        return None
    if len(run.get("history_ari") or []) == len(history):
        history["ari"] = run["history_ari"]
    if "l" in history:
        history["resolution_A"] = run["box_px"] * run["pixel_size_A"] / history["l"]
    sizes = history.filter(regex=r"^size_\d+$")
    if sizes.shape[1] == 1:  # all particles in one class, all the time
        history = history.drop(columns="entropy", errors="ignore")
    elif sizes.shape[1]:
        history["used"] = (sizes >= least_share(sizes.shape[1]) * run["n_particles"]).sum(axis=1)
    return history


def seeds(runs: list[Metrics], lines: dict[str, Line]) -> Picture | None:
    """ARI and FSC-AUC of every seed, one row a method. None where no method has two."""
    groups = {method: [run for run in group if run.ok] for method, group in by_method(runs).items()}
    groups = {method: group for method, group in groups.items() if group}
    if not groups or max(len(group) for group in groups.values()) < 2:
        return None
    figure = Figure(figsize=(7.2, 0.42 * len(groups) + 1.1), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (name, value) in zip(axes, _MEASURES.items(), strict=True):
        for row, (method, group) in enumerate(groups.items()):
            values = [v for run in group if (v := value(run)) is not None]
            jitter = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else [0.0]
            ax.plot(
                values,
                row + np.array(jitter[: len(values)]),
                marker=lines[method].marker,
                linestyle="",
                color=lines[method].colour,
                markersize=4.5,
                alpha=0.85,
            )
            if len(values) > 1:
                ax.plot([np.mean(values)] * 2, [row - 0.3, row + 0.3], color="black", linewidth=1.2)
        ax.set(xlabel=name, xlim=(min(-0.03, ax.get_xlim()[0]), 1.03))
        ax.grid(axis="x", color="#E4E4E4", linewidth=0.6)
    labels = [wrapped(group[0].label, 1.8) for group in groups.values()]
    axes[0].set_yticks(range(len(groups)), labels)
    axes[0].set_ylim(len(groups) - 0.5, -0.5)
    text = "Every seed of every method (dots) and the mean over seeds (bar). Bounds are grey."
    return Picture("seeds", "Seeds", text, figure)


_MEASURES: dict[str, Any] = {
    "ARI": lambda run: run["clustering"]["ari"],
    "FSC-AUC": lambda run: (run.get("fsc") or {}).get("auc_mean"),
}


def poses(selection: Selection, lines: dict[str, Line]) -> Picture | None:
    """Histograms of angle and shift errors of the particles in the class that is matched to their species."""
    truth = truth_of(selection.results, selection.main.dataset) if selection.main.get("pose") else None
    if truth is None or truth.rotations is None:
        return None
    found = {run.method: errors for run in selection.competitors if (errors := _pose_errors(run, truth)) is not None}
    if not found:
        return None
    figure = Figure(figsize=(7.2, 3.1), layout="constrained")
    axes = figure.subplots(1, 2)
    farthest = max(float(np.quantile(shift, 0.99)) for _, shift in found.values())
    bins_of_both = (np.geomspace(0.3, 180, _BINS), np.linspace(0, farthest, _BINS))
    for method, (angle, shift) in found.items():
        for ax, values, bins in zip(axes, (angle, shift), bins_of_both, strict=True):
            weights = np.full(len(values), 1 / len(values))
            line = lines[method]
            ax.hist(
                values, bins, weights=weights, histtype="step", color=line.colour, linestyle=line.style, linewidth=1.4
            )
    axes[0].set(xscale="log", xlabel="angle between estimated and true pose (°)", ylabel="share of particles")
    axes[0].set_xticks([1, 10, 100], ["1", "10", "100"])
    axes[1].set(xlabel="in-plane shift error (Å)")
    unmarked = {method: replace(line, marked=False) for method, line in lines.items()}
    _legend(figure, list(found), selection.everything, unmarked)
    text = (
        "Pose errors after the alignment of each class's map to its species, over the particles in the class that is "
        f"matched to their species. Seed {selection.main.seed}."
    )
    return Picture("pose_errors", "Pose errors", text, figure)


def _pose_errors(run: Metrics, truth: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Angles in degrees and shifts in Å of the particles in matched classes; None where none has an alignment."""
    try:
        assignments = read_assignments(run.reconstruction, len(truth))
    except InputError:
        return None
    angles, shifts = [], []
    labels, own = np.array(run["labels"]), np.array(run.own_labels)
    for j, o in sorted(set(zip(run["labels"], run.own_labels, strict=True))):
        k = run["clustering"]["matched_class"][j]
        aligned = None if k is None else alignment(run, j + 1, o + 1)
        chosen = np.flatnonzero((labels == j) & (own == o) & (truth.classes == k)) if k is not None else []
        if aligned is None or not len(chosen):
            continue
        ours = aligned_poses(
            assignments.rotations[chosen], assignments.shifts_A[chosen], aligned, float(run["pixel_size_A"])
        )
        errors = pose_errors(*ours, truth.rotations[chosen], truth.shifts_A[chosen])
        angles.append(errors.angle_deg)
        shifts.append(errors.shift_A)
    return (np.concatenate(angles), np.concatenate(shifts)) if angles else None


def sweeps(runs: list[Metrics]) -> list[Picture]:
    """One figure a parameter that methods of one program differ in, and in nothing else."""
    groups: dict[tuple[str, str, str], list[tuple[Any, Metrics]]] = defaultdict(list)
    good = [run for run in runs if run.ok and not run.is_bound]
    for key in sorted({key for run in good for key in run["parameters"]}):
        for run in good:
            rest = {name: value for name, value in run["parameters"].items() if name != key}
            rest |= {"poses_from": run.poses_from}
            groups[run["program"], key, json.dumps(rest, sort_keys=True)].append((run["parameters"].get(key), run))
    pictures = []
    for (program, key, _), members in groups.items():
        values = list(dict.fromkeys(json.dumps(value) for value, _ in members))
        if len(values) > 1:
            pictures.append(_sweep(program, key, members, len(pictures)))
    return pictures


_PARAMETERS = {
    "classes": ("K", "K, the number of classes,"),
    "latent_dim": ("d", "d, the dimension of the latents,"),
    "sigma": ("σ (of the noise)", "σ, which softens the posteriors,"),
    "sharpness": ("sharpness, first and last", "the sharpness of the posteriors, σ in units of the data's own spread,"),
}
"""Of Hydra: what the axis says, and the caption."""


def _sweep(program: str, key: str, members: list[tuple[Any, Metrics]], number: int) -> Picture:
    measures = {**_MEASURES, "classes in use": lambda run: run["clustering"]["n_nonempty"]}
    ordered = sorted({json.dumps(value): value for value, _ in members}.items(), key=lambda one: _place(one[1]))
    numeric = all(isinstance(value, int | float) for _, value in ordered)
    places = {text: value if numeric else n for n, (text, value) in enumerate(ordered)}
    axis, name = _PARAMETERS.get(key, (key, key)) if program == "hydra" else (key, key)
    figure = Figure(figsize=(7.2, 2.5), layout="constrained")
    axes = figure.subplots(1, len(measures))
    for ax, (label, measure) in zip(axes, measures.items(), strict=True):
        _sweep_panel(ax, members, places, measure)
        ax.set(xlabel=axis, ylabel=label)
        ax.set_xticks(list(places.values()), [_tick(value, len(ordered)) for _, value in ordered])
        if not numeric:
            ax.set_xlim(-0.4, len(ordered) - 0.6)
        if label == "classes in use":
            ax.set_ylim(bottom=0)
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            ax.set_ylim(-0.05, 1.05)
    text = (
        f"What the choice of {name} does to {program}; everything else is as by the methods' definitions. Dots are "
        "seeds, the line their mean."
    )
    return Picture(f"sweep_{number + 1}_{key}", f"Choice of {name.rstrip(',')}", text, figure)


def _tick(value: Any, count: int) -> str:
    """A value of a parameter as few letters as it can be; null is the program's own choice."""
    if isinstance(value, list):
        return " to\n".join(map(str, value))
    return wrapped("default" if value is None else str(value), 1.6 / count, 7)


def _place(value: Any) -> tuple[int, Any]:
    """Numbers before lists of numbers, these before words, and the program's own choice last."""
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, list) and value and all(isinstance(one, int | float) for one in value):
        return (1, value)
    return (3, "") if value is None else (2, json.dumps(value))


def _sweep_panel(ax: Axes, members: list[tuple[Any, Metrics]], places: dict[str, Any], measure: Any) -> None:
    found: dict[str, list[float]] = defaultdict(list)
    for value, run in members:
        if (measured := measure(run)) is not None:
            found[json.dumps(value)].append(measured)
    for text, values in found.items():
        ax.plot([places[text]] * len(values), values, "o", color="#0072B2", markersize=4, alpha=0.7)
    line = sorted((places[text], float(np.mean(values))) for text, values in found.items())
    ax.plot(*zip(*line, strict=True), color="#0072B2", linewidth=1.3)


def _legend(figure: Figure, methods: list[str], runs: list[Metrics], lines: dict[str, Line]) -> None:
    labels = {run.method: run.label for run in runs}
    handles = [Line2D([], [], label=labels[m], **lines[m].keywords) for m in methods]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))
