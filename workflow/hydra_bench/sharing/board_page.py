"""The board as one static page, with its rows inside and filters that need no server."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hydra_bench import __version__
from hydra_bench.core.files import write_text
from hydra_bench.core.json_values import JsonObject
from hydra_bench.sharing.board import ROWS, SHOWN, file_name, read_rows

COLUMNS = tuple(measure for measure in SHOWN if "table" in measure.shown)


def write_page(board: Path) -> Path:
    """Write index.html from the rows of a board, and return its path. Raises InputError: see read_rows."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    rows = read_rows(board)
    datasets = {row["dataset"]["identity"]: row["dataset"]["name"] for row in rows}
    text = environment.get_template("board.html.jinja").render(
        rows=[(row, f"{ROWS}/{file_name(row)}") for row in rows],
        columns=COLUMNS,
        datasets=datasets,
        interval=interval_text,
        version=__version__,
    )
    page = board / "index.html"
    write_text(page, text)
    return page


def interval_text(score: JsonObject) -> str:
    """A score and its interval: 0.883 [0.870, 0.896]."""
    ends = "" if None in (score["low"], score["high"]) else f" [{score['low']:.3f}, {score['high']:.3f}]"
    return f"{score['mean']:.3f}{ends}"
