"""What the particles of a dataset look like: a few of each species, and true projections above them."""

from pathlib import Path

import mrcfile
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from scipy.ndimage import gaussian_filter

from hydra_bench.contracts.stack import Stack, read_stack
from hydra_bench.contracts.truth import Truth, read_truth
from hydra_bench.core.files import atomic
from hydra_bench.core.mrc import read_map
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.physics.fourier import fft_centred, frequency_radius, ifft_centred
from hydra_bench.physics.projection import project
from hydra_bench.physics.rotations import random_rotations
from hydra_bench.report.figures.style import MOST_SPECIES, Look, Picture, report_style, species_colour, without_frame
from hydra_bench.report.results import EvaluatedRun, dataset_places

_EXAMPLES = 6
_SMOOTHING_A = 10.0
_GREY_PERCENTILES = (0.3, 99.7)
_GAP = 0.06
_SHOWN = 4
_SMOOTH_TO_A = 25.0
_SIDE_INCHES, _TITLES_INCHES = 0.85, 0.25


def particle_images(run: EvaluatedRun) -> Picture | None:
    """A few images of each species, raw and smoothed. None where the stack is missing."""
    path = dataset_places(run).images
    if not path.is_file():
        return None
    pixel, names = run.pixel_size_A, run.class_names[:MOST_SPECIES]
    truth = np.array(run.true_classes)
    with mrcfile.mmap(path, mode="r", permissive=False) as mrc:
        chosen = [np.array(mrc.data[np.flatnonzero(truth == k)[:_EXAMPLES]]) for k in range(len(names))]
    figure = Figure(figsize=(7.2, 2.75 * len(names)), layout="constrained")
    axes = figure.subplots(2 * len(names), 1)
    for k, (images, name) in enumerate(zip(chosen, names, strict=True)):
        smooth = [gaussian_filter(image, _SMOOTHING_A / pixel) for image in images]
        _strip(axes[2 * k], list(images), f"{name}, raw")
        _strip(axes[2 * k + 1], smooth, f"{name}, smoothed")
    _scale_bar(axes[0], run.box_px, pixel)
    caption = (
        f"The first {_EXAMPLES} particle images of each species as methods see them, and smoothed by a Gaussian of "
        f"σ = {_SMOOTHING_A:g} Å to show the particle. Grey scale: percentiles {_GREY_PERCENTILES[0]:g} to "
        f"{_GREY_PERCENTILES[1]:g} of each image. Box {run.box_px} px of "
        f"{pixel:g} Å."
    )
    return Picture("particles", "Particle images", caption, figure)


def _strip(ax: Axes, images: list[np.ndarray], name: str) -> None:
    """Images side by side, each on its own grey scale, as one picture: an axes an image would be slow."""
    without_frame(ax).set_title(name)
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


def write_gallery(stack_star: Path | str, truth_folder: Path | str, out_png: Path | str) -> None:
    """Draw the gallery of a dataset. Raises InputError: see read_stack and read_truth."""
    stack = read_stack(stack_star)
    truth = read_truth(truth_folder)
    names = truth.class_names[:MOST_SPECIES]
    columns = 3 * _SHOWN
    with report_style():
        height = 0.45 + _SIDE_INCHES * len(names)
        figure = Figure(figsize=(1.2 + _SIDE_INCHES * columns, height), layout="constrained")
        # Titles are wider than their column, which the layout would widen for them: they get a strip of their own.
        figure.set_layout_engine(ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - _TITLES_INCHES / height)))
        axes = figure.subplots(len(names), columns, squeeze=False)
        for k, row in enumerate(axes):
            members = np.flatnonzero(truth.classes == k)
            chosen = np.sort(np.random.default_rng([k, 0]).permutation(members)[:_SHOWN])
            _draw_row(row, stack, truth, k, chosen)
            text = f"{names[k]}\n{len(members):,}"
            row[0].set_ylabel(text, color=species_colour(k), rotation=0, ha="right", va="center")
        views = "true map in the particles' views" if truth.rotations is not None else "reference map, views at random"
        titles = (views, "particles, as methods get them", f"the same, smoothed to {_SMOOTH_TO_A:g} Å")
        above: Look = {"xycoords": "axes fraction", "xytext": (0, 4), "textcoords": "offset points"}
        for ax, title in zip(axes[0, ::_SHOWN], titles, strict=True):
            ax.annotate(title, (0, 1), **above, fontsize=8, in_layout=False)
        with atomic(out_png) as temporary:
            figure.savefig(temporary, metadata={"Software": None})


def _draw_row(row: np.ndarray, stack: Stack, truth: Truth, k: int, chosen: IntArray) -> None:
    for ax in row:
        without_frame(ax)
    if not len(chosen):
        return
    images = torch.from_numpy(stack.read_images(chosen))
    cut = frequency_radius(stack.box_px, 2) < stack.box_px * stack.pixel_size_A / _SMOOTH_TO_A
    smooth = ifft_centred(fft_centred(images, 2) * cut, 2).real
    for i in range(len(chosen)):
        if truth.has_map(k):
            _show(row[i], _view(truth, k, int(chosen[i]), i))
        _show(row[_SHOWN + i], images[i].numpy())
        _show(row[2 * _SHOWN + i], smooth[i].numpy())


def _view(truth: Truth, k: int, particle: int, i: int) -> FloatArray:
    """The projection of a particle's own map in its view, or of its class's in some view."""
    if truth.rotations is None:
        rotation = random_rotations(_SHOWN, np.random.default_rng(0))[[i]]
    else:
        rotation = truth.rotations[[particle]]
    volume = torch.from_numpy(read_map(truth.particle_volume_path(particle))[0])
    view: FloatArray = project(volume, torch.from_numpy(rotation))[0].numpy()
    return view


def _show(ax: Axes, image: FloatArray) -> None:
    low, high = np.percentile(image, [0.5, 99.5])
    ax.imshow(image, cmap="gray", origin="lower", vmin=low, vmax=high)
