"""What a mixture's files hold: whether they bear out its definition, which key is at fault, and what it would be."""

import json
import math
from collections.abc import Iterator

import numpy as np

from hydra_bench.core.schema import KeyPath, KeyPathError, at_key
from hydra_bench.datasets.kind import Definition, duration_text, size_text
from hydra_bench.datasets.simulated.entries import Folders, as_folders, entries_of, find_entry
from hydra_bench.datasets.simulated.imaging import Imaging
from hydra_bench.datasets.simulated.kind import padded_voxels
from hydra_bench.datasets.simulated.motion import moved
from hydra_bench.datasets.simulated.species import Species, load_species
from hydra_bench.datasets.simulated.structures import Atoms, SpeciesError
from hydra_bench.particles.particle_files import read_ctf

# For an estimate of the time alone: what an image costs at 128 px with two threads (docs/explanation/benchmarks.md),
# and roughly what atoms and voxels cost.
_SECONDS_TO_START, _SECONDS_PER_IMAGE_128PX = 4.0, 1.1e-3
_SECONDS_PER_MILLION_ATOMS, _SECONDS_PER_MILLION_VOXELS, _SECONDS_PER_MILLION_PADDED = 8.0, 0.12, 0.02


def check_species(dataset: Definition, folders: Folders, at: KeyPath) -> None:
    """Raises KeyPathError if an entry, model, chain, state or motion is not there, or the box has no room for one."""
    structures_folder = as_folders(folders)[0]
    if not structures_folder.is_dir():
        problem = f"{structures_folder}: no such folder; a folder of PDB entries is expected"
        raise KeyPathError(("structures_folder",), problem)
    for name, definition in _different(dataset["species"]):
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


def _different(species: Definition) -> list[tuple[str, Definition]]:
    """Species that differ in more than their number of images; those of one entry follow each other.

    There may be thousands, and to read a large entry takes a second.
    """
    first: dict[str, tuple[str, Definition]] = {}
    for name, definition in species.items():
        first.setdefault(json.dumps({**definition, "images": None}), (name, definition))
    entries = {entry: place for place, entry in enumerate(dict.fromkeys(d["entry"] for d in species.values()))}
    return sorted(first.values(), key=lambda item: entries[item[1]["entry"]])


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


def describe_simulation(dataset: Definition, folders: Folders, memory_bytes: float) -> Iterator[str]:
    """Lines about a checked dataset. Raises InputError if its files are not usable."""
    imaging = Imaging.from_definition(dataset["simulation"])
    loaded = {name: load_species(folders, definition) for name, definition in dataset["species"].items()}
    room_A = imaging.box_px * imaging.pixel_size_A
    for name, species in loaded.items():
        yield from _about(name, species, dataset["species"][name], folders, imaging)
    images = sum(definition["images"] for definition in dataset["species"].values())
    states = sum(species.n_states for species in loaded.values())
    box, delivered = imaging.box_px, imaging.delivered_box_px
    yield (
        f"images: {images:,} in {box} px of {imaging.pixel_size_A:g} Å ({room_A:.0f} Å), delivered as {delivered} px "
        f"of {imaging.delivered_pixel_size_A:g} Å; SNR {imaging.snr:g} over the full image"
    )
    yield f"shifts: ±{imaging.shift_px:g} px ({imaging.shift_px * imaging.pixel_size_A:.0f} Å) along x and y"
    yield f"CTF: {_ctf_text(imaging)}"
    maps = states + sum(species.n_states > 1 for species in loaded.values())
    of_images, of_maps = size_text(4 * delivered**2 * images), size_text(4 * delivered**3 * maps)
    yield f"disk: {of_images} of images, {of_maps} of {maps} true maps"
    padded = padded_voxels(box, delivered)
    seconds = _SECONDS_TO_START + images * _SECONDS_PER_IMAGE_128PX * (delivered / 128) ** 2
    for species in loaded.values():
        atoms = getattr(species.atoms, "positions_A", ())
        seconds += species.n_states * (
            len(atoms) / 1e6 * _SECONDS_PER_MILLION_ATOMS
            + box**3 / 1e6 * _SECONDS_PER_MILLION_VOXELS
            + 2 * padded / 1e6 * _SECONDS_PER_MILLION_PADDED  # once for the SNR, once for the images
        )
    yield f"time: about {duration_text(seconds)} with two threads"
    yield f"memory: about {size_text(memory_bytes)}"


def _about(name: str, species: Species, definition: Definition, folders: Folders, imaging: Imaging) -> Iterator[str]:
    files = ", ".join(str(find_entry(folders, entry)) for entry in entries_of(definition))
    mass = "mass not given" if species.mass_kDa is None else f"{species.mass_kDa:,.0f} kDa"
    room = imaging.box_px * imaging.pixel_size_A
    reach = species.diameter_A + 2 * imaging.shift_px * imaging.pixel_size_A
    fit = f"{reach:.0f} Å with its shifts, of {room:.0f} Å"
    if reach > room:
        fit += (
            f"; {reach - room:.0f} Å too much: what leaves the image at the largest shifts comes in on its other side"
        )
    yield f"{name}: {definition['images']:,} images, {mass}, {species.diameter_A:.0f} Å across ({fit}); {files}"
    if isinstance(species.atoms, Atoms) and species.atoms.left_out:
        parts = (f"{part.n_atoms:,} atoms, {part.reason} ({part.mass_kDa:,.1f} kDa)" for part in species.atoms.left_out)
        yield f"  left out: {'; '.join(parts)}"
    for line in _moves(species):
        yield f"  {line}"


def _moves(species: Species) -> Iterator[str]:
    if species.n_states == 1:
        return
    low, high = species.coordinates[0, 0], species.coordinates[-1, 0]
    if species.hinge is not None and isinstance(species.atoms, Atoms):
        verb, unit = ("slides", "Å") if species.hinge.slides else ("turns", "degrees")
        ends = [moved(species.atoms.positions_A, species.hinge, end) for end in (low, high)]
        farthest = np.linalg.norm(ends[1] - ends[0], axis=1).max()
        yield (
            f"{species.moving_mass_kDa:,.0f} kDa of it {verb}: {species.n_states} states from {low:g} to {high:g} "
            f"{unit}, atoms move by up to {farthest:.0f} Å"
        )
    else:
        yield f"{species.n_states} states" + (", interpolated" if species.ways else "")
    if species.likely is not None:
        share = np.sort(species.likely)[::-1]
        yield f"wells: half of its particles in {int(np.searchsorted(share.cumsum(), 0.5)) + 1} of the states"


def _ctf_text(imaging: Imaging) -> str:
    if imaging.pool is not None:
        return f"drawn from {len(imaging.pool[0]):,} particles of an experiment"
    low, high = (f"{value / 1e4:g}" for value in imaging.defocus_A)
    shared = imaging.particles_per_micrograph
    return f"defocus {low} to {high} µm" + (f", {shared} particles a micrograph" if shared else "")
