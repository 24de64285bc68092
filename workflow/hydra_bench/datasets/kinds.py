"""The kinds of dataset that there are, and which of them a definition is of."""

from collections.abc import Iterator
from pathlib import Path

from hydra_bench.core.schema import KeyPath, KeyPathError, Schema, at_key, filled
from hydra_bench.datasets.cryobench.kind import CryoBench
from hydra_bench.datasets.experimental.kind import Experimental
from hydra_bench.datasets.kind import Definition, Kind
from hydra_bench.datasets.simulated.entries import Folders, entries_in, entry_name, entry_path, find_entry, is_fetchable
from hydra_bench.datasets.simulated.kind import Simulated

KINDS: tuple[Kind, ...] = (Simulated(), Experimental(), CryoBench())

_SHORT_FOR_SPECIES = "entries"


def kind_of(dataset: Definition) -> Kind:
    """The kind whose key a definition has; the first, whose key it then lacks, if it has none."""
    return next((kind for kind in KINDS if dataset.get(kind.key) is not None), KINDS[0])


def completed(dataset: Definition, schema: Schema, at: KeyPath) -> Definition:
    """A definition with `entries` written out as species, checked for relations between keys.

    `schema` is that of a definition. Raises KeyPathError for the first thing that is wrong.
    """
    keys = (*(kind.key for kind in KINDS), _SHORT_FOR_SPECIES)
    given = [key for key in keys if dataset[key] is not None]
    if len(given) != 1:
        found = f"{' and '.join(given)} are both there" if given else "is missing"
        raise KeyPathError((*at, "species"), f"{found}; one of {', '.join(keys)} is expected")
    if given == [_SHORT_FOR_SPECIES]:
        of_species = schema["properties"]["species"]["additionalProperties"]
        dataset = dataset | {"species": _species_of_entries(dataset, of_species, at), "entries": None, "images": None}
    elif dataset["images"] is not None:
        raise KeyPathError((*at, "images"), f"{dataset['images']} is not allowed; it goes with entries alone")
    kind_of(dataset).check_keys(dataset, at)
    return dataset


def _species_of_entries(dataset: Definition, schema: Schema, at: KeyPath) -> Definition:
    if dataset["images"] is None:
        raise KeyPathError((*at, "images"), "is missing; the number of images of each of entries is expected")
    entries = dataset["entries"]
    if isinstance(entries, str):
        with at_key((*at, "entries")):
            entries = entries_in(entries)
    species: Definition = {}
    for i, entry in enumerate(entries):
        name = entry_name(entry)
        if name in species:
            raise KeyPathError((*at, "entries", i), f"{entry} is the second one named {name}; different names expected")
        species[name] = filled(schema, {"entry": entry, "images": dataset["images"]}, (*at, "entries", i))
    return species


def input_files(dataset: Definition, structures_folder: Path) -> list[Path]:
    """The files that a dataset is made of, as far as they are few: not an experiment's images.

    An entry that is not in the structures' folder is fetched into the cache, where it is compared with its checksum
    and never changes. So it is none of them: a dry run, for which nothing is fetched, has the same ones as a real run.
    """
    kind = kind_of(dataset)
    entries = dict.fromkeys(entry for _, entry in kind.entries(dataset))
    there = [path for entry in entries if (path := entry_path(structures_folder, entry)) is not None]
    return [*there, *(path for _, path in kind.files(dataset))]


def entries_to_fetch(dataset: Definition, folders: Folders, at: KeyPath) -> list[tuple[KeyPath, str]]:
    """The entries that are in none of the folders, each with its key. Raises KeyPathError for another missing file."""
    kind, missing = kind_of(dataset), []
    for key, entry in kind.entries(dataset):
        if not is_fetchable(entry):
            with at_key((*at, *key)):
                find_entry(folders, entry)
        elif entry_path(folders, entry) is None:
            missing.append(((*at, *key), entry))
    kind.check_files_exist(dataset, at)
    return missing


def description(name: str, dataset: Definition, folders: Folders) -> Iterator[str]:
    """Lines about a checked dataset. Raises InputError if its files are not usable."""
    kind = kind_of(dataset)
    yield f"{name}: {kind.title}"
    for line in kind.describe(dataset, folders):
        yield f"  {line}"
