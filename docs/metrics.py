"""Write the tables of docs/reference/metrics.md from the contract of the metrics file: `python docs/metrics.py`.

With `--check` nothing is written; it exits with 1, and says so, if the page is not up to date.
"""

import re
import sys
from functools import reduce
from operator import or_
from pathlib import Path
from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from hydra_bench.contracts.measures import Measure, keys
from hydra_bench.contracts.metrics_file import MEASURES, MetricsFile

PAGE = Path(__file__).parent / "reference" / "metrics.md"
OVER = {"seeds": "mean ± sd over seeds", "images": "mean ± sd over images of all seeds", "cost": "mean over seeds"}
NAMES = {
    "float": "number",
    "int": "whole number",
    "str": "text",
    "bool": "true or false",
    "None": "null",
    "Any": "anything",
}


def measure_row(measure: Measure) -> list[str]:
    better = "more" if measure.more_is_better else "less"
    return [measure.name, f"`{measure.key}`", better, OVER[measure.over], ", ".join(measure.shown), measure.meaning]


def plain(annotation: object) -> object:
    """A type without what is said beside it, such as a pattern."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return plain(arguments[0])
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        return reduce(or_, (plain(argument) for argument in arguments))
    return list[plain(arguments[0])] if get_origin(annotation) is list else annotation


def type_text(annotation: object) -> str:
    """A type as it stands in JSON."""
    annotation = plain(annotation)
    text = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    text = re.sub(r"typing\.|hydra_bench\.contracts\.\w+\.", "", text)
    words = text.replace("[", " of ").replace("]", "").replace("|", "or").replace(",", " to").split()
    return " ".join(NAMES.get(word, "mapping" if word[0].isupper() or word == "dict" else word) for word in words)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def with_tables(text: str) -> str:
    """The page with its tables anew."""
    key_rows = [
        [f"`{key}`", type_text(field.annotation), " ".join((field.description or "").split())]
        for key, field in keys(MetricsFile)
    ]
    tables = {
        "measures": table(
            ["Measure", "Key", "Better", "A row of the table", "Shown in", "Meaning"], [*map(measure_row, MEASURES)]
        ),
        "keys": table(["Key", "Type", "Meaning"], key_rows),
    }
    for name, made in tables.items():
        begin, end = f"<!-- {name}: made by `make generated` -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = before + begin + made + "\n" + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    wanted = with_tables(PAGE.read_text())
    if "--check" not in sys.argv:
        PAGE.write_text(wanted)
    elif PAGE.read_text() != wanted:
        sys.exit("docs/reference/metrics.md is not up to date; run `make generated`")
