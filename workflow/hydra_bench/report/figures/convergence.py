"""How a run went: its progress against images seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hydra_bench.contracts.reconstruction import HISTORY_NAME
from hydra_bench.core.errors import InputError
from hydra_bench.core.reading import MOST_TEXT_BYTES, regular_file
from hydra_bench.report.figures.style import EXTRA_COLOUR, MOST_SPECIES, Look, Picture, species_colour
from hydra_bench.report.results import EvaluatedRun

_LARGEST_DRAWN = 1e15
_PANELS = {
    "loss": ("loss", "loss (comparable within a phase and resolution only)"),
    "ari": ("ARI", "ARI of the labels after each epoch"),
    "l": ("resolution l\n(cycles per box)", "the resolution used"),
    "entropy": ("entropy of the\nposteriors (nats)", "the mean entropy of the particles' class posteriors"),
}
"""What the axis of each column says, and the caption."""


def read_history(run: EvaluatedRun) -> pd.DataFrame | None:
    """What a method wrote while it ran, with the ARI of its labels as `ari`. None where it left nothing.

    Where all particles are in one class all the time, sizes and entropy say nothing and are left out.
    """
    path = run.places.reconstruction / HISTORY_NAME
    if not path.is_file():
        return None
    try:
        history = pd.read_csv(regular_file(path, MOST_TEXT_BYTES))
    except ValueError as error:
        raise InputError(f"{path}: not a readable table ({' '.join(str(error).split())[:200]})") from None
    if "images_seen" not in history:
        return None
    drawn = [name for name in history if name in (*_PANELS, "images_seen") or str(name).startswith("size_")]
    for name in drawn:
        values = pd.to_numeric(history[name], errors="coerce")
        # What is no number, or too large to be drawn, is left out.
        history[name] = values.where(values.abs() < _LARGEST_DRAWN)
    if history["images_seen"].isna().any():
        raise InputError(f"{path}: images_seen is not a number throughout")
    if len(run.metrics.history_ari or []) == len(history):
        history["ari"] = run.metrics.history_ari
    sizes = history.filter(regex=r"^size_\d+$").columns
    return history.drop(columns=["entropy", *sizes], errors="ignore") if len(sizes) == 1 else history


def convergence(run: EvaluatedRun) -> Picture | None:
    """Loss, ARI, resolution and class sizes against images seen. None where the method left no history."""
    history = read_history(run)
    if history is None:
        return None
    panels = {column: text for column, text in _PANELS.items() if column in history and history[column].notna().any()}
    sizes = history.filter(regex=r"^size_\d+$")
    n_panels = len(panels) + bool(sizes.shape[1])
    if not n_panels:
        return None
    figure = Figure(figsize=(7.2, 1.45 * n_panels + 0.8), layout="constrained")
    axes = figure.subplots(n_panels, 1, sharex=True, squeeze=False)[:, 0]
    seen = history["images_seen"] / 1e3
    for ax, (column, (name, _)) in zip(axes, panels.items(), strict=False):
        ax.plot(seen, history[column], color="#333333", linewidth=1.2, marker=".", markersize=4)
        ax.set_ylabel(name)
        if column == "ari":
            ax.set_ylim(min(-0.03, ax.get_ylim()[0]), 1.03)
    shown = [text for _, text in panels.values()]
    if sizes.shape[1]:
        _draw_sizes(axes[-1], run, seen, sizes)
        shown.append("the number of particles in each predicted class")
    if "phase" in history:
        _name_phases(list(axes), history["phase"], seen)
    axes[-1].set_xlabel("images seen (thousands, repeats counted)")
    figure.align_ylabels(axes)
    caption = f"How {run.label} went: {'; '.join(shown)}. Seed {run.seed}."
    return Picture(f"convergence_{run.method}", f"Convergence: {run.label}", caption, figure, run.method)


def _draw_sizes(ax: Axes, run: EvaluatedRun, seen: pd.Series[float], sizes: pd.DataFrame) -> None:
    """The number of particles of each class (a column), in the colour of the species that it is matched to."""
    matched = run.clustering.matched_class if run.noun == "class" else []
    for j, column in enumerate(sizes):
        species = matched[j] if j < len(matched) else None
        if species is None:
            look: Look = {"color": EXTRA_COLOUR, "linestyle": "--", "label": f"class {j + 1}"}
        else:
            name = f"class {j + 1} ({run.class_names[species]})"
            look = {"color": species_colour(species), "linestyle": "-", "label": name}
        ax.plot(seen, sizes[column], linewidth=1.5, **look)
    ax.set_ylabel("particles")
    ax.set_ylim(bottom=0)
    if sizes.shape[1] <= MOST_SPECIES:
        ax.figure.legend(loc="outside lower center", ncols=min(sizes.shape[1], 3))


def _name_phases(axes: list[Axes], phases: pd.Series[str], seen: pd.Series[float]) -> None:
    """Shade every second phase and name them all above the first panel, short ones aslant of the next."""
    starts = np.flatnonzero(phases.ne(phases.shift()).to_numpy())
    images = seen.to_numpy()
    # A phase begins where the one before it has ended.
    edges = [0.0 if i == 0 else float(images[i - 1]) for i in starts] + [float(images[-1])]
    end = edges[-1]
    last_text = -np.inf
    for n, i in enumerate(starts):
        left, right = edges[n], edges[n + 1]
        if n % 2:
            for ax in axes:
                ax.axvspan(left, right, color="#000000", alpha=0.05, linewidth=0)
        name = str(phases.iloc[i])
        # A phase too short for its name goes without rather than print over its neighbour's.
        if left >= last_text and end > 0:
            axes[0].annotate(name, (left, 1.02), xycoords=("data", "axes fraction"), fontsize=8, color="#555555")
            last_text = left + end * 0.016 * len(name)
    axes[0].set_xlim(0, end or 1)
