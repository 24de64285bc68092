"""A script of ChimeraX that opens the maps of an analysis at their levels, and records a movie along each component.

It names maps from its own folder, and is to be started there: `chimerax maps.cxc`. Commands are those of ChimeraX 1.3
and later: open with vseries, volume, vseries play, movie (ChimeraX user guide, "Commands").
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS, _RATE = 6, 25


@dataclass(frozen=True)
class Shown:
    """A map, or several that are one series along a component: their level, and a colour as #RRGGBB."""

    name: str
    maps: tuple[Path, ...]
    level: float
    colour: str


def script(folder: Path, shown: Sequence[Shown]) -> str:
    """The script's text, for maps that lie below or beside its folder."""
    lines = ["# Made by `hydra-bench analyse`. In this folder: chimerax maps.cxc", "set bgColor white", "lighting soft"]
    for number, entry in enumerate(shown, 1):
        names = " ".join(f'"{os.path.relpath(path, folder)}"' for path in entry.maps)
        series = " vseries true" if len(entry.maps) > 1 else ""
        lines += ["", f"# {entry.name}", f"open {names}{series} id {number}"]
        lines += [f"volume #{number} style surface step 1 level {entry.level:.6g} color {entry.colour}"]
        if series:
            lines += [f"hide #{number} models"]
    lines += ["view", "save maps.png width 1600 supersample 3"]
    for number, entry in enumerate(shown, 1):
        if len(entry.maps) > 1:
            movie = f"{entry.name.replace(' ', '_').replace(',', '')}.mp4"
            lines += ["", f"# The movie of {entry.name}", "hide models", f"show #{number} models", "view"]
            lines += ["movie record", f"vseries play #{number} direction oscillate loop true maxFrameRate 10"]
            lines += [f"wait {_SECONDS * _RATE}", f"vseries stop #{number}"]
            lines += [f"movie encode {movie} framerate {_RATE}"]
    series_numbers = [n for n, entry in enumerate(shown, 1) if len(entry.maps) > 1]
    if series_numbers:
        lines += ["", "show models", *(f"hide #{n} models" for n in series_numbers)]
    return "\n".join(lines) + "\n"
