"""Write docs/reference/commands.md from the command line's own options: `python docs/commands.py`."""

from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

from hydra_bench.cli.main import build_parser

PAGE = Path(__file__).parent / "reference" / "commands.md"
HEAD = """# Commands

Each step of the workflow is a command, and so is what is done by hand. `hydra-bench COMMAND --help` says the same.
`hydra-bench` ends with 0; with 2 and one line on standard error where an input is wrong.

<!-- Made by `make generated` from the commands' options. -->
"""


def commands(parser: ArgumentParser, name: str) -> Iterator[tuple[str, ArgumentParser]]:
    """The parsers that take arguments, with the words that come before these; those in the order of the help."""
    inner = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    if not inner:
        yield name, parser
    for action in inner:
        for word, sub in action.choices.items():
            yield from commands(sub, f"{name} {word}")


def section(name: str, parser: ArgumentParser) -> str:
    """A command: what it does, and a table of its arguments."""
    rows = []
    for action in parser._actions:
        if action.dest == "help":
            continue
        names = ", ".join(f"`{option}`" for option in action.option_strings) or f"`{action.metavar or action.dest}`"
        value = "" if action.nargs == 0 or not action.option_strings else f" {action.metavar or action.dest.upper()}"
        choices = f"; one of {', '.join(map(str, action.choices))}" if action.choices else ""
        required = "; required" if action.required and action.option_strings else ""
        meaning = (action.help or "").replace("%(default)s", str(action.default)).replace("|", "\\|").strip()
        rows.append(f"| {names}{value} | {meaning}{choices}{required} |")
    about = parser.description or ""
    table = "\n".join(["| argument | meaning |", "|---|---|", *rows]) if rows else "It takes no arguments."
    return f"## `{name}`\n\n{about[:1].upper()}{about[1:]}.\n\n{table}\n"


def page() -> str:
    """The whole page."""
    sections = [section(name, parser) for name, parser in commands(build_parser(), "hydra-bench")]
    return "\n".join([HEAD, *sections])


if __name__ == "__main__":
    PAGE.write_text(page())
