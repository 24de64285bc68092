"""One method's maps, confusion matrix and FSC against the references; latents and maps of one without classes."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from hydra_bench.report.figures.class_maps import draw_row, draw_truth_row, row_panels
from hydra_bench.report.figures.confusion import draw_confusion
from hydra_bench.report.figures.fsc import QUANTILES_TEXT, draw_curve, draw_quantiles, dress_fsc_axes
from hydra_bench.report.figures.latents import mark_centres, scatter_species, species_legend
from hydra_bench.report.figures.method_lines import COLOURS, Line
from hydra_bench.report.figures.rendered_maps import RenderedMaps
from hydra_bench.report.figures.style import MOST_SPECIES, Picture, part_letter, species_colour, without_frame
from hydra_bench.report.paper.shown_runs import ShownRuns
from hydra_bench.report.results import EvaluatedRun

_WIDTH = 9.0
_MOST_CLUSTERS = 6


def draw(shown: ShownRuns) -> Picture | None:
    """a: class maps above the reference; b: confusion matrix; c: FSC; d: latents of the clustered method and maps."""
    run, clustered = shown.main, shown.clustered
    maps = RenderedMaps([run] if clustered is None else [run, clustered])
    if not maps.scenes:
        return None
    n_columns = max([len(maps.species)] + [1 + panel.column for panel in row_panels(run, len(maps.species))])
    maps_height = 2 * (_WIDTH / max(n_columns, 5) * maps.aspect + 0.4)
    heights = [maps_height, 3.2] if clustered is None else [maps_height, 3.2, 3.4]
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_maps(parts[0], run, maps, n_columns)
    left, right = parts[1].subfigures(1, 2, squeeze=False)[0]
    if run.sorted_by_itself:
        draw_confusion(left.subplots(), run, names=True)
    else:
        left.text(0.5, 0.5, "labels are the truth", ha="center", va="center", color="#777777")
    _draw_fsc(right.subplots(), run, maps.species)
    for part, name in ((parts[0], "a"), (left, "b"), (right, "c")):
        part_letter(part, name)
    adjective = run.judge_adjective
    text = (
        f"a: maps of {run.label} above the {adjective} ones. {maps.level_text} b: its labels against "
        f"the {adjective} labels; colour is the share of a row. c: Fourier shell correlation with the {adjective} map, "
        + _of_species(run)
    )
    if clustered is not None:
        part_letter(parts[2], "d")
        _draw_clusters(parts[2], clustered, maps)
        text += (
            f" d: latents of {clustered.label} by {adjective} class with k-means centres (crosses), and the maps of "
            "the clusters."
        )
    return Picture("fig3", "Classes against references", f"{text} Seed {run.seed}.", figure)


def _of_species(run: EvaluatedRun) -> str:
    """What curves of species part c shows."""
    if run.metrics.fsc and len(run.fsc.per_class) > MOST_SPECIES:
        return f"mean over the evaluated particles of each species. {QUANTILES_TEXT}"
    return "mean over the evaluated particles of a species, band ± 1 sd."


def _draw_maps(part: SubFigure, run: EvaluatedRun, maps: RenderedMaps, n_columns: int) -> None:
    axes = part.subplots(2, n_columns, squeeze=False)
    for ax in axes.flat:
        without_frame(ax)
    draw_row(axes[0], run, row_panels(run, len(maps.species)), maps)
    draw_truth_row(axes[1], run, maps)


def _draw_fsc(ax: Axes, run: EvaluatedRun, species: list[str]) -> None:
    if not run.metrics.fsc:
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no reference maps, no FSC", ha="center", va="center", color="#777777")
        return
    if len(run.fsc.per_class) > MOST_SPECIES:
        draw_quantiles(ax, run, COLOURS[0])
        dress_fsc_axes(ax, run.fsc.frequency_per_A, "")
        ax.set_ylabel("FSC")
        return
    for k, name in enumerate(species):
        draw_curve(ax, run, name, Line(species_colour(k)))
    dress_fsc_axes(ax, run.fsc.frequency_per_A, "")
    ax.set_ylabel("FSC")
    found = {entry.class_name: entry.resolution_0_5_A for entry in run.fsc.per_class}
    handles = [
        Line2D([], [], color=species_colour(k), label=f"{name}: {found[name]:.1f} Å" if found[name] else name)
        for k, name in enumerate(species)
        if name in found
    ]
    ax.figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7.5, title="resolution at 0.5")


def _draw_clusters(part: SubFigure, run: EvaluatedRun, maps: RenderedMaps) -> None:
    """Latents with centres at the left, the clusters' maps at the right."""
    left, right = part.subfigures(1, 2, width_ratios=[1, 1.3], squeeze=False)[0]
    ax = left.subplots()
    scatter_species(ax, run)
    mark_centres(ax, run)
    species_legend(left, run, 3, loc="outside lower center", fontsize=7.5)
    ax.set_title(run.label)
    sizes = run.clustering.label_sizes
    labels = [label for label in range(1, len(sizes) + 1) if run.shown_map(label) is not None][:_MOST_CLUSTERS]
    if not labels:
        return
    for map_ax, label in zip(right.subplots(1, len(labels), squeeze=False)[0], labels, strict=True):
        maps.draw_label(map_ax, run, label)
        map_ax.set_xlabel(f"cluster {label}: {sizes[label - 1]:,}\nparticles", fontsize=8)
