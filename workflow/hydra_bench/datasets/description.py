"""What a dataset would be, said before it is made: species, masses, room in the box, images, disk, memory and time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hydra_bench.datasets.definitions import kind_of
from hydra_bench.datasets.simulated.entries import Folders, find_entry
from hydra_bench.datasets.simulated.imaging import Imaging
from hydra_bench.datasets.simulated.species import Species, entries_of, load_species
from hydra_bench.physics.projection import SIMULATION_PADDING

# Measured with two threads on 2 cores, docs/benchmarks.md: what an image costs at 128 px, and what atoms cost.
_SECONDS_TO_START, _SECONDS_PER_IMAGE_128PX = 4.0, 1.1e-3
_SECONDS_PER_MILLION_ATOMS, _SECONDS_PER_MILLION_VOXELS, _SECONDS_PER_MILLION_PADDED = 8.0, 0.12, 0.02
_SECONDS_TO_IMPORT_128PX = 1.0e-3


def explained(name: str, dataset: dict[str, Any], folders: Folders) -> Iterator[str]:
    """Lines about a checked dataset. Raises InputError if its files are not usable."""
    kinds = {"species": _simulated, "particles": _experimental, "cryobench": _archived}
    yield f"{name}: {_KIND_NAMES[kind_of(dataset)]}"
    for line in kinds[kind_of(dataset)](dataset, folders):
        yield f"  {line}"


_KIND_NAMES = {
    "species": "simulated",
    "particles": "particles of a file, judged by a reference",
    "cryobench": "a dataset of CryoBench, with its truth",
}


def _simulated(dataset: dict[str, Any], folders: Folders) -> Iterator[str]:
    imaging = Imaging.from_definition(dataset["simulation"])
    loaded = {name: load_species(folders, one) for name, one in dataset["species"].items()}
    room_A = imaging.box_px * imaging.pixel_size_A
    for name, species in loaded.items():
        yield from _about(name, species, dataset["species"][name], folders, imaging)
    images = sum(one["images"] for one in dataset["species"].values())
    states = sum(one.n_states for one in loaded.values())
    box, delivered = imaging.box_px, imaging.delivered_box_px
    yield (
        f"images: {images:,} in {box} px of {imaging.pixel_size_A:g} Å ({room_A:.0f} Å), delivered as {delivered} px "
        f"of {imaging.delivered_pixel_size_A:g} Å; SNR {imaging.snr:g} over the full image"
    )
    yield f"shifts: ±{imaging.shift_px:g} px ({imaging.shift_px * imaging.pixel_size_A:.0f} Å) along x and y"
    yield f"CTF: {_ctf_text(imaging)}"
    maps = states + sum(one.n_states > 1 for one in loaded.values())
    yield f"disk: {_size(4 * delivered**2 * images)} of images, {_size(4 * delivered**3 * maps)} of {maps} true maps"
    seconds = _SECONDS_TO_START + images * _SECONDS_PER_IMAGE_128PX * (delivered / 128) ** 2
    for species in loaded.values():
        atoms = getattr(species.atoms, "positions_A", ())
        seconds += species.n_states * (
            len(atoms) / 1e6 * _SECONDS_PER_MILLION_ATOMS
            + box**3 / 1e6 * _SECONDS_PER_MILLION_VOXELS
            + 2 * _padded_voxels(imaging) / 1e6 * _SECONDS_PER_MILLION_PADDED  # once for the SNR, once for the images
        )
    yield f"time: about {_duration(seconds)} with two threads"
    yield f"memory: about {_size(simulation_bytes(imaging))}"


def _about(
    name: str, species: Species, definition: dict[str, Any], folders: Folders, imaging: Imaging
) -> Iterator[str]:
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
    for line in _moves(species):
        yield f"  {line}"


def _moves(species: Species) -> Iterator[str]:
    if species.n_states == 1:
        return
    low, high = species.coordinates[0, 0], species.coordinates[-1, 0]
    if species.hinge is not None:
        verb, unit = ("slides", "Å") if species.hinge.slides else ("turns", "degrees")
        moving = species.hinge.moving
        mass = species.atoms.masses_Da[moving].sum() / 1e3
        ends = [species.state_source(s).positions_A for s in (0, species.n_states - 1)]
        farthest = np.linalg.norm(ends[1] - ends[0], axis=1).max()
        yield (
            f"{mass:,.0f} kDa of it {verb}: {species.n_states} states from {low:g} to {high:g} {unit}, atoms move by "
            f"up to {farthest:.0f} Å"
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


def making_bytes(dataset: dict[str, Any]) -> float:
    """Peak memory of making a dataset, nearly; images of others' are read a few at a time."""
    return simulation_bytes(Imaging.from_definition(dataset["simulation"])) if kind_of(dataset) == "species" else 1e9


