"""How figures look, and how they are written: the same bytes for the same content."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, FigureBase

from hydra_bench.core.files import atomic

# Okabe and Ito's colours, told apart by colour-blind readers. Methods (method_lines.py) and species start at different
# ends, so that a figure rarely holds one colour with two meanings.
_SPECIES = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#B8A800", "#666666")
Colour: TypeAlias = str | tuple[float, float, float]
Look: TypeAlias = dict[str, Any]  # keywords of matplotlib, of many types
"""Keyword arguments for matplotlib, each kind of artist with names of its own."""
EXTRA_COLOUR = "#999999"
MOST_SPECIES = 12
"""That figures show a panel each of; the page shows all."""

_DPI = 160
# Any, since to mypy these keys are a literal of all the names that matplotlib knows.
_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "hydra-bench",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "legend.frameon": False,
    "text.parse_math": False,  # labels are plain text, of which a $ may be a part
    "legend.fontsize": 8.5,
    "figure.dpi": _DPI,
    "savefig.dpi": _DPI,
}


@dataclass(frozen=True)
class Picture:
    """A figure and what the page says of it. `method` is the key of the one method that it shows, if one.

    interactive: the page has a chart of its own in this figure's place.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    method: str | None = None
    interactive: bool = False


@contextmanager
def report_style() -> Iterator[None]:
    """The settings that figures must be made and written under; the caller's own come back after."""
    with mpl.rc_context():
        mpl.rcdefaults()
        with mpl.rc_context(_SETTINGS):
            yield


def wrapped(text: str, width_inches: float, size_pt: float = 9.0) -> str:
    """Text in lines that fit a width; letters are about 0.6 of the font's size wide."""
    return textwrap.fill(text, max(int(width_inches * 72 / (0.6 * size_pt)), 8))


def species_colour(k: int) -> tuple[float, float, float]:
    """The colour of true class k; from the ninth on the eight come back darker, then lighter."""
    colour, turn = to_rgb(_SPECIES[k % len(_SPECIES)]), k // len(_SPECIES)
    if turn == 0:
        return colour
    towards, share = (0.0, 0.4) if turn % 2 else (1.0, 0.5)
    red, green, blue = ((1 - share) * c + share * towards for c in colour)
    return red, green, blue


def without_frame(ax: Axes) -> Axes:
    """Axes without ticks and spines."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def part_letter(part: FigureBase, letter: str) -> None:
    """The letter of a part of a figure, bold in its upper left corner."""
    part.text(0.002, 0.995, letter, fontweight="bold", fontsize=12, va="top")


def save(figure: Figure, stem: Path) -> None:
    """Write stem.svg and stem.png without a date or a program's name."""
    # Pictures of fixed aspect change the room that labels have, so the layout is found in two passes: here, and as the
    # first file is drawn. It holds for the second. Figure.savefig would draw each file twice.
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
    with atomic(stem.with_name(f"{stem.name}.svg")) as temporary:
        svg = FigureCanvasSVG(figure)
        svg.print_svg(temporary, metadata={"Date": None, "Creator": None})  # type: ignore[no-untyped-call]
    figure.set_layout_engine("none")
    figure.dpi = _DPI  # an SVG's is left there
    with atomic(stem.with_name(f"{stem.name}.png")) as temporary:
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})  # type: ignore[no-untyped-call]
