"""The configuration: read, checked against the schema and against the structures it names, defaults filled in.

Whatever is wrong is an InputError of one line: the file where it is known, the key's full path, what is
there and what is allowed. `python -m hydra_bench.config.configuration README` rewrites the table of keys in a README.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import write_text
from hydra_bench.core.schema import KeyPath, KeyPathError, Schema, filled, markdown_table, nearest
from hydra_bench.core.yaml_files import read_schema, read_yaml
from hydra_bench.datasets.definitions import check_files, completed, kind_of
from hydra_bench.methods.cards import card, filled_parameters, has_rule, named_files, parameter_schema, programs

Config = dict[str, Any]

# It lies beside the package, in the clone from which that was installed.
SCHEMA_PATH = Path(__file__).resolve().parents[2] / "schemas" / "config.schema.yaml"

TRUTH = "truth"
"""What `poses_from` says for true poses; no method may have that name."""

_TABLE_MARK = "<!-- Below this line: made by `make config-table` from the schemas. -->\n"


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


def reads_truth(config: Config, method: str) -> bool:
    """Whether a method is a bound: its program reads the truth, or its poses come from there, however indirectly."""
    definition = config["method_definitions"][method]
    source = definition["poses_from"]
    if source == TRUTH or card(definition["program"])["reads_truth"]:
        return True
    return source is not None and reads_truth(config, source)


def validate(config: Config, sources: Iterable[Path | str] = ()) -> Config:
    """Check a configuration and fill in the defaults.

    Parameters
    ----------
    config : the merged configuration, left as it is.
    sources : the files it came from, searched for the one to name in an error.

    Raises
    ------
    InputError
        For the first thing that is wrong, one line.
    """
    try:
        checked = filled(read_schema(SCHEMA_PATH), config)
        for name, method in checked["method_definitions"].items():
            at = ("method_definitions", name)
            _check_name(method["program"], programs(), (*at, "program"), "a folder of workflow/methods")
            method["parameters"] = filled_parameters(method["program"], method["parameters"], (*at, "parameters"))
            _check_merging(method["merge_classes"] or {}, (*at, "merge_classes"))
            _check_poses(checked["method_definitions"], name)
            if method["time_limit_min"] is not None and has_rule(method["program"]):
                problem = f"the program {method['program']} has no time limit of its own; null is expected"
                raise KeyPathError((*at, "time_limit_min"), problem)
        for kind, definitions in (("datasets", "dataset_definitions"), ("methods", "method_definitions")):
            for i, name in enumerate(checked[kind]):
                _check_name(name, checked[definitions], (kind, i), f"a key of {definitions}")
        if (main := checked["report"]["main_method"]) is not None:
            _check_name(main, checked["methods"], ("report", "main_method"), "a method that runs")
        for name, dataset in checked["dataset_definitions"].items():
            at = ("dataset_definitions", name)
            checked["dataset_definitions"][name] = completed(dataset, _species_schema(), at)
    except KeyPathError as problem:
        raise InputError(_located(problem, config, sources)) from None
    return checked


def _check_name(name: str, allowed: Iterable[str], path: KeyPath, what: str) -> None:
    names = list(allowed)
    if name not in names:
        known = ", ".join(names) or "none there"
        raise KeyPathError(path, f"unknown name {name!r}; {what} is expected: {known}{nearest(name, names)}")


def _check_merging(merged: dict[str, list[int]], at: KeyPath) -> None:
    """A class has one name only."""
    names: dict[int, str] = {}
    for name, numbers in merged.items():
        for number in numbers:
            if number in names:
                raise KeyPathError((*at, name), f"{number} is not allowed; it belongs to {names[number]} already")
            names[number] = name


def _check_poses(definitions: dict[str, Any], name: str) -> None:
    """Given poses: only for a program that takes them, and not from a method that waits for this one."""
    at, chain = ("method_definitions", name, "poses_from"), [name]
    source = definitions[name]["poses_from"]
    if name == TRUTH:
        raise KeyPathError(at[:2], f"{TRUTH!r} is not allowed as a name; it stands for the true poses in poses_from")
    program = definitions[name]["program"]
    if source is None and card(program).get("needs_poses"):
        raise KeyPathError(at, f"is null; the program {program} needs poses, {TRUTH} or those of another method")
    if source is None:
        return
    if not card(program).get("takes_poses"):
        takers = ", ".join(one for one in programs() if card(one).get("takes_poses")) or "none there"
        raise KeyPathError(at, f"the program {program} takes no poses; null is expected (those that do: {takers})")
    while source is not None and source != TRUTH:
        _check_name(source, [*definitions, TRUTH], at, f"{TRUTH} or a key of method_definitions")
        if source in chain:
            raise KeyPathError(at, f"{' <- '.join([*chain, source])} goes round in a circle")
        chain.append(source)
        source = definitions[source].get("poses_from")


def _species_schema() -> Schema:
    datasets = read_schema(SCHEMA_PATH)["properties"]["dataset_definitions"]["additionalProperties"]
    return datasets["properties"]["species"]["additionalProperties"]


def structure_folders(config: Config) -> list[Path]:
    """Where structures are looked for, in this order: the user's folder, then the cache of what was fetched."""
    cache = config.get("fetching", {}).get("cache")
    return [Path(config["structures_folder"]), *([] if cache is None else [Path(cache)])]


