"""The programs that methods are made of: a folder of workflow/methods each, with a card and a schema of parameters."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from hydra_bench.core.schema import KeyPath, Schema, filled
from hydra_bench.core.yaml_files import read_schema, read_yaml

# They lie beside the package, in the clone from which it was installed.
METHODS_FOLDER = Path(__file__).resolve().parents[2] / "methods"


def programs() -> list[str]:
    """The programs that a method may name: the folders of workflow/methods."""
    return sorted(path.parent.name for path in METHODS_FOLDER.glob("*/card.yaml"))


def card(program: str) -> dict[str, Any]:
    """A program's card: what the report says of it, what it may read and what it needs (docs/adding-a-method.md)."""
    return read_yaml(METHODS_FOLDER / program / "card.yaml")


def environment_folder(card: dict[str, Any], environments: Path | str | None) -> Path | None:
    """Where `make envs` puts the environment that a card names, None if it names none."""
    name = card.get("environment")
    return None if name is None or environments is None else Path(environments) / name


def has_rule(program: str) -> bool:
    """Whether a program brings a Snakemake rule of its own; the others run by their adapters."""
    return (METHODS_FOLDER / program / "rule.smk").is_file()


def environment_name(program: str) -> str:
    """The file in envs/, without its ending, of the environment that a program's job runs in."""
    return card(program).get("environment") or "hydra-bench"


def named_files(definition: dict[str, Any]) -> list[str]:
    """Files that a method's parameters name.

    They are those that its card lists under `file_parameters`, one each, or a list; or what the function of the
    parameters gives that it names under `files_from`, module:function, which may raise InputError.
    """
    if (hook := card(definition["program"]).get("files_from")) is not None:
        module, _, function = hook.partition(":")
        return [str(path) for path in getattr(import_module(module), function)(definition["parameters"])]
    paths: list[str] = []
    for key in card(definition["program"]).get("file_parameters") or []:
        value = definition["parameters"].get(key)
        values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        paths += [str(one) for one in values if one is not None]
    return paths


def parameter_schema(program: str) -> Schema:
    return read_schema(METHODS_FOLDER / program / "params.schema.yaml")


def filled_parameters(program: str, parameters: dict[str, Any], path: KeyPath = ("parameters",)) -> dict[str, Any]:
    """A program's parameters, checked, with its defaults. Raises KeyPathError for what is wrong."""
    return filled(parameter_schema(program), parameters, path)