def simulation_bytes(imaging: Imaging) -> float:
    """Peak memory, nearly: the padded transform that slices are cut from, four of it while it is made.

    Measured: 1.96 GB at 128 px delivered, 4.4 GB at 256 px of which 128 are delivered.
    """
    return 0.85e9 + 4 * 8 * _padded_voxels(imaging) + 24 * imaging.box_px**3


def _padded_voxels(imaging: Imaging) -> float:
    sliced = min(np.ceil(np.sqrt(2) * imaging.delivered_box_px / 2) * 2 + 4, imaging.box_px)
    return float((SIMULATION_PADDING * sliced) ** 3)


def _experimental(dataset: dict[str, Any], _: Folders) -> Iterator[str]:
    from hydra_bench.datasets.experiment import Experiment

    experiment = Experiment.open(dataset["particles"])
    particles, chosen = experiment.particles, experiment.chosen(dataset["seed"])
    reference = experiment.reference(chosen)
    taken, box = particles.take(chosen), experiment.processing.box_px
    yield f"{len(chosen):,} of {len(particles):,} particles in {len(particles.images.files):,} image files"
    yield (
        f"images: {particles.box_px} px of {particles.pixel_size_A:g} Å, delivered as {box} px of "
        f"{experiment.delivered_pixel_size_A:g} Å"
    )
    if taken.defocus is None or taken.optics is None:
        yield "CTF: none"
    else:
        voltages = ", ".join(f"{v:g}" for v in np.unique(taken.optics.voltage_kV))
        low, high = np.percentile((taken.defocus.u_A + taken.defocus.v_A) / 2e4, [1, 99])
        yield f"CTF: {voltages} kV, defocus {low:.2f} to {high:.2f} µm (1st to 99th percentile)"
    if reference.says_nothing:
        yield "reference: none, so there are no classes to compare with"
    else:
        for k, (name, source) in enumerate(zip(reference.names, reference.maps, strict=True)):
            where = "no map" if source is None else source.path
            yield f"{name}: {int((reference.classes == k).sum()):,} particles, {where}"
    yield f"disk: {_size(4 * box**2 * len(chosen))}"
    yield f"time: about {_duration(len(chosen) * _SECONDS_TO_IMPORT_128PX * (particles.box_px / 128) ** 2)}"


def _archived(dataset: dict[str, Any], _: Folders) -> Iterator[str]:
    from hydra_bench.datasets.cryobench import Archive

    archive = Archive.open(dataset["cryobench"])
    chosen, particles = archive.chosen(dataset["seed"]), archive.particles
    for k in archive.wanted():
        yield f"{archive.volumes[k].stem}: {int((archive.labels[chosen] == k).sum()):,} images"
    pixel = particles.pixel_size_A * particles.box_px / archive.box_px
    yield f"images: {len(chosen):,} of {len(particles):,}, delivered as {archive.box_px} px of {pixel:g} Å"
    yield f"particles are {'white' if archive.sign(chosen) > 0 else 'black'} in the archive, and fit their maps"
    yield f"disk: {_size(4 * archive.box_px**2 * len(chosen))}"


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{max(n_bytes / 1e6, 0.1):.1f} MB"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{max(seconds, 1):.0f} s"


def structure_paths(dataset: dict[str, Any], folders: Folders) -> list[Path]:
    """The files that a dataset is made of, as far as they are few: not an experiment's images."""
    from hydra_bench.datasets.experiment import reference_files

    if kind_of(dataset) == "species":
        entries = dict.fromkeys(entry for one in dataset["species"].values() for entry in entries_of(one))
        drawn_from = dataset["simulation"]["ctf"]["drawn_from"]
        return [find_entry(folders, entry) for entry in entries] + ([Path(drawn_from)] if drawn_from else [])
    if kind_of(dataset) == "particles":
        named = [dataset["particles"]["file"], dataset["particles"]["passthrough"]]
        return [Path(name) for name in named if name] + reference_files(dataset["particles"]["reference"])
    archive = dataset["cryobench"]
    return [Path(archive["folder"]) / archive[key] for key in ("ctf", "poses", "labels") if archive[key] is not None]