def fetch_structures(config: Config, sources: Iterable[Path | str] = ()) -> None:
    """Fetch what the datasets that are to run need and is not there; check what was fetched before.

    Raises
    ------
    InputError
        If an entry cannot be had, naming the key that asks for it.
    """
    from hydra_bench.datasets.simulated.fetching import Source, ensure  # requests takes a while to load
    from hydra_bench.datasets.simulated.species import entries_of

    source = Source.from_definition(config["fetching"])
    for name in config["datasets"]:
        for species, definition in (config["dataset_definitions"][name]["species"] or {}).items():
            try:
                ensure(entries_of(definition), config["structures_folder"], source)
            except InputError as error:
                path = ("dataset_definitions", name, "species", species, "entry")
                raise InputError(_located(KeyPathError(path, str(error)), config, sources)) from None


def check_structures(config: Config, sources: Iterable[Path | str] = ()) -> None:
    """Check the datasets that are to run against the files that they name.

    Reads every entry, half a second each: for the start of a run, not for each of its jobs.

    Raises
    ------
    InputError
        If an entry, model, chain or assembly is not there, the box has no room for a shifted species, or particles
        or their reference are not usable.
    """
    folders = structure_folders(config)
    try:
        for name in config["datasets"]:
            dataset = config["dataset_definitions"][name]
            if kind_of(dataset) == "species" and not folders[0].is_dir():
                problem = f"{folders[0]}: no such folder; a folder of PDB entries is expected"
                raise KeyPathError(("structures_folder",), problem)
            check_files(dataset, folders, ("dataset_definitions", name))
    except KeyPathError as problem:
        raise InputError(_located(problem, config, sources)) from None


def check_named_files(config: Config, sources: Iterable[Path | str] = ()) -> None:
    """Check that the files are there which the parameters of the methods name that are to run. Raises InputError."""
    wanted = list(config["methods"])
    for name in wanted:  # it grows: whose poses another is given runs, too
        definition = config["method_definitions"][name]
        at = ("method_definitions", name, "parameters")
        try:
            missing = [path for path in named_files(definition) if not Path(path).exists()]
            if missing:
                raise InputError(f"{missing[0]}: no such file")
        except InputError as error:
            raise InputError(_located(KeyPathError(at, str(error)), config, sources)) from None
        if definition["poses_from"] not in (None, TRUTH, *wanted):
            wanted.append(definition["poses_from"])


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


def key_tables() -> str:
    """Markdown tables of every key of the configuration and of every program's parameters."""
    parts = ["## Keys\n", markdown_table(read_schema(SCHEMA_PATH))]
    for program in programs():
        table = markdown_table(parameter_schema(program), "method_definitions.<name>.parameters")
        parts += [f"## Parameters of the program `{program}`\n", table]
    return "\n".join(parts)


def write_key_tables(readme: Path) -> None:
    """Replace what follows the mark in a README by the tables of keys. Raises InputError without a mark."""
    head, mark, _ = readme.read_text().partition(_TABLE_MARK)
    if not mark:
        raise InputError(f"{readme}: lacks the line {_TABLE_MARK.strip()}")
    write_text(readme, f"{head}{mark}\n{key_tables()}")


if __name__ == "__main__":
    write_key_tables(Path(sys.argv[1]))
