"""The configuration: read, checked against the schema and for relations between keys, defaults filled in.

Whatever is wrong is an InputError of one line: the file where it is known, the key's full path, what is there and what
is allowed. What the files hold that it names is checked in `config.named_files`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra_bench.config.method_definitions import check_method
from hydra_bench.core.errors import InputError
from hydra_bench.core.schema import KeyPath, KeyPathError, Schema, check_name, filled
from hydra_bench.core.yaml_files import read_schema, read_yaml
from hydra_bench.datasets.kinds import completed

# Keys in their order, with values of as many types as the schema says.
Config = dict[str, Any]

# It lies beside the package, in the clone from which that was installed.
SCHEMA_PATH = Path(__file__).resolve().parents[2] / "schemas" / "config.schema.yaml"


def load(paths: Sequence[Path | str]) -> Config:
    """Read files and merge them as Snakemake does: mappings key by key, anything else is replaced."""
    merged: Config = {}
    for path in paths:
        content = read_yaml(path)
        if not isinstance(content, dict):
            raise InputError(f"{path}: a mapping of keys to values is expected")
        _merge(merged, content)
    return merged


def _merge(base: Config, update: Config) -> None:
    for key, value in update.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def validate(config: Config, sources: Iterable[Path | str] = ()) -> Config:
    """Check a configuration and fill in the defaults; what is in the files that it names is not looked at.

    Parameters
    ----------
    config : the merged configuration, left as it is.
    sources : the files it came from, searched for the one to name in an error.

    Raises
    ------
    InputError
        For the first thing that is wrong, one line.
    """
    schema = read_schema(SCHEMA_PATH)
    of_datasets: Schema = schema["properties"]["dataset_definitions"]["additionalProperties"]
    with problems_located(config, sources):
        checked: Config = filled(schema, config)
        for name in checked["method_definitions"]:
            check_method(checked["method_definitions"], name)
        for kind, definitions in (("datasets", "dataset_definitions"), ("methods", "method_definitions")):
            for i, name in enumerate(checked[kind]):
                check_name(name, checked[definitions], (kind, i), f"a key of {definitions}")
        if (main := checked["report"]["main_method"]) is not None:
            check_name(main, checked["methods"], ("report", "main_method"), "a method that runs")
        for name, dataset in checked["dataset_definitions"].items():
            checked["dataset_definitions"][name] = completed(dataset, of_datasets, ("dataset_definitions", name))
    return checked


@contextmanager
def problems_located(config: Config, sources: Iterable[Path | str]) -> Iterator[None]:
    """A KeyPathError in the block becomes an InputError that begins with the file that holds the key."""
    try:
        yield
    except KeyPathError as problem:
        raise InputError(_located(problem, config, sources)) from None


def _located(problem: KeyPathError, config: Config, sources: Iterable[Path | str]) -> str:
    """The message of a problem, begun with the file that holds the key, or the nearest key above it."""
    files = [(source, read_yaml(source)) for source in sources]
    for depth in range(len(problem.path), 0, -1):
        path = problem.path[:depth]
        for source, content in files:
            # A value set on the command line is in no file, though a file may set the same key.
            if (found := _value(content, path)) is not None and (
                isinstance(found, dict) or found == _value(config, path)
            ):
                return f"{source}: {problem}"
    return str(problem)


def _value(content: Any, path: KeyPath) -> Any:
    """The value at a path, None if there is none."""
    for key in path:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return None
    return content
