"""Maps of every method's classes with particle counts, latents beside them, the truth below; empty classes as empty."""

from matplotlib.figure import Figure

from hydra_bench.report.figures.class_maps import caption, draw_row, draw_truth_row, row_panels
from hydra_bench.report.figures.latents import draw_spaces, species_legend
from hydra_bench.report.figures.rendered_maps import RenderedMaps, scale_bar
from hydra_bench.report.figures.style import Picture, without_frame
from hydra_bench.report.paper.shown_runs import ShownRuns

_SIDE, _LATENTS = 1.5, 2.6


def draw(shown: ShownRuns) -> Picture | None:
    """Rows: methods that compete; columns: species, then surplus classes; at the right the latents."""
    maps = RenderedMaps(shown.competitors)
    if not maps.scenes:
        return None
    n_species = len(maps.species)
    rows = [(run, row_panels(run, n_species)) for run in shown.competitors]
    n_columns = max([n_species] + [1 + panel.column for _, panels in rows for panel in panels])
    height = max(_SIDE * maps.aspect + 0.35, 1.55)
    size = (_SIDE * n_columns + _LATENTS + 0.4, height * (len(rows) + 1) + 0.25)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(len(rows) + 1, n_columns + 1, width_ratios=[_SIDE] * n_columns + [_LATENTS])
    for r, (run, panels) in enumerate(rows):
        axes = [without_frame(figure.add_subplot(grid[r, column])) for column in range(n_columns)]
        draw_row(axes, run, panels, maps)
        draw_spaces(figure, grid[r, n_columns], run)
    axes = [without_frame(figure.add_subplot(grid[len(rows), column])) for column in range(n_species)]
    draw_truth_row(axes, shown.main, maps)
    drawn = next((ax for ax in figure.axes if ax.images), None)
    if drawn is not None:
        scale_bar(drawn, maps.radius_A)
    legend = without_frame(figure.add_subplot(grid[len(rows), n_columns]))
    true = shown.main.judge_adjective
    species_legend(legend, shown.main, 1 if n_species <= 6 else 2, loc="center", title=f"{true} class")
    spaces = f"Right: latent coordinates by {true} class, one space for each class that has its own."
    text = f"{caption(shown.competitors, maps)} {spaces}"
    return Picture("fig2", "Classes found, and their latents", text, figure)
