"""Where the file of a structure lies: an entry by id in one of several folders, or a file named by its path."""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject

SUFFIXES = (".cif.gz", ".cif", ".pdb.gz", ".pdb")
MAP_SUFFIXES = (".mrc", ".map")

Folders = Path | str | Sequence[Path | str]
"""Folders of structures, searched in this order."""

_FETCHABLE = re.compile(r"[0-9][A-Za-z0-9]{3}")


def is_file_name(entry: str) -> bool:
    """Whether an entry is the path of a file and not an id."""
    return "/" in entry or entry.endswith((*SUFFIXES, *MAP_SUFFIXES))


def is_map(entry: str) -> bool:
    """Whether an entry is a density map and not a structure of atoms."""
    return entry.endswith(MAP_SUFFIXES)


def is_fetchable(entry: str) -> bool:
    """Whether an entry is the id of one in the PDB: four characters, a digit first."""
    return _FETCHABLE.fullmatch(entry) is not None


def as_folders(folders: Folders) -> list[Path]:
    return [Path(folders)] if isinstance(folders, Path | str) else [Path(folder) for folder in folders]


def entry_path(folders: Folders, entry: str) -> Path | None:
    """The file of an entry; None if there is none. A path is taken as it is, from the working directory."""
    if is_file_name(entry):
        return Path(entry) if Path(entry).is_file() else None
    spellings = dict.fromkeys((entry, entry.lower(), entry.upper()))  # ids are written either way
    candidates = (
        folder / f"{spelling}{suffix}"
        for folder in as_folders(folders)
        for spelling in spellings
        for suffix in SUFFIXES
    )
    return next((path for path in candidates if path.is_file()), None)


def find_entry(folders: Folders, entry: str) -> Path:
    """The file of an entry. Raises InputError naming the entries that are there."""
    path = entry_path(folders, entry)
    if path is not None:
        return path
    if is_file_name(entry):
        raise InputError(f"{entry}: no such file; a structure ({', '.join((*SUFFIXES, *MAP_SUFFIXES))}) is expected")
    # Of several folders the last is the cache, which need not be there yet.
    there = [folder for folder in as_folders(folders) if folder.is_dir()]
    if not there:
        raise InputError(f"{as_folders(folders)[0]}: no such folder; it must hold the structures")
    present = sorted({p.name.split(".")[0] for folder in there for p in folder.iterdir() if p.name.endswith(SUFFIXES)})
    where = " or ".join(map(str, there))
    raise InputError(f"entry {entry!r} is not in {where}; there are {', '.join(present) or 'none'}")


def entries_in(folder: Path | str) -> list[str]:
    """The structures and maps in a folder as entries, sorted by name. Raises InputError if there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; a folder of structures is expected")
    found = sorted(str(path) for path in folder.iterdir() if path.name.endswith((*SUFFIXES, *MAP_SUFFIXES)))
    if not found:
        raise InputError(f"{folder}: holds no structures; files {', '.join((*SUFFIXES, *MAP_SUFFIXES))} are expected")
    return [f"./{path}" if "/" not in path else path for path in found]


def entry_name(entry: str) -> str:
    """A short name for an entry: its id, or a file's name without its suffix."""
    name = Path(entry).name
    for suffix in (*SUFFIXES, *MAP_SUFFIXES):
        name = name.removesuffix(suffix)
    return name


def entries_of(definition: JsonObject) -> list[str]:
    """Every entry that a species is made of, each once."""
    states = definition.get("states")
    others = [] if states is None or states == "models" else states
    named = [state if isinstance(state, str) else state.get("entry") for state in others]
    return list(dict.fromkeys([definition["entry"], *(entry for entry in named if entry)]))
