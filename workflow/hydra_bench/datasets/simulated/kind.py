"""The kind of dataset that is simulated: a mixture of species, each of atoms or of a map, seen by one microscope."""

import math
from collections.abc import Iterator
from pathlib import Path

from hydra_bench.core.schema import KeyPath, KeyPathError
from hydra_bench.datasets.kind import Definition, Kind
from hydra_bench.datasets.simulated.entries import Folders, entries_of, is_map

_PREVIEWED_IMAGES, _PREVIEWED_STATES = 16, 3

_PADDING = 2.5
"""`physics.projection.SIMULATION_PADDING`, which cannot be imported lightly; a test holds both to each other."""
_FINEST_VOXEL_A = 1.7
"""As `density` has it, likewise."""
_MOST_VOXELS = 2048
"""Along a side of the grid that atoms are summed on: 34 GB."""


class Simulated(Kind):
    """Species in, their images and the truth out."""

    key = "species"
    title = "simulated"

    def check_keys(self, dataset: Definition, at: KeyPath) -> None:
        _check_simulation(dataset["simulation"], (*at, "simulation"))
        per_class = dataset["evaluation_particles_per_class"]
        for name, species in dataset["species"].items():
            if per_class > species["images"]:
                allowed = f"at most the images of species {name}, {species['images']}, is expected"
                raise KeyPathError((*at, "evaluation_particles_per_class"), f"{per_class} is not allowed; {allowed}")
            if name == "junk" and dataset["simulation"]["troubles"]["junk_share"]:
                raise KeyPathError((*at, "species", name), "is not allowed beside junk_share, a class of that name")
            _check_species(species, (*at, "species", name))

    def entries(self, dataset: Definition) -> Iterator[tuple[KeyPath, str]]:
        for name, species in dataset["species"].items():
            for entry in entries_of(species):
                yield ("species", name, "entry" if entry == species["entry"] else "states"), entry

    def files(self, dataset: Definition) -> Iterator[tuple[KeyPath, Path]]:
        drawn_from = dataset["simulation"]["ctf"]["drawn_from"]
        if drawn_from is not None:
            yield ("simulation", "ctf", "drawn_from"), Path(drawn_from)

    def delivered_size(self, dataset: Definition) -> tuple[int, int]:
        simulation = dataset["simulation"]
        images = sum(species["images"] for species in dataset["species"].values())
        return with_junk(images, simulation["troubles"]["junk_share"]), simulation["delivered_box_px"]

    def memory_bytes(self, dataset: Definition) -> float:
        """Mostly that of the padded transform that slices are cut from, four of it while it is made.

        Measured: 1.96 GB at 128 px delivered, 4.4 GB at 256 px of which 128 are (docs/explanation/benchmarks.md).
        """
        box: int = dataset["simulation"]["box_px"]
        return 0.85e9 + 4 * 8 * padded_voxels(box, dataset["simulation"]["delivered_box_px"]) + 24.0 * box**3

    def few_images(self, dataset: Definition) -> Definition:
        """With few images of each species and, since each costs a map, few states."""
        return {**dataset, "species": {name: _few_of(species) for name, species in dataset["species"].items()}}

    def check(self, dataset: Definition, folders: Folders, at: KeyPath) -> None:
        from hydra_bench.datasets.simulated.inspection import check_species

        check_species(dataset, folders, at)

    def describe(self, dataset: Definition, folders: Folders) -> Iterator[str]:
        from hydra_bench.datasets.simulated.inspection import describe_simulation

        return describe_simulation(dataset, folders, self.memory_bytes(dataset))

    def make(self, dataset: Definition, folders: Folders, stack: Path, truth: Path) -> None:
        from hydra_bench.datasets.simulated.simulate import simulate

        simulate(dataset, folders, stack, truth)


def with_junk(good_images: int, junk_share: float) -> int:
    """All images, of which so many are good ones and a share is junk."""
    return good_images + round(good_images * junk_share / (1 - junk_share))


def padded_voxels(box_px: int, delivered_box_px: int) -> float:
    """Voxels of the padded transform that slices with the delivered images' frequencies are cut from."""
    sliced = min(math.ceil(math.sqrt(2) * delivered_box_px / 2) * 2 + 4, box_px)
    return float((_PADDING * sliced) ** 3)


def _few_of(species: Definition) -> Definition:
    few = {**species, "images": min(species["images"], _PREVIEWED_IMAGES)}
    if species["motion"] is not None:
        few["motion"] = {**species["motion"], "states": min(species["motion"]["states"], _PREVIEWED_STATES)}
    if species["interpolate"] is not None:
        few["interpolate"] = min(species["interpolate"], _PREVIEWED_STATES)
    return few


def _check_simulation(simulation: Definition, at: KeyPath) -> None:
    box, delivered = simulation["box_px"], simulation["delivered_box_px"]
    if delivered > box:
        raise KeyPathError((*at, "delivered_box_px"), f"{delivered} is not allowed; at most box_px, {box}, is expected")
    pixel_A = simulation["pixel_size_A"]
    if box * math.ceil(pixel_A / _FINEST_VOXEL_A) > _MOST_VOXELS:
        problem = f"{pixel_A:g} is not allowed; less is expected, for a box of {box} px (atoms are summed on a grid of"
        raise KeyPathError((*at, "pixel_size_A"), f"{problem} {_FINEST_VOXEL_A} Å, of at most {_MOST_VOXELS:,} voxels)")
    for key in ("defocus_A", "astigmatism_A"):
        low, high = simulation["ctf"][key]
        if low > high:
            problem = f"[{low:g}, {high:g}] is not allowed; the lower end is expected first"
            raise KeyPathError((*at, "ctf", key), problem)
    for number, views in enumerate(simulation["troubles"]["views"]):
        if not any(views["axis"]):
            problem = f"{views['axis']} is not allowed; a direction of some length is expected"
            raise KeyPathError((*at, "troubles", "views", number, "axis"), problem)


def _check_species(species: Definition, at: KeyPath) -> None:
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


def _check_map_keys(species: Definition, at: KeyPath) -> None:
    of_atoms = {"chains": ["*"], "assembly": None, "model": 1, "motion": None, "interpolate": None}
    for key, without in of_atoms.items():
        if species[key] != without:
            raise KeyPathError((*at, key), f"is not allowed; {species['entry']} is a map, which has no atoms")
    for i, state in enumerate(species["states"] if isinstance(species["states"], list) else []):
        if not isinstance(state, str) or not is_map(state):
            raise KeyPathError((*at, "states", i), "is not allowed; a map (.mrc) is expected, as the entry is one")
    if species["states"] == "models":
        raise KeyPathError((*at, "states"), "models is not allowed; a map has none")


def _check_motion(motion: Definition, at: KeyPath) -> None:
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
