"""A consensus reconstruction, and latents, labels and maps of a method that took its poses as they are."""

from matplotlib.figure import Figure, SubFigure

from hydra_bench.report.figures.confusion import draw_confusion
from hydra_bench.report.figures.latents import draw_spaces, has_latents, mark_centres, scatter_species, species_legend
from hydra_bench.report.figures.rendered_maps import RenderedMaps, largest_with_map, scale_bar
from hydra_bench.report.figures.style import Picture, part_letter, wrapped
from hydra_bench.report.paper.shown_runs import ShownRuns
from hydra_bench.report.results import EvaluatedRun
from hydra_bench.report.tables.rows import number

_WIDTH, _TOP, _MAPS = 9.0, 3.3, 2.2
_MOST_MAPS = 6


def draw(shown: ShownRuns) -> list[Picture]:
    """A figure for each method that took the poses of another one here, which ended well too, where there are maps."""
    by_name = {run.method: run for run in shown.runs}
    pairs = [(by_name[run.poses_from], run) for run in shown.runs if run.poses_from in by_name]
    drawn = [(consensus, run, RenderedMaps([consensus, run])) for consensus, run in pairs]
    return [_picture(consensus, run, maps) for consensus, run, maps in drawn if maps.scenes]


def _picture(consensus: EvaluatedRun, run: EvaluatedRun, maps: RenderedMaps) -> Picture:
    """a: the consensus maps; b: the latents at its poses; c: labels against classes; d: maps."""
    figure = Figure(figsize=(_WIDTH, _TOP + _MAPS), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[_TOP, _MAPS], squeeze=False)[:, 0]
    parts = top.subfigures(1, 3, width_ratios=[0.8, 1.1, 1.1], squeeze=False)[0]
    for part, name in zip((*parts, bottom), "abcd", strict=True):
        part_letter(part, name)
    _draw_maps(parts[0], consensus, maps, across=False, most=2)
    _draw_latents(parts[1], run)
    draw_confusion(parts[2].subplots(), run, names=True)
    _draw_maps(bottom, run, maps, across=True, most=_MOST_MAPS)
    ari = number(consensus.clustering.ari)
    adjective = run.judge_adjective
    text = (
        f"a: what {consensus.label} makes of all images together (ARI {ari}). b: latents of {run.label}, which has its "
        f"poses, by {adjective} class{'' if run.noun == 'class' else ', with k-means centres (crosses)'}. c: its "
        f"labels against the {adjective} classes; colour is the share of a row. d: its maps. {maps.level_text} "
        f"Seed {run.seed}."
    )
    return Picture(f"fixed_poses_{run.method}", f"Poses of {consensus.label}, held", text, figure, run.method)


def _draw_maps(part: SubFigure, run: EvaluatedRun, maps: RenderedMaps, across: bool, most: int) -> None:
    """The largest maps of a run, side by side or one above the other."""
    sizes = run.clustering.label_sizes
    labels = sorted(largest_with_map(run, most))
    if not labels:
        part.text(0.5, 0.5, "no maps", ha="center", va="center", color="#777777")
        return
    axes = part.subplots(*((1, len(labels)) if across else (len(labels), 1)), squeeze=False)
    for ax, label in zip(axes.flat, labels, strict=True):
        maps.draw_label(ax, run, label)
        name = f"{run.noun} {label}" if len(sizes) > 1 else "all"
        ax.set_xlabel(f"{name}: {sizes[label - 1]:,} particles", fontsize=8)
    scale_bar(axes.flat[0], maps.radius_A)
    part.suptitle(wrapped(run.label, _WIDTH if across else _WIDTH / 4), fontsize=9, fontweight="bold")


def _draw_latents(part: SubFigure, run: EvaluatedRun) -> None:
    part.suptitle(wrapped(run.label, _WIDTH / 3), fontsize=9, fontweight="bold")
    if run.noun == "class" or not has_latents(run):
        draw_spaces(part, part.add_gridspec(1, 1)[0], run)
    else:
        ax = part.subplots()
        scatter_species(ax, run)
        mark_centres(ax, run)
    species_legend(part, run, 2, loc="outside lower center", fontsize=7.5)
