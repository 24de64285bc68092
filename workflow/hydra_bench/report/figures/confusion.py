"""How particles were sorted: confusion matrices."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hydra_bench.report.figures.style import Picture, wrapped
from hydra_bench.report.results import EvaluatedRun
from hydra_bench.report.tables.rows import number

_PANEL_INCHES, _LARGEST_PANEL_INCHES = 2.3, 6.0
_MOST_PRINTED = 14
_TICK_INCHES, _TICK_HEIGHT_INCHES = 0.24, 0.15
"""What a number below a column takes of the width, and a species' name of the height."""


def confusion_matrices(runs: list[EvaluatedRun]) -> Picture:
    """One heat map a method: rows are species, columns the method's labels."""
    widest = max(run.clustering.n_labels for run in runs)
    n_columns = min(len(runs), 3 if widest <= 6 else 2 if widest <= 12 else 1)
    n_rows = math.ceil(len(runs) / n_columns)
    n_species = len(runs[0].class_names)
    # Many labels have a panel of their own row, nearly square.
    panel = min(max(_PANEL_INCHES, _TICK_INCHES * widest), _LARGEST_PANEL_INCHES)
    size = (1.2 + panel * n_columns, n_rows * (1.0 + min(0.42 * n_species, max(5, panel))))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in axes.flat[len(runs) :]:
        ax.set_axis_off()
    images = [draw_confusion(axes.flat[i], run, names=i % n_columns == 0) for i, run in enumerate(runs)]
    bar = figure.colorbar(images[-1], ax=axes, shrink=0.8 if n_rows == 1 else 0.5, pad=0.02)
    bar.set_label("share of the species", fontsize=8.5)
    bar.outline.set_visible(False)
    caption = (
        "Particles of each species (rows) by predicted label (columns); colour is the share of the row. Columns are "
        "ordered by the one-to-one match with species; labels with no match come last. Methods without classes "
        "are labelled by k-means on their latents; bounds whose labels are the truth are left out. "
        f"Seed {runs[0].seed}."
    )
    return Picture("confusion", "Confusion matrices", caption, figure)


def draw_confusion(ax: Axes, run: EvaluatedRun, names: bool) -> AxesImage:
    """A run's confusion matrix; `names`: with those of the species."""
    clustering = run.clustering
    order = run.label_order()
    counts = np.array(clustering.confusion)[:, order]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if counts.shape[1] <= _MOST_PRINTED:
        for (row, column), count in np.ndenumerate(counts):
            shade = "white" if shares[row, column] > 0.55 else "#333333"
            ax.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color=shade)
    ax.set_title(f"{wrapped(run.label, _PANEL_INCHES)}\nARI {number(clustering.ari)}")
    width, height = _inches(ax)
    short = [run.short_name(j + 1) for j in order]
    step = _every(len(order), width, _TICK_INCHES * max(1, max(map(len, short)) / 3))
    ax.set_xticks(range(0, len(order), step), short[::step])
    ax.set_xlabel("predicted label" if step == 1 else f"predicted label, one in {step} named")
    step = _every(len(counts), height, _TICK_HEIGHT_INCHES)
    shown = [(name if step > 1 else wrapped(name, 1.3)) if names else "" for name in run.class_names]
    ax.set_yticks(range(0, len(counts), step), shown[::step], fontsize=9 if len(counts) <= _MOST_PRINTED else 7.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def _every(count: int, room_inches: float, inches: float) -> int:
    """Each how-manieth of some ticks has room for its name."""
    return math.ceil(count * inches / room_inches) if count > _MOST_PRINTED else 1


def _inches(ax: Axes) -> tuple[float, float]:
    """Width and height of what a cell of the figure leaves to the picture, nearly: names and titles take the rest."""
    figure, cell = ax.get_figure(root=True), ax.get_subplotspec()
    assert figure is not None
    assert cell is not None
    grid, box = cell.get_gridspec(), ax.figure.bbox
    return (box.width / figure.dpi - 1.4) / grid.ncols, box.height / figure.dpi / grid.nrows - 0.9
