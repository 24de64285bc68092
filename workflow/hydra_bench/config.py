"""The configuration: read, checked against the schema and against the structures it names, defaults filled in.

Whatever is wrong is an InputError of one line: the file where it is known, the key's full path, what is
there and what is allowed. `python -m hydra_bench.config README` rewrites the table of keys in a README.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hydra_bench.errors import InputError
from hydra_bench.files import write_text
from hydra_bench.schema import KeyPath, KeyPathError, Schema, filled, markdown_table, nearest

Config = dict[str, Any]

# The schemas and methods lie beside the package, in the clone from which it was installed.
_WORKFLOW = Path(__file__).resolve().parents[1]
SCHEMA_PATH, METHODS_FOLDER = _WORKFLOW / "schemas" / "config.schema.yaml", _WORKFLOW / "methods"

_TABLE_MARK = "<!-- Below this line: made by `make config-table` from the schemas. -->\n"


class _Loader(yaml.SafeLoader):
    """YAML without repeated keys, of which PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        repeated = next((key for key in keys if keys.count(key) > 1), None)
        if repeated is not None:
            raise yaml.constructor.ConstructorError(None, None, f"key {repeated!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path | str) -> Any:
    """Read one YAML file. Raises InputError if it is missing, is not YAML or repeats a key."""
    try:
        return yaml.load(Path(path).read_text(), Loader=_Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable YAML ({' '.join(str(error).split())})") from None


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


@cache
def _schema(path: Path) -> Schema:
    if not path.is_file():
        raise InputError(f"{path}: no such file; install hydra-bench from a clone, with `pip install -e .`")
    return read_yaml(path)


def programs() -> list[str]:
    """The programs that a method may name: the folders of workflow/methods."""
    return sorted(path.parent.name for path in METHODS_FOLDER.glob("*/card.yaml"))


def card(program: str) -> dict[str, Any]:
    """A program's card: name, program, description, paper, licence, reads_truth."""
    return read_yaml(METHODS_FOLDER / program / "card.yaml")


def parameter_schema(program: str) -> Schema:
    return _schema(METHODS_FOLDER / program / "params.schema.yaml")


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
        checked = filled(_schema(SCHEMA_PATH), config)
        for name, method in checked["method_definitions"].items():
            at = ("method_definitions", name)
            _check_name(method["program"], programs(), (*at, "program"), "a folder of workflow/methods")
            parameters = filled(parameter_schema(method["program"]), method["parameters"], (*at, "parameters"))
            method["parameters"] = parameters
        for kind, definitions in (("datasets", "dataset_definitions"), ("methods", "method_definitions")):
            for i, name in enumerate(checked[kind]):
                _check_name(name, checked[definitions], (kind, i), f"a key of {definitions}")
        if (main := checked["report"]["main_method"]) is not None:
            _check_name(main, checked["methods"], ("report", "main_method"), "a method that runs")
        for name, dataset in checked["dataset_definitions"].items():
            _check_dataset(dataset, ("dataset_definitions", name))
    except KeyPathError as problem:
        raise InputError(_located(problem, config, sources)) from None
    return checked


def _check_name(name: str, allowed: Iterable[str], path: KeyPath, what: str) -> None:
    names = list(allowed)
    if name not in names:
        known = ", ".join(names) or "none there"
        raise KeyPathError(path, f"unknown name {name!r}; {what} is expected: {known}{nearest(name, names)}")


def _check_dataset(dataset: Config, at: KeyPath) -> None:
    """What a schema cannot say: relations between two keys."""
    simulation, per_class = dataset["simulation"], dataset["evaluation_particles_per_class"]
    box, delivered = simulation["box_px"], simulation["delivered_box_px"]
    if delivered > box:
        path = (*at, "simulation", "delivered_box_px")
        raise KeyPathError(path, f"{delivered} is not allowed; at most box_px, {box}, is expected")
    for key in ("defocus_A", "astigmatism_A"):
        low, high = simulation["ctf"][key]
        if low > high:
            path = (*at, "simulation", "ctf", key)
            raise KeyPathError(path, f"[{low:g}, {high:g}] is not allowed; the lower end is expected first")
    for name, species in dataset["species"].items():
        if per_class > species["images"]:
            allowed = f"at most the images of species {name}, {species['images']}, is expected"
            raise KeyPathError((*at, "evaluation_particles_per_class"), f"{per_class} is not allowed; {allowed}")
        if species["motion"] is not None:
            _check_motion(species["motion"], (*at, "species", name, "motion"))


def _check_motion(motion: Config, at: KeyPath) -> None:
    low, high = motion["angle_deg"]
    if low >= high:
        path = (*at, "angle_deg")
        raise KeyPathError(path, f"[{low:g}, {high:g}] is not allowed; two different angles, the lower first, expected")
    if motion["axis"] is not None and not any(motion["axis"]):
        raise KeyPathError((*at, "axis"), f"{motion['axis']} is not allowed; a direction of some length is expected")


def check_structures(config: Config, sources: Iterable[Path | str] = ()) -> None:
    """Check the datasets that are to run against the structure files that they name.

    Reads every entry, half a second each: for the start of a run, not for each of its jobs.

    Raises
    ------
    InputError
        If an entry, model, chain or assembly is not there, or the box has no room for a shifted species.
    """
    try:
        for name in config["datasets"]:
            _check_species(config["structures_folder"], config["dataset_definitions"][name], name)
    except KeyPathError as problem:
        raise InputError(_located(problem, config, sources)) from None


def _check_species(folder: str, dataset: Config, name: str) -> None:
    from hydra_bench.species import load_species  # gemmi is not needed to read a configuration

    at = ("dataset_definitions", name)
    if not Path(folder).is_dir():
        raise KeyPathError(("structures_folder",), f"{folder}: no such folder; a folder of PDB entries is expected")
    for species, definition in dataset["species"].items():
        try:
            loaded = load_species(folder, definition)
        except InputError as error:
            key = _blamed(folder, definition)
            raise KeyPathError((*at, "species", species, *key), " ".join(str(error).split())) from None
        _check_box(dataset["simulation"], loaded.diameter_A, species, (*at, "simulation", "box_px"))


def _blamed(folder: str, definition: Config) -> KeyPath:
    """The key of a species with which reading it begins to fail."""
    from hydra_bench.motion import moving_atoms
    from hydra_bench.species import SELECTION, selection
    from hydra_bench.structures import load_atoms

    for count, key in enumerate(SELECTION, start=1):
        try:
            load_atoms(folder, **{name: definition[name] for name in SELECTION[:count]})
        except InputError:
            return (key,)
    try:
        moving_atoms(load_atoms(folder, **selection(definition)), definition["motion"]["chains"])
    except InputError:
        return ("motion", "chains")
    return ("motion", "through")


def _check_box(simulation: Config, diameter_A: float, species: str, at: KeyPath) -> None:
    pixel, shift = simulation["pixel_size_A"], simulation["shift_px"]
    smallest = 2 * math.ceil((diameter_A / pixel + 2 * shift) / 2)
    if simulation["box_px"] < smallest:
        size = f"{diameter_A:.0f} Å across and shifted by up to {shift:g} px"
        raise KeyPathError(
            at,
            f"{simulation['box_px']} is too small for species {species}, {size}; at least {smallest} is expected "
            f"at a pixel size of {pixel:g} Å",
        )


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
    parts = ["## Keys\n", markdown_table(_schema(SCHEMA_PATH))]
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
