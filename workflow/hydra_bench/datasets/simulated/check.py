"""Whether the atoms and maps that a mixture names bear out its definition, and which key is at fault if not."""

from __future__ import annotations

import math

from hydra_bench.core.schema import KeyPath, KeyPathError, at_key
from hydra_bench.datasets.kind import Definition
from hydra_bench.datasets.simulated.entries import Folders, as_folders
from hydra_bench.datasets.simulated.species import load_species
from hydra_bench.datasets.simulated.structures import SpeciesError
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
        except SpeciesError as error:
            raise KeyPathError((*at, "species", name, *error.key), " ".join(str(error).split())) from None
        if dataset["simulation"]["overhang"] == "refuse":
            _check_box(dataset["simulation"], loaded.diameter_A, name, (*at, "simulation", "box_px"))
    drawn_from = dataset["simulation"]["ctf"]["drawn_from"]
    if drawn_from is not None:
        with at_key((*at, "simulation", "ctf", "drawn_from")):
            read_ctf(drawn_from)


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
