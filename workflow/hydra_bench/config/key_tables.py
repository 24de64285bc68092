"""The tables of keys that docs/reference/configuration.md ends with, made from the schemas: `make generated`."""

import sys
from pathlib import Path

from hydra_bench.config.configuration import SCHEMA_PATH
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import write_text
from hydra_bench.core.schema import markdown_table
from hydra_bench.core.yaml_files import read_schema
from hydra_bench.methods.cards import parameter_schema, programs

_TABLE_MARK = "<!-- Below this line: made by `make generated` from the schemas. -->\n"


def key_tables() -> str:
    """Markdown tables of every key of the configuration and of every program's parameters."""
    parts = ["## Keys\n", markdown_table(read_schema(SCHEMA_PATH))]
    for program in programs():
        table = markdown_table(parameter_schema(program), "method_definitions.<name>.parameters")
        parts += [f"## Parameters of the program `{program}`\n", table]
    return "\n".join(parts)


def write_key_tables(page: Path) -> None:
    """Replace what follows the mark in a page by the tables of keys. Raises InputError without a mark."""
    head, mark, _ = page.read_text().partition(_TABLE_MARK)
    if not mark:
        raise InputError(f"{page}: lacks the line {_TABLE_MARK.strip()}")
    write_text(page, f"{head}{mark}\n{key_tables()}")


if __name__ == "__main__":
    write_key_tables(Path(sys.argv[1]))
