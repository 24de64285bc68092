"""Draw docs/images/architecture.svg and the table of rooms in docs/explanation/architecture.md, from the code itself.

`python docs/architecture.py` writes both; with `--check` it exits with 1, and says so, if one is not up to date.

The rooms and their order are those of the contract "Imports only go down" in pyproject.toml, which import-linter holds
the code to; what a room is for is its docstring; the arcs are the imports that Grimp finds in the code.
"""

import sys
import tomllib
from collections import Counter
from html import escape
from importlib import import_module
from math import log2
from pathlib import Path

import grimp

PACKAGE = "hydra_bench"
CLONE = Path(__file__).resolve().parents[1]
PAGE, PICTURE = CLONE / "docs" / "explanation" / "architecture.md", CLONE / "docs" / "images" / "architecture.svg"
BEGIN, END = "<!-- rooms: made by `make generated` -->\n", "<!-- end of rooms -->\n"

ROW_PX, TOP_PX, LEFT_PX, SPINE_PX, WIDTH_PX = 58, 46, 14, 520, 900
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288", "#882255", "#6A6A6A")


def layers() -> list[list[str]]:
    """The rooms of each layer, the top one first."""
    contracts = tomllib.loads((CLONE / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (found for found in contracts if found["type"] == "layers")
    return [[room.strip() for room in layer.split("|")] for layer in contract["layers"]]


def purpose(room: str) -> str:
    """What a room is for: the first paragraph of its docstring."""
    text = import_module(f"{PACKAGE}.{room}").__doc__
    if not text:
        raise SystemExit(f"{PACKAGE}/{room}/__init__.py: lacks a docstring that says what lives there")
    return " ".join(text.split("\n\n")[0].split())


def imports_between(rooms: list[str]) -> Counter[tuple[str, str]]:
    """How many imports lead from modules of one room to modules of another."""
    graph, found = grimp.build_graph(PACKAGE), Counter()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            ends = tuple([*name.split("."), ""][1] for name in (module, imported))
            if ends[0] != ends[1] and set(ends) <= set(rooms):
                found[ends] += 1
    return found


def picture() -> str:
    """The rooms on a line from top to bottom, and an arc downwards for each room that another imports."""
    rows = [(room, number) for number, layer in enumerate(layers()) for room in layer]
    heights = {room: TOP_PX + ROW_PX * row for row, (room, _) in enumerate(rows)}
    colours = {room: COLOURS[row % len(COLOURS)] for row, (room, _) in enumerate(rows)}
    height = TOP_PX + ROW_PX * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH_PX}" height="{height}" fill="white"/>',
        f'<text x="{LEFT_PX}" y="18" font-size="13" fill="#444">Rooms of {PACKAGE}, and what each imports: '
        "arcs go down, thicker ones stand for more imports</text>",
    ]
    for (upper, lower), count in sorted(imports_between([room for room, _ in rows]).items()):
        top, bottom = heights[upper], heights[lower]
        reach = SPINE_PX + 40 + 0.55 * abs(bottom - top)
        parts.append(
            f'<path d="M{SPINE_PX} {top} C{reach:.0f} {top} {reach:.0f} {bottom} {SPINE_PX} {bottom}" fill="none" '
            f'stroke="{colours[upper]}" stroke-width="{0.8 + 0.7 * log2(count):.1f}" stroke-opacity="0.7">'
            f"<title>{upper} imports {lower}: {count}</title></path>"
        )
    for row, (room, layer) in enumerate(rows):
        y = heights[room]
        if row and rows[row - 1][1] != layer:
            line = y - 24
            parts.append(f'<path d="M{LEFT_PX} {line} H{SPINE_PX}" stroke="#ccc" stroke-dasharray="3 3"/>')
        parts.append(f'<circle cx="{SPINE_PX}" cy="{y}" r="6" fill="{colours[room]}"/>')
        parts.append(f'<text x="{LEFT_PX}" y="{y - 3}" font-size="15" font-weight="bold">{room}/</text>')
        lines = _wrapped(purpose(room), 78)
        parts += [
            f'<text x="{LEFT_PX}" y="{y + 12 + 13 * number}" font-size="11" fill="#333">{escape(line)}</text>'
            for number, line in enumerate(lines[:2])
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def table() -> str:
    """One row a room: its name, what it is for, and which rooms it imports."""
    rooms = [room for layer in layers() for room in layer]
    found = imports_between(rooms)
    rows = ["| room | what lives there | imports |", "|---|---|---|"]
    for room in rooms:
        used = [other for other in rooms if found[room, other]]
        link = f"[`{room}/`](../../workflow/{PACKAGE}/{room})"
        rows.append(f"| {link} | {purpose(room)} | {', '.join(used) or 'none'} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    text = PAGE.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE}: lacks the lines {BEGIN.strip()} and {END.strip()}")
    wanted = {PAGE: f"{head}{BEGIN}\n{table()}\n{END}{tail}", PICTURE: picture()}
    stale = [path for path, content in wanted.items() if not path.is_file() or path.read_text() != content]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(CLONE)}: not what the code says; run `make generated`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
