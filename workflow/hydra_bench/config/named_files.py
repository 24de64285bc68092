"""The files that a configuration names: whether they are there, fetching those that are not, and what is in them.

That they are there is checked whenever a workflow is read; the rest at the start of a run, since it takes half a second
for an entry, and what reads atoms and images takes longer to import.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from hydra_bench.config.configuration import Config, problems_located
from hydra_bench.config.method_definitions import TRUTH, pose_sources
from hydra_bench.core.schema import KeyPath, KeyPathError, at_key
from hydra_bench.datasets import kinds
from hydra_bench.datasets.kind import Definition
from hydra_bench.datasets.simulated.fetching import Source, ensure
from hydra_bench.methods.cards import named_files


def structure_folders(config: Config) -> list[Path]:
    """Where structures are looked for, in this order: the user's folder, then the cache of what was fetched."""
    cache = config.get("fetching", {}).get("cache")
    return [Path(config["structures_folder"]), *([] if cache is None else [Path(cache)])]


def check_named_files(config: Config, sources: Iterable[Path | str] = ()) -> list[str]:
    """Check that the files are there which the datasets and methods name that are to run. Raises InputError.

    Returns the entries that are not there and that `fetch_entries` is going to fetch.
    """
    folders, source = structure_folders(config), Source.from_definition(config["fetching"])
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
    with problems_located(config, sources):
        for dataset, at in _datasets(config):
            for key, entry in kinds.kind_of(dataset).entries(dataset):
                with at_key((*at, *key)):
                    ensure([entry], config["structures_folder"], source)


def check_contents(config: Config, sources: Iterable[Path | str] = ()) -> None:
    """Check the datasets that are to run against what is in the files that they name.

    Raises
    ------
    InputError
        If an entry, model, chain or assembly is not there, the box has no room for a shifted species, or particles
        or their reference are not usable.
    """
    with problems_located(config, sources):
        for dataset, at in _datasets(config):
            kinds.kind_of(dataset).check(dataset, structure_folders(config), at)


def _datasets(config: Config) -> Iterator[tuple[Definition, KeyPath]]:
    """The datasets that are to run, each with its key."""
    return ((config["dataset_definitions"][name], ("dataset_definitions", name)) for name in config["datasets"])


def _methods(config: Config) -> list[str]:
    """The methods that are to run, those whose poses another one is given among them."""
    wanted = list(config["methods"])
    for name in config["methods"]:
        wanted += pose_sources(config["method_definitions"], name)
    return [name for name in dict.fromkeys(wanted) if name != TRUTH]
