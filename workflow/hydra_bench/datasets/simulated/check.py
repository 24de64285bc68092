"""Whether the atoms and maps that a mixture names bear out its definition, and which key is at fault if not."""

from __future__ import annotations

import math
from collections.abc import Callable

from hydra_bench.core.errors import InputError
from hydra_bench.core.schema import KeyPath, KeyPathError, at_key
from hydra_bench.datasets.kind import Definition
from hydra_bench.datasets.simulated.entries import Folders, as_folders, is_map
from hydra_bench.datasets.simulated.motion import Motion, moving_atoms, other_part
from hydra_bench.datasets.simulated.species import SELECTION, load_species, selection
from hydra_bench.datasets.simulated.structures import Atoms, load_atoms
from hydra_bench.datasets.simulated.volume_source import load_volume
from hydra_bench.particles.particle_files import read_ctf


def check_species(dataset: Definition, folders: Folders, at: KeyPath) -> None:
    """Raises KeyPathError if an entry, model, chain, state or motion is not there, or the box has no room for one."""
    structures_folder = as_folders(folders)[0]
    if not structures_folder.is_dir():
        problem = f"{structures_folder}: no such folder; a folder of PDB entries is expected"
        raise KeyPathError(("structures_folder",), problem)
    for name, definition in dataset["species"].items():
        try:
            loaded = load_species(folders, definition)
        except InputError as error:
            key = _blamed(folders, definition)
            raise KeyPathError((*at, "species", name, *key), " ".join(str(error).split())) from None
        if dataset["simulation"]["overhang"] == "refuse":
            _check_box(dataset["simulation"], loaded.diameter_A, name, (*at, "simulation", "box_px"))
    drawn_from = dataset["simulation"]["ctf"]["drawn_from"]
    if drawn_from is not None:
        with at_key((*at, "simulation", "ctf", "drawn_from")):
            read_ctf(drawn_from)


def _blamed(folders: Folders, definition: Definition) -> KeyPath:
    """The key of a species with which reading it begins to fail."""
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


def _blamed_of_map(folders: Folders, definition: Definition) -> KeyPath:
    if _fails(lambda: load_volume(folders, definition["entry"])):
        return ("entry",)
    return ("states",) if definition["states"] is not None else ("mass_kDa",)


def _blamed_of_motion(atoms: Atoms, definition: Definition) -> str:
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


def _check_box(simulation: Definition, diameter_A: float, species: str, at: KeyPath) -> None:
    pixel, shift = simulation["pixel_size_A"], simulation["shift_px"]
    smallest = 2 * math.ceil((diameter_A / pixel + 2 * shift) / 2)
    if simulation["box_px"] < smallest:
        size = f"{diameter_A:.0f} Å across and shifted by up to {shift:g} px"
        raise KeyPathError(
            at,
            f"{simulation['box_px']} is too small for species {species}, {size}; at least {smallest} is expected "
            f"at a pixel size of {pixel:g} Å (or overhang: wrap)",
        )
