"""The colour, dashes and marker of every method: the same in every figure and report, whatever else is shown.

A method's colour follows from its name alone, so that no other method, and no order, can change it:

- Names in KNOWN, those of the presets, keep their order there: the first eight the eight colours and solid
  lines, the next eight the same colours dashed. The list only grows, and only at its end.
- Any other name has the colour, dashes and marker that its SHA-256 chooses; dashes are none of those of known names.
  Two names of one report that choose the same of all three are told apart by the next dashes and markers; the colour
  stays.
- Bounds are grey, by the same rules.

The colours are six of Okabe and Ito's with two of Tol's, told apart by colour-blind readers: simulated for protanopes,
deuteranopes and tritanopes, any two are at least 10 apart (CIEDE2000), which a test holds.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hydra_bench.report.figures.style import Colour, Look
from hydra_bench.report.results import EvaluatedRun

Dashes = str | tuple[int, tuple[float, ...]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#882255")
GREYS = ("#222222", "#6A6A6A", "#A0A0A0")
_FIRST_KNOWN = ("hydra_k3", "hydra_k1", "hydra_k5", "cryodrgn2", "cryosparc", "drgnai", "cryodrgn_consensus", "relion")
_NEXT_KNOWN = ("hydra_k2", "hydra_k4", "hydra_ribosplike", "hydra_experimental", "consensus", "cryodrgn_fixed")
KNOWN = _FIRST_KNOWN + _NEXT_KNOWN
_FIRST_BOUNDS = ("oracle", "shuffled", "known_poses", "ceiling", "other_species", "noise", "class_bound")
_NEXT_BOUNDS = ("class_bound_stack", "cryodrgn_true_poses", "hydra_true_poses", "single_map")
KNOWN_BOUNDS = _FIRST_BOUNDS + _NEXT_BOUNDS
_OF_KNOWN: tuple[Dashes, ...] = ("-", "--")
_OF_BOUNDS: tuple[Dashes, ...] = ("--", ":", "-.", (0, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0)))
_OF_OTHERS: tuple[Dashes, ...] = ("-.", (0, (1.0, 1.1)), (0, (5.0, 1.2, 1.0, 1.2, 1.0, 1.2)), (0, (7.0, 3.0)))
MARKERS = {
    "o": "circle",
    "s": "square",
    "D": "diamond",
    "^": "triangle-up",
    "p": "pentagon",
    "*": "star",
    "v": "triangle-down",
    "P": "cross",
}
"""Matplotlib's names, and plotly's."""


@dataclass(frozen=True)
class Line:
    """How one method is drawn everywhere; `marked`: with its marker on lines too."""

    colour: Colour
    style: Dashes = "-"
    marker: str = "o"
    marked: bool = False

    @property
    def look(self) -> Look:
        """What matplotlib takes for a line."""
        marks: Look = {"marker": self.marker, "markersize": 4.5, "markevery": 0.12} if self.marked else {}
        return {"color": self.colour, "linestyle": self.style} | marks


def method_lines(runs: list[EvaluatedRun]) -> dict[str, Line]:
    """A line for each method of a report."""
    bounds = {run.method for run in runs if run.metrics.reads_truth}
    competitors = {run.method for run in runs} - bounds
    return lines_of(competitors) | lines_of(bounds, bounds=True)


def method_legend(figure: Figure, runs: list[EvaluatedRun], lines: dict[str, Line]) -> None:
    """A legend of the methods of some runs, below the figure."""
    labels = {run.method: run.label for run in runs}
    handles = [Line2D([], [], label=label, **lines[method].look) for method, label in labels.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4))


def lines_of(names: Iterable[str], bounds: bool = False) -> dict[str, Line]:
    """Lines of methods by their names."""
    colours, known, dashes = (GREYS, KNOWN_BOUNDS, _OF_BOUNDS) if bounds else (COLOURS, KNOWN, _OF_KNOWN)
    found: dict[str, Line] = {}
    for name in sorted(names):
        if name in known:
            turn, colour = divmod(known.index(name), len(colours))
            number = known.index(name) if bounds else colour + 4 * turn
            marker = list(MARKERS)[number % len(MARKERS)]
            style = dashes[(colour + turn) % len(dashes)] if bounds else dashes[turn]
            found[name] = Line(colours[colour], style, marker, marked=turn > 0)
        else:
            found[name] = _chosen(name, colours, set(found.values()))
    return found


def _chosen(name: str, colours: tuple[str, ...], taken: set[Line]) -> Line:
    """The line that a name's checksum chooses; of one colour, the next dashes and marker that are not taken."""
    number, colour = divmod(int(hashlib.sha256(name.encode()).hexdigest(), 16), len(colours))
    looks = list(product(_OF_OTHERS, MARKERS))
    first = number % len(looks)
    lines = [Line(colours[colour], *look, marked=True) for look in looks[first:] + looks[:first]]
    return next((line for line in lines if line not in taken), lines[0])
