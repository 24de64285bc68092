"""The usual workflow, one consensus reconstruction whose poses another method takes as they are: what it shows."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from hydra_bench.report.figures.clustering_figures import confusion, dot, scatter
from hydra_bench.report.figures.map_pictures import MapPictures, level_text, scale_bar, show
from hydra_bench.report.figures.style import MOST_SPECIES, Picture, species_colour, wrapped
from hydra_bench.report.paper.classes import latent_panels
from hydra_bench.report.paper.references import letter, mark_centres
from hydra_bench.report.paper.selection import Selection
from hydra_bench.report.results import Metrics
from hydra_bench.report.tables.rows import number

_WIDTH, _TOP, _MAPS = 9.0, 3.3, 2.2
_MOST_MAPS = 6


def fixed_poses(selection: Selection) -> list[Picture]:
    """A figure for each method that took the poses of another one here, which ended well too."""
    found = []
    for run in selection.runs:
        consensus = next((one for one in selection.runs if one.method == run.poses_from), None)
        if consensus is not None and (picture := draw(consensus, run, selection)) is not None:
            found.append(picture)
    return found


def draw(consensus: Metrics, run: Metrics, selection: Selection) -> Picture | None:
    """a: the consensus maps; b: the latents at its poses; c: labels against classes; d: maps. None without maps."""
    pictures = MapPictures([consensus, run], selection.results)
    if not pictures.drawable:
        return None
    figure = Figure(figsize=(_WIDTH, _TOP + _MAPS), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[_TOP, _MAPS])
    parts = top.subfigures(1, 3, width_ratios=[0.8, 1.1, 1.1])
    for part, name in zip((*parts, bottom), "abcd", strict=True):
        letter(part, name)
    _maps(parts[0], consensus, pictures, columns=1, most=2)
    _latents(parts[1], run)
    confusion(parts[2].subplots(), run, names=True)
    _maps(bottom, run, pictures, columns=_MOST_MAPS, most=_MOST_MAPS)
    ari = number(consensus["clustering"]["ari"])
    text = (
        f"a: what {consensus.label} makes of all images together (ARI {ari}). b: latents of {run.label}, which has its "
        f"poses, by {run.true} class{'' if run.noun == 'class' else ', with k-means centres (crosses)'}. c: its labels "
        f"against the {run.true} classes; colour is the share of a row. d: its maps. {level_text(pictures)} "
        f"Seed {run.seed}."
    )
    return Picture(f"fixed_poses_{run.method}", f"Poses of {consensus.label}, held", text, figure, run.method)


def _maps(part: object, run: Metrics, pictures: MapPictures, columns: int, most: int) -> None:
    """The largest maps of a run, side by side or one above the other."""
    sizes = run["clustering"]["label_sizes"]
    labels = sorted(sorted(run.labels_with_map(), key=lambda j: -sizes[j - 1])[:most])
    if not labels:
        part.text(0.5, 0.5, "no maps", ha="center", va="center", color="#777777")
        return
    axes = part.subplots(1 if columns > 1 else len(labels), min(columns, len(labels)), squeeze=False)
    for ax, label in zip(axes.flat, labels, strict=True):
        show(ax, pictures.of_label(run, label), pictures.window)
        name = f"{run.noun} {label}" if len(sizes) > 1 else "all"
        ax.set_xlabel(f"{name}: {sizes[label - 1]:,} particles", fontsize=8)
    scale_bar(axes.flat[0], pictures.radius_A)
    part.suptitle(wrapped(run.label, _WIDTH / 4 if columns == 1 else _WIDTH), fontsize=9, fontweight="bold")


def _latents(part: object, run: Metrics) -> None:
    latents = run.get("latents")
    part.suptitle(wrapped(run.label, _WIDTH / 3), fontsize=9, fontweight="bold")
    if not latents or not latents["columns"] or run.noun == "class":
        latent_panels(part, part.add_gridspec(1, 1)[0], run)
    else:
        ax = part.subplots()
        points, truth = np.array(latents["projection"]), np.array(run["true_classes"])
        scatter(ax, run, points, [species_colour(k) for k in truth])
        mark_centres(ax, run, points)
    handles = [dot(species_colour(k), name) for k, name in enumerate(run["class_names"][:MOST_SPECIES])]
    part.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 2), fontsize=7.5)
