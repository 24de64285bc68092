"""The command line: one sub-command for each step of the workflow, each a call into the package."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hydra_bench import __version__
from hydra_bench.errors import InputError


def _definition(text: str) -> dict[str, Any]:
    """A definition given as JSON text, or as the path of a JSON or YAML file."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise InputError(f"--definition: not JSON ({error})") from None
    import yaml

    try:
        return yaml.safe_load(Path(text).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"--definition: {text} cannot be read as YAML or JSON ({error})") from None


def _simulate(args: argparse.Namespace) -> None:
    from hydra_bench.simulate import simulate

    simulate(_definition(args.definition), args.structures, args.stack, args.truth)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hydra-bench", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    simulate = commands.add_parser("simulate", help="make a particle stack and its truth from PDB entries")
    simulate.set_defaults(run=_simulate)
    simulate.add_argument("--definition", required=True, help="dataset definition: JSON text, or a file")
    simulate.add_argument("--structures", type=Path, required=True, help="folder of PDB entries")
    simulate.add_argument("--stack", type=Path, required=True, help="folder for the stack")
    simulate.add_argument("--truth", type=Path, required=True, help="folder for the truth")
    return parser


def main(arguments: list[str] | None = None) -> int:
    args = build_parser().parse_args(arguments)
    try:
        args.run(args)
    except InputError as error:
        print(f"hydra-bench: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
