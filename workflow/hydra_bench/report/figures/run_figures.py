"""What went in and how it went: particle images, and a run's progress."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from hydra_bench.report.figures.style import EXTRA_COLOUR, MOST_SPECIES, Picture, species_colour
from hydra_bench.report.results import Metrics, dataset_folder

_EXAMPLES = 6
_SMOOTHING_A = 10.0
_GREY_PERCENTILES = (0.3, 99.7)
_GAP = 0.06


def particle_gallery(run: Metrics, results: Path) -> Picture | None:
    """A few images of each species, raw and smoothed. None where the stack is missing."""
    path = dataset_folder(results, run.dataset) / "stack" / "particles.mrcs"
    if not path.is_file():
        return None
    pixel, names = run["pixel_size_A"], run["class_names"][:MOST_SPECIES]
    truth = np.array(run["true_classes"])
    with mrcfile.mmap(path, mode="r", permissive=False) as mrc:
        chosen = [np.array(mrc.data[np.flatnonzero(truth == k)[:_EXAMPLES]]) for k in range(len(names))]
    figure = Figure(figsize=(7.2, 2.75 * len(names)), layout="constrained")
    axes = figure.subplots(2 * len(names), 1)
    for k, (images, name) in enumerate(zip(chosen, names, strict=True)):
        smooth = [gaussian_filter(image, _SMOOTHING_A / pixel) for image in images]
        _strip(axes[2 * k], list(images), f"{name}, raw")
        _strip(axes[2 * k + 1], smooth, f"{name}, smoothed")
    _scale_bar(axes[0], run["box_px"], pixel)
    caption = (
        f"The first {_EXAMPLES} particle images of each species as methods see them, and smoothed by a Gaussian of "
        f"σ = {_SMOOTHING_A:g} Å to show the particle. Grey scale: percentiles {_GREY_PERCENTILES[0]:g} to "
        f"{_GREY_PERCENTILES[1]:g} of each image. Box {run['box_px']} px of "
        f"{pixel:g} Å."
    )
    return Picture("particles", "Particle images", caption, figure)


def _strip(ax: Axes, images: list[np.ndarray], name: str) -> None:
    """Images side by side, each on its own grey scale, as one picture: an axes an image would be slow."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(name)
    box = images[0].shape[0]
    gap = max(round(_GAP * box), 1)
    montage = np.full((box, _EXAMPLES * (box + gap) - gap), np.nan)
    for i, image in enumerate(images):
        low, high = np.percentile(image, _GREY_PERCENTILES)
        montage[:, i * (box + gap) : i * (box + gap) + box] = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    ax.imshow(montage, cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="nearest")


def _scale_bar(ax: Axes, box: int, pixel: float) -> None:
    length = next(step for step in (500, 200, 100, 50, 20, 10) if 2.5 * step <= box * pixel or step == 10)
    start, y = 0.05 * box, 0.06 * box
    ax.plot([start, start + length / pixel], [y, y], color="white", linewidth=2.2, solid_capstyle="butt")
    text = {"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0}
    ax.text(start, y + 0.06 * box, f"{length} Å", color="white", fontsize=7, va="bottom", bbox=text)


_CONVERGENCE = {
    "loss": "loss (comparable within a phase and resolution only)",
    "ari": "ARI of the labels after each epoch",
    "l": "the resolution used",
    "entropy": "the mean entropy of the particles' class posteriors",
}
"""What the caption says of each panel."""


def convergence(run: Metrics, results: Path) -> Picture | None:
    """Loss, ARI, resolution and class sizes against images seen. None where the method left no history."""
    path = results / "reconstructions" / run.dataset / run.method / str(run.seed) / "history.csv"
    if not path.is_file():
        return None
    history = pd.read_csv(path)
    if len(run.get("history_ari") or []) == len(history):
        history["ari"] = run["history_ari"]
    sizes = [column for column in history if column.startswith("size_")]
    if len(sizes) == 1:  # all particles in one class, all the time
        history, sizes = history.drop(columns="entropy", errors="ignore"), []
    wanted = [
        ("loss", "loss"),
        ("ari", "ARI"),
        ("l", "resolution l\n(cycles per box)"),
        ("entropy", "entropy of the\nposteriors (nats)"),
    ]
    panels = [(column, name) for column, name in wanted if column in history and history[column].notna().any()]
    if "images_seen" not in history or not (panels or sizes):
        return None
    n_panels = len(panels) + bool(sizes)
    figure = Figure(figsize=(7.2, 1.45 * n_panels + 0.8), layout="constrained")
    axes = figure.subplots(n_panels, 1, sharex=True, squeeze=False)[:, 0]
    seen = history["images_seen"] / 1e3
    for ax, (column, name) in zip(axes, panels, strict=False):
        ax.plot(seen, history[column], color="#333333", linewidth=1.2, marker=".", markersize=4)
        ax.set_ylabel(name)
        if column == "ari":
            ax.set_ylim(min(-0.03, ax.get_ylim()[0]), 1.03)
    if sizes:
        _size_lines(axes[-1], run, seen, history[sizes])
    _phases(axes, history, seen)
    axes[-1].set_xlabel("images seen (thousands, repeats counted)")
    figure.align_ylabels(axes)
    shown = [_CONVERGENCE[column] for column, _ in panels]
    shown += ["the number of particles in each predicted class"] * bool(sizes)
    caption = f"How {run.label} went: {'; '.join(shown)}. Seed {run.seed}."
    return Picture(f"convergence_{run.method}", f"Convergence: {run.label}", caption, figure, run.method)


def _size_lines(ax: Axes, run: Metrics, seen: pd.Series, sizes: pd.DataFrame) -> None:
    matched = run["clustering"]["matched_class"] if run["clustering"]["labels_from"] == "classes" else []
    for j, column in enumerate(sizes):
        species = matched[j] if j < len(matched) else None
        colour = EXTRA_COLOUR if species is None else species_colour(species)
        name = f"class {j + 1}" + ("" if species is None else f" ({run['class_names'][species]})")
        ax.plot(
            seen, sizes[column], color=colour, linewidth=1.5, linestyle="--" if species is None else "-", label=name
        )
    ax.set_ylabel("particles")
    ax.set_ylim(bottom=0)
    if sizes.shape[1] <= MOST_SPECIES:
        ax.figure.legend(loc="outside lower center", ncols=min(sizes.shape[1], 3))


def _phases(axes: np.ndarray, history: pd.DataFrame, seen: pd.Series) -> None:
    """Shade every second phase and name them all above the first panel, short ones aslant of the next."""
    if "phase" not in history:
        return
    starts = np.flatnonzero(history["phase"].ne(history["phase"].shift()).to_numpy())
    end = float(seen.iloc[-1])
    edges = [float(seen.iloc[max(i - 1, 0)]) if i else 0.0 for i in starts] + [end]
    last_text = -np.inf
    for n, i in enumerate(starts):
        left, right = edges[n], edges[n + 1]
        if n % 2:
            for ax in axes:
                ax.axvspan(left, right, color="#000000", alpha=0.05, linewidth=0)
        name = str(history["phase"].iloc[i])
        # A phase too short for its name goes without rather than print over its neighbour's.
        if left >= last_text and end > 0:
            axes[0].annotate(name, (left, 1.02), xycoords=("data", "axes fraction"), fontsize=8, color="#555555")
            last_text = left + end * 0.016 * len(name)
    axes[0].set_xlim(0, end or 1)
