"""A figure of the paper from the runs of one dataset to files."""

from importlib import import_module
from pathlib import Path

from matplotlib.figure import Figure

from hydra_bench.core.files import write_text
from hydra_bench.report.figures.style import Picture, report_style, save
from hydra_bench.report.paper.catalogue import SUPPLEMENT, paper_figures
from hydra_bench.report.paper.shown_runs import ShownRuns


def write_figure(name: str, shown: ShownRuns, out: Path) -> None:
    """Write a figure as out.svg, out.png and its caption as out.txt; the supplement's, with their names, into `out`.

    A figure that these runs cannot give says so in its place.
    """
    modules = [import_module(f"{__package__}.{module}") for module in paper_figures()[name]]
    with report_style():
        for module in modules:
            if name == SUPPLEMENT:
                out.mkdir(parents=True, exist_ok=True)  # there may be nothing to draw
                for picture in module.draw(shown):
                    _write(picture, out / picture.name)
            else:
                _write(module.draw(shown) or _nothing(name, shown.main.dataset), out)


def _write(picture: Picture, stem: Path) -> None:
    save(picture.figure, stem)
    write_text(stem.with_name(f"{stem.name}.txt"), f"{picture.title}. {picture.caption}\n")


def _nothing(name: str, dataset: str) -> Picture:
    figure = Figure(figsize=(5, 1.2))
    text = f"{name} shows maps and latents; the runs on {dataset} have none."
    figure.text(0.5, 0.5, text, ha="center", va="center", color="#666666")
    return Picture(name, "Nothing to show", text, figure)
