"""Dataset definitions: what a schema cannot say of them, and what the files that they name say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hydra_bench.core.errors import InputError
from hydra_bench.core.schema import KeyPath, KeyPathError, Schema, filled
from hydra_bench.datasets.simulated.entries import Folders, entries_in, entry_name, is_map

KINDS = ("species", "particles", "cryobench")
"""What a dataset may be made of: one of these keys; `entries` is short for species."""


def kind_of(dataset: dict[str, Any]) -> str:
    """The one of KINDS that a definition has; species, which it then lacks, if it has none."""
    return next((kind for kind in KINDS if dataset.get(kind) is not None), KINDS[0])


def completed(dataset: dict[str, Any], schema: Schema, at: KeyPath) -> dict[str, Any]:
    """A definition with `entries` written out as species, checked for relations between keys.

    `schema` is a species'. Raises KeyPathError for the first thing that is wrong.
    """
    given = [key for key in (*KINDS, "entries") if dataset[key] is not None]
    if len(given) != 1:
        found = f"{' and '.join(given)} are both there" if given else "is missing"
        raise KeyPathError((*at, "species"), f"{found}; one of {', '.join((*KINDS, 'entries'))} is expected")
    if given == ["entries"]:
        dataset = dataset | {"species": _species_of_entries(dataset, schema, at), "entries": None, "images": None}
    elif dataset["images"] is not None:
        raise KeyPathError((*at, "images"), f"{dataset['images']} is not allowed; it goes with entries alone")
    if dataset["species"] is not None:
        _check_simulation(dataset["simulation"], (*at, "simulation"))
        for name, species in dataset["species"].items():
            _check_images(dataset, name, at)
            _check_keys(species, (*at, "species", name))
    if dataset["particles"] is not None and dataset["particles"]["reference"] is not None:
        _check_reference(dataset["particles"]["reference"], (*at, "particles", "reference"))
    return dataset


def _species_of_entries(dataset: dict[str, Any], schema: Schema, at: KeyPath) -> dict[str, Any]:
    if dataset["images"] is None:
        raise KeyPathError((*at, "images"), "is missing; the number of images of each of entries is expected")
    entries = dataset["entries"]
    if isinstance(entries, str):
        try:
            entries = entries_in(entries)
        except InputError as error:
            raise KeyPathError((*at, "entries"), str(error)) from None
    species: dict[str, Any] = {}
    for i, entry in enumerate(entries):
        name = entry_name(entry)
        if name in species:
            raise KeyPathError((*at, "entries", i), f"{entry} is the second one named {name}; different names expected")
        species[name] = filled(schema, {"entry": entry, "images": dataset["images"]}, (*at, "entries", i))
    return species


def _check_simulation(simulation: dict[str, Any], at: KeyPath) -> None:
    box, delivered = simulation["box_px"], simulation["delivered_box_px"]
    if delivered > box:
        raise KeyPathError((*at, "delivered_box_px"), f"{delivered} is not allowed; at most box_px, {box}, is expected")
    for key in ("defocus_A", "astigmatism_A"):
        low, high = simulation["ctf"][key]
        if low > high:
            problem = f"[{low:g}, {high:g}] is not allowed; the lower end is expected first"
            raise KeyPathError((*at, "ctf", key), problem)


def _check_images(dataset: dict[str, Any], name: str, at: KeyPath) -> None:
    per_class, images = dataset["evaluation_particles_per_class"], dataset["species"][name]["images"]
    if per_class > images:
        allowed = f"at most the images of species {name}, {images}, is expected"
        raise KeyPathError((*at, "evaluation_particles_per_class"), f"{per_class} is not allowed; {allowed}")


def _check_keys(species: dict[str, Any], at: KeyPath) -> None:
    motion, states = species["motion"], species["states"]
    if motion is not None and states is not None:
        raise KeyPathError((*at, "motion"), "is not allowed beside states; one of both is expected")
    if motion is not None:
        _check_motion(motion, (*at, "motion"))
    if species["interpolate"] is not None and states is None:
        raise KeyPathError((*at, "interpolate"), f"{species['interpolate']} is not allowed; it goes with states alone")
    if species["wells"] is not None and motion is None and states is None:
        raise KeyPathError((*at, "wells"), "is not allowed; it goes with motion or states alone")
    if is_map(species["entry"]):
        _check_map_keys(species, at)
    elif species["mass_kDa"] is not None:
        raise KeyPathError((*at, "mass_kDa"), f"{species['mass_kDa']:g} is not allowed; it goes with a map alone")


def _check_map_keys(species: dict[str, Any], at: KeyPath) -> None:
    of_atoms = {"chains": ["*"], "assembly": None, "model": 1, "motion": None, "interpolate": None}
    for key, without in of_atoms.items():
        if species[key] != without:
            raise KeyPathError((*at, key), f"is not allowed; {species['entry']} is a map, which has no atoms")
    for i, state in enumerate(species["states"] if isinstance(species["states"], list) else []):
        if not isinstance(state, str) or not is_map(state):
            raise KeyPathError((*at, "states", i), "is not allowed; a map (.mrc) is expected, as the entry is one")
    if species["states"] == "models":
        raise KeyPathError((*at, "states"), "models is not allowed; a map has none")


def _check_motion(motion: dict[str, Any], at: KeyPath) -> None:
    ranges = [key for key in ("angle_deg", "shift_A") if motion[key] is not None]
    if len(ranges) != 1:
        found = "and shift_A are both there" if ranges else "is missing, as is shift_A"
        raise KeyPathError((*at, "angle_deg"), f"{found}; one of both is expected")
    low, high = motion[ranges[0]]
    if low >= high:
        problem = f"[{low:g}, {high:g}] is not allowed; two different ends, the lower first, are expected"
        raise KeyPathError((*at, ranges[0]), problem)
    if isinstance(motion["axis"], list) and not any(motion["axis"]):
        raise KeyPathError((*at, "axis"), f"{motion['axis']} is not allowed; a direction of some length is expected")


def _check_reference(reference: dict[str, Any], at: KeyPath) -> None:
    classes, labels = reference["classes"], reference["labels"]
    if classes is None and labels is None:
        raise KeyPathError((*at, "labels"), "is missing, as is classes; one of both at least is expected")
    if reference["poses"] and labels is None:
        raise KeyPathError((*at, "poses"), "true is not allowed; poses are those of the labels' file, which is missing")
    seen: dict[int, str] = {}
    for name, one in (classes or {}).items():
        if one["labels"] is not None and labels is None:
            raise KeyPathError((*at, "classes", name, "labels"), "is not allowed; the labels' file is missing")
        if one["labels"] is None and one["files"] is None and one["map"] is None:
            raise KeyPathError((*at, "classes", name), "is empty; labels, files or map is expected")
        for label in one["labels"] or []:
            if label in seen:
                problem = f"{label} is not allowed; it belongs to class {seen[label]} already"
                raise KeyPathError((*at, "classes", name, "labels"), problem)
            seen[label] = name


def check_files(dataset: dict[str, Any], folders: Folders, at: KeyPath) -> None:
    """Check a dataset against the files that it names. Raises KeyPathError for the first thing that is wrong."""
    checks: dict[str, Callable[[dict[str, Any], Folders, KeyPath], None]] = {
        "species": _check_species,
        "particles": _check_particles,
        "cryobench": _check_cryobench,
    }
    checks[kind_of(dataset)](dataset, folders, at)


def _check_species(dataset: dict[str, Any], folders: Folders, at: KeyPath) -> None:
    from hydra_bench.datasets.simulated.species import load_species  # gemmi is not needed to read a configuration

    for name, definition in dataset["species"].items():
        place = (*at, "species", name)
        try:
            loaded = load_species(folders, definition)
        except InputError as error:
            key = _blamed(folders, definition)
            raise KeyPathError((*place, *key), " ".join(str(error).split())) from None
        if dataset["simulation"]["overhang"] == "refuse":
            _check_box(dataset["simulation"], loaded.diameter_A, name, (*at, "simulation", "box_px"))
    drawn_from = dataset["simulation"]["ctf"]["drawn_from"]
    if drawn_from is not None:
        from hydra_bench.particles.ctf_only import read_ctf

        _under((*at, "simulation", "ctf", "drawn_from"), lambda: read_ctf(drawn_from))


def _blamed(folders: Folders, definition: dict[str, Any]) -> KeyPath:
    """The key of a species with which reading it begins to fail."""
    from hydra_bench.datasets.simulated.species import SELECTION, load_species, selection
    from hydra_bench.datasets.simulated.structures import load_atoms

    if is_map(definition["entry"]):
        return _blamed_of_map(folders, definition)
    for count, key in enumerate(SELECTION, start=1):
        if _fails(lambda count=count: load_atoms(folders, **{n: definition[n] for n in SELECTION[:count]})):
            return (key,)
    if definition["wells"] is not None and not _fails(lambda: load_species(folders, {**definition, "wells": None})):
        return ("wells",)
    if definition["states"] is not None:
        return ("states",)
    return ("motion", _blamed_of_motion(load_atoms(folders, **selection(definition)), definition["motion"]))


def _blamed_of_map(folders: Folders, definition: dict[str, Any]) -> KeyPath:
    from hydra_bench.datasets.simulated.volume_source import load_volume

    if _fails(lambda: load_volume(folders, definition["entry"])):
        return ("entry",)
    return ("states",) if definition["states"] is not None else ("mass_kDa",)


def _blamed_of_motion(atoms: Any, definition: dict[str, Any]) -> str:
    from hydra_bench.datasets.simulated.motion import Motion, moving_atoms, other_part

    motion = Motion.from_definition(definition)
    if _fails(lambda: moving_atoms(atoms, motion.chains)):
        return "chains"
    if _fails(lambda: other_part(atoms, motion, moving_atoms(atoms, motion.chains))):
        return "against"
    return "axis" if motion.axis == "centres" else "through"


def _fails(work: Callable[[], object]) -> bool:
    try:
        work()
    except InputError:
        return True
    return False


def _under(at: KeyPath, work: Callable[[], object]) -> None:
    """Do something; what is wrong with the input is wrong at that key."""
    try:
        work()
    except InputError as error:
        raise KeyPathError(at, " ".join(str(error).split())) from None


def _check_box(simulation: dict[str, Any], diameter_A: float, species: str, at: KeyPath) -> None:
    pixel, shift = simulation["pixel_size_A"], simulation["shift_px"]
    smallest = 2 * math.ceil((diameter_A / pixel + 2 * shift) / 2)
    if simulation["box_px"] < smallest:
        size = f"{diameter_A:.0f} Å across and shifted by up to {shift:g} px"
        raise KeyPathError(
            at,
            f"{simulation['box_px']} is too small for species {species}, {size}; at least {smallest} is expected "
            f"at a pixel size of {pixel:g} Å (or overhang: wrap)",
        )


def _check_particles(dataset: dict[str, Any], _: Folders, at: KeyPath) -> None:
    from hydra_bench.datasets.experiment import Experiment

    definition = dataset["particles"]
    place = (*at, "particles")
    found: list[Experiment] = []
    _under((*place, "file"), lambda: found.append(Experiment.open(definition)))
    _under((*place, "box_px"), found[0].check_box)
    _under((*place, "subset"), lambda: found[0].chosen(dataset["seed"]))
    if definition["reference"] is not None:
        _under((*place, "reference"), lambda: found[0].reference())


def _check_cryobench(dataset: dict[str, Any], _: Folders, at: KeyPath) -> None:
    from hydra_bench.datasets.cryobench import Archive

    _under((*at, "cryobench"), lambda: Archive.open(dataset["cryobench"]).chosen(dataset["seed"]))
