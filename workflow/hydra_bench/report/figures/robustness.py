"""What breaks which method: a heat map of a study of troubles."""

from matplotlib.figure import Figure

from hydra_bench.report.figures.style import Picture, wrapped
from hydra_bench.report.tables.robustness import LEGEND, Study

_CELL_INCHES, _ROW_INCHES = 0.78, 0.52
_LABEL_INCHES = 1.9
_NO_NUMBER = "#E4E4E4"


def heat_map(study: Study, number: int) -> Picture:
    """Rows are methods, columns datasets; `number` is the study's among all of a report, from 1."""
    n_columns, n_rows = len(study.columns), len(study.rows)
    size = (_LABEL_INCHES + _CELL_INCHES * n_columns + 0.9, 1.3 + _ROW_INCHES * n_rows)
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    ax.set_facecolor(_NO_NUMBER)  # what is seen where there is no number
    shown = [[float("nan") if cell.shown is None else cell.shown for cell in row.cells] for row in study.rows]
    image = ax.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for r, row in enumerate(study.rows):
        for c, cell in enumerate(row.cells):
            text = "\n".join([cell.text.replace(" ", "\n"), *([cell.share_text] if cell.share_text else [])])
            shade = "white" if (cell.shown or 0) > 0.55 else "#333333"
            ax.text(c, r, text, ha="center", va="center", fontsize=7.5, color=shade)
    ax.set_xticks(range(n_columns), [wrapped(column.name, 0.95) for column in study.columns], rotation=40, ha="left")
    ax.xaxis.tick_top()
    ax.set_yticks(range(n_rows), [wrapped(row.label, _LABEL_INCHES) for row in study.rows])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, shrink=0.9, pad=0.02)
    bar.set_label("ARI", fontsize=8.5)
    bar.outline.set_visible(False)
    caption = f"Methods (rows) on images of the same species with one trouble each (columns). {LEGEND}"
    return Picture(f"robustness_{number}", "What breaks which method", caption, figure)
