"""A figure of the paper by its name, from the runs of one dataset to files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from matplotlib.figure import Figure

from hydra_bench.core.files import write_text
from hydra_bench.report.figures.style import Picture, report_style, save
from hydra_bench.report.paper import classes, conformations, overview, references, supplement
from hydra_bench.report.paper.selection import Selection, select
from hydra_bench.report.results import read_all

FIGURES: dict[str, Callable[[Selection], Picture | None]] = {
    "fig1": overview.draw,
    "fig2": classes.draw,
    "fig3": references.draw,
    "fig4": conformations.draw,
}
SUPPLEMENT = "figs"


def draw_figure(
    name: str, metric_paths: Iterable[Path | str], results: Path, dataset: str, main_method: str | None, out: Path
) -> None:
    """Write a figure as out.svg, out.png and its caption as out.txt; the supplement's, with their names, into `out`.

    A figure that these runs cannot give says so in its place. Raises InputError: see `select`.
    """
    selection = select(read_all(metric_paths), results, dataset, main_method)
    with report_style():
        if name == SUPPLEMENT:
            for picture in supplement.draw(selection):
                _write(picture, out / picture.name)
            return
        _write(FIGURES[name](selection) or _nothing(name, dataset), out)


def _write(picture: Picture, stem: Path) -> None:
    save(picture.figure, stem)
    write_text(stem.with_name(f"{stem.name}.txt"), f"{picture.title}. {picture.caption}\n")


def _nothing(name: str, dataset: str) -> Picture:
    figure = Figure(figsize=(5, 1.2))
    text = f"{name} shows maps and latents; the runs on {dataset} have none."
    figure.text(0.5, 0.5, text, ha="center", va="center", color="#666666")
    return Picture(name, "Nothing to show", text, figure)
