"""The programs that methods are made of: a folder of workflow/methods each, with a card and a schema of parameters."""

import sys
from collections.abc import Callable
from importlib import import_module
from os.path import normpath
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra_bench.core.clone import CLONE
from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.schema import KeyPath, Schema, filled
from hydra_bench.core.yaml_files import read_schema, read_yaml

METHODS_FOLDER = CLONE / "workflow" / "methods"
_PACKAGE = "hydra_bench_methods"


def programs() -> list[str]:
    """The programs that a method may name: the folders of workflow/methods."""
    return sorted(path.parent.name for path in METHODS_FOLDER.glob("*/card.yaml"))


def card(program: str) -> JsonObject:
    """A program's card: what the report says of it, what it may read and needs (docs/how-to/adding-a-method.md)."""
    content: JsonObject = read_yaml(METHODS_FOLDER / program / "card.yaml")
    return content


def environment_folder(card: JsonObject, environments: Path | str | None) -> Path | None:
    """Where `make envs` puts the environment that a card names, None if it names none."""
    name = card.get("environment")
    return None if name is None or environments is None else Path(environments) / name


def has_rule(program: str) -> bool:
    """Whether a program brings a Snakemake rule of its own; the others run by their adapters."""
    return (METHODS_FOLDER / program / "rule.smk").is_file()


def environment_name(program: str) -> str:
    """The file in envs/, without its ending, of the environment that a program's job runs in."""
    return card(program).get("environment") or "hydra-bench"


def named_files(definition: JsonObject) -> list[str]:
    """Files that a method's parameters name.

    They are those that its card lists under `file_parameters`, one each, or a list; or what the function of the
    parameters gives that it names under `files_from`, which may raise InputError.
    """
    program, parameters = definition["program"], definition["parameters"]
    if "files_from" in card(program):
        return [str(path) for path in named_function(program, "files_from")(parameters)]
    paths: list[str] = []
    for key in card(program).get("file_parameters") or []:
        value = parameters.get(key)
        values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        paths += [str(path) for path in values if path is not None]
    return paths


def named_function(program: str, key: str) -> Callable[..., Any]:  # the key says what it takes and gives
    """The function that a program's card names: <file>.py:<function>, seen from its folder, or <module>:<function>.

    Raises InputError if there is none.
    """
    name = str(card(program).get(key))
    where = f"{METHODS_FOLDER / program / 'card.yaml'}: {key}: {name!r}"
    module, colon, function = name.partition(":")
    if not colon:
        raise InputError(f"{where}; <module>:<function> or <file>.py:<function> is expected")
    try:
        found = method_module(f"{program}/{module}") if module.endswith(".py") else import_module(module)
        named: Callable[..., Any] = getattr(found, function)  # as above
    except (ImportError, AttributeError) as error:
        raise InputError(f"{where}; not found ({error})") from None
    return named


def check_parameters(definition: JsonObject) -> None:
    """Raises InputError for parameters of a definition that no dataset could make right, if its card names a check."""
    if "parameters_checked_by" in card(definition["program"]):
        named_function(definition["program"], "parameters_checked_by")(given_parameters(definition))


def check_fit(definition: JsonObject, n_particles: int, box_px: int) -> None:
    """Raises InputError where a method cannot take a dataset of that size, if its program's card names a check."""
    if "fit_checked_by" in card(definition["program"]):
        named_function(definition["program"], "fit_checked_by")(given_parameters(definition), n_particles, box_px)


def given_parameters(definition: JsonObject) -> JsonObject:
    """Those of a definition that are handed to the program; null leaves a parameter to it."""
    return {key: value for key, value in definition["parameters"].items() if value is not None}


def method_module(file: str) -> ModuleType:
    """The module of a file of workflow/methods, such as relion/adapter.py. Raises ImportError.

    The folder is imported as a package, so that a method's files import each other: `from . import options`.
    """
    package = sys.modules.setdefault(_PACKAGE, ModuleType(_PACKAGE))
    package.__path__ = [str(METHODS_FOLDER)]
    return import_module(".".join((_PACKAGE, *Path(normpath(file)).with_suffix("").parts)))


def has_schema(program: str) -> bool:
    """Whether a program says what its parameters may be; one that is being written may not yet."""
    return (METHODS_FOLDER / program / "params.schema.yaml").is_file()


def parameter_schema(program: str) -> Schema:
    return read_schema(METHODS_FOLDER / program / "params.schema.yaml")


def filled_parameters(program: str, parameters: JsonObject, path: KeyPath = ("parameters",)) -> JsonObject:
    """A program's parameters, checked, with its defaults. Raises KeyPathError for what is wrong."""
    complete: JsonObject = filled(parameter_schema(program), parameters, path)
    return complete
