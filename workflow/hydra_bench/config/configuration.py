"""The configuration: read, checked against the schema and for relations between keys, defaults filled in.

Whatever is wrong is an InputError of one line: the file where it is known, the key's full path, what is there and what
is allowed.

That the files are there which it names is checked whenever a workflow is read. What is in them is checked at the start
of a run, since it takes half a second for an entry, and what reads atoms and images takes longer to import.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra_bench.config.method_definitions import TRUTH, check_method, given_sources
from hydra_bench.contracts.places import draw_name
from hydra_bench.core.clone import CLONE, in_clone
from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.core.schema import KeyPath, KeyPathError, Schema, at_key, check_name, filled
from hydra_bench.core.yaml_files import read_schema, read_yaml
from hydra_bench.datasets import kinds
from hydra_bench.datasets.kind import Definition
from hydra_bench.datasets.simulated.fetching import Source, ensure
from hydra_bench.methods.cards import check_parameters, named_files

# Keys in their order, with values of as many types as the schema says.
Config = JsonObject

SCHEMA_PATH = CLONE / "workflow" / "schemas" / "config.schema.yaml"

_DRAWS_APART = 1_000_003
"""What a draw of the images adds to a dataset's seed: more than anybody's own seeds are apart."""

_OF_THE_CLONE = {"structures_folder": "resources/structures", "environments_folder": "build/envs"}
"""Folders that are the clone's where the configuration names none."""


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
        for key, path in _OF_THE_CLONE.items():
            if checked[key] is None:
                checked[key] = str(in_clone(path))
        for name in checked["method_definitions"]:
            check_method(checked["method_definitions"], name)
        for kind, definitions in (("datasets", "dataset_definitions"), ("methods", "method_definitions")):
            for i, name in enumerate(checked[kind]):
                check_name(name, checked[definitions], (kind, i), f"a key of {definitions}")
        if (main := checked["report"]["main_method"]) is not None:
            check_name(main, checked["methods"], ("report", "main_method"), "a method that runs")
        for name, dataset in checked["dataset_definitions"].items():
            checked["dataset_definitions"][name] = kinds.completed(dataset, of_datasets, ("dataset_definitions", name))
        _draw_again(checked)
    return checked


def _draw_again(checked: Config) -> None:
    """A dataset more for each draw of the images of each that runs, in place; noise_seeds has then been obeyed."""
    draws, datasets, definitions = checked["noise_seeds"], checked["datasets"], checked["dataset_definitions"]
    if draws == [0]:
        return
    for i, name in enumerate(datasets):
        if not definitions[name].get("species"):
            raise KeyPathError(("datasets", i), f"{name}: not simulated, so noise_seeds must be [0]")
        for draw in draws:
            seed = definitions[name]["seed"] + _DRAWS_APART * draw
            definitions[draw_name(name, draw)] = {**definitions[name], "seed": seed}
    checked["datasets"] = [draw_name(name, draw) for name in datasets for draw in draws]
    checked["noise_seeds"] = [0]


@contextmanager
def problems_located(config: Config, sources: Iterable[Path | str]) -> Iterator[None]:
    """A KeyPathError in the block becomes an InputError that begins with the file that holds the key."""
    try:
        yield
    except KeyPathError as problem:
        raise InputError(_located(problem, config, sources)) from None


def _located(problem: KeyPathError, config: Config, sources: Iterable[Path | str]) -> str:
    """The message of a problem, begun with the file that holds the key, or the nearest key above it.

    Of several files it is the last, whose value counts.
    """
    files = [(source, read_yaml(source)) for source in sources]
    for depth in range(len(problem.sought), 0, -1):
        path = problem.sought[:depth]
        for source, content in reversed(files):
            # A value set on the command line is in no file, though a file may set the same key. NaN equals nothing.
            if (found := _value(content, path)) is not None and (
                isinstance(found, dict) or repr(found) == repr(_value(config, path))
            ):
                return f"{source}: {problem}"
    return str(problem)


def _value(content: Json, path: KeyPath) -> Json:
    """The value at a path, None if there is none."""
    for key in path:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return None
    return content


def structure_folders(config: Config) -> list[Path]:
    """Where structures are looked for, in this order: the user's folder, then the cache of what was fetched."""
    cache = config.get("fetching", {}).get("cache")
    return [Path(config["structures_folder"]), *([] if cache is None else [Path(cache)])]


def check_named_files(config: Config, sources: Iterable[Path | str] = ()) -> list[str]:
    """Check that the files are there which the datasets and methods name that are to run. Raises InputError.

    Returns the entries that are not there and that `fetch_entries` is going to fetch.
    """
    folders = structure_folders(config)
    source = Source.from_definition(config["fetching"])
    to_fetch = []
    with problems_located(config, sources):
        for dataset, at in _datasets(config):
            for key, entry in kinds.entries_to_fetch(dataset, folders, at):
                with at_key(key):
                    source.check_online(entry)
                to_fetch.append(entry)
        for name in _methods(config):
            at = ("method_definitions", name, "parameters")
            with at_key(at):
                paths = named_files(config["method_definitions"][name])
            missing = [path for path in paths if not Path(path).exists()]
            if missing:
                raise KeyPathError(at, f"{missing[0]}: no such file")
    return list(dict.fromkeys(to_fetch))


def fetch_entries(config: Config, sources: Iterable[Path | str] = ()) -> None:
    """Fetch what the datasets that are to run need and is not there; check what was fetched before.

    Raises
    ------
    InputError
        If an entry cannot be had, naming the key that asks for it.
    """
    source = Source.from_definition(config["fetching"])
    there = set()
    with problems_located(config, sources):
        for dataset, at in _datasets(config):
            for key, entry in kinds.kind_of(dataset).entries(dataset):
                if entry not in there:
                    with at_key((*at, *key)):
                        ensure([entry], config["structures_folder"], source)
                    there.add(entry)


def check_contents(config: Config, sources: Iterable[Path | str] = ()) -> None:
    """Check the methods that are to run as far as their cards say how, and the datasets against what is in their files.

    Raises
    ------
    InputError
        If a method's parameters are such as no dataset could make right; if an entry, model, chain or assembly is not
        there, the box has no room for a shifted species, or particles or their reference are not usable.
    """
    with problems_located(config, sources):
        for name in _methods(config):
            with at_key(("method_definitions", name, "parameters")):
                check_parameters(config["method_definitions"][name])
        checked = set()
        for dataset, at in _datasets(config):
            # Another draw of the same images asks for the same files.
            if (files := json.dumps({**dataset, "seed": None})) not in checked:
                kinds.kind_of(dataset).check(dataset, structure_folders(config), at)
                checked.add(files)


def _datasets(config: Config) -> Iterator[tuple[Definition, KeyPath]]:
    """The datasets that are to run, each with its key."""
    return ((config["dataset_definitions"][name], ("dataset_definitions", name)) for name in config["datasets"])


def _methods(config: Config) -> list[str]:
    """The methods that are to run, those whose poses another one is given among them."""
    wanted = list(config["methods"])
    for name in config["methods"]:
        wanted += given_sources(config["method_definitions"], name)
    return [name for name in dict.fromkeys(wanted) if name != TRUTH]
