"""One species of a mixture: its atoms or its map, and the states that it takes.

A species that does not move has one state and no conformation coordinate. The simulator asks for nothing
but the number of states, their coordinates, how likely they are and what they are made of, so that other kinds of
heterogeneity can be added here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from hydra_bench.core.errors import InputError
from hydra_bench.datasets.simulated.density import density_map
from hydra_bench.datasets.simulated.entries import Folders, is_map
from hydra_bench.datasets.simulated.motion import Hinge, Motion, hinge, moved, moving_atoms
from hydra_bench.datasets.simulated.occupancy import probabilities
from hydra_bench.datasets.simulated.structures import Atoms, load_atoms, number_of_models
from hydra_bench.datasets.simulated.superposition import Way, common_atoms, superposed
from hydra_bench.datasets.simulated.volume_source import VolumeSource, load_volume

SELECTION = ("entry", "model", "chains", "assembly")
"""The keys of a definition that choose atoms, in the order in which they are applied."""

Source = Atoms | VolumeSource
"""What a map is made of."""


@dataclass(frozen=True)
class Species:
    """atoms: at rest, their centre of mass at the origin; coordinates (S, d): conformation of each state, d may be 0.

    The origin is the centre of mass at rest in every state: centring each state anew would move the part that rests.
    What else is there says where atoms are in a state: a hinge; ways from one given state to the next, each of
    length 1 in the coordinate; or sources, one a state, atoms or maps. likely (S,): probability of each state, None
    for all alike.
    """

    atoms: Source
    coordinates: np.ndarray
    hinge: Hinge | None = None
    ways: tuple[Way, ...] = ()
    sources: tuple[Source, ...] = ()
    likely: np.ndarray | None = None

    @property
    def n_states(self) -> int:
        return len(self.coordinates)

    @property
    def central_state(self) -> int:
        """The state in the middle, which stands for the species where one map is shown."""
        return (self.n_states - 1) // 2

    def state_source(self, state: int) -> Source:
        """What the map of a state, from 0, is made of, in the frame that all states share."""
        if self.sources:
            return self.sources[state]
        if self.hinge is None and not self.ways:
            return self.atoms
        coordinate = float(self.coordinates[state, 0])
        if self.hinge is not None:
            return replace(self.atoms, positions_A=moved(self.atoms.positions_A, self.hinge, coordinate))
        segment = min(int(coordinate), len(self.ways) - 1)
        return replace(self.atoms, positions_A=self.ways[segment].at(coordinate - segment))

    @property
    def diameter_A(self) -> float:
        """The largest diameter of all states about their common origin."""
        return max(self.state_source(s).diameter_A for s in range(self.n_states))

    @property
    def mass_kDa(self) -> float | None:
        """Mass of the atoms at rest; of a map the one that was given, if it was."""
        return self.atoms.mass_kDa

    def facts(self) -> dict[str, Any]:
        """What the provenance says of it; points are in Å in the frame of the entry."""
        found: dict[str, Any] = {"diameter_A": round(self.diameter_A, 1)}
        if isinstance(self.atoms, Atoms):
            found |= {"atoms": len(self.atoms.positions_A), "mass_kDa": round(self.atoms.mass_kDa, 1)}
        else:
            found |= {"map": str(self.atoms.path), "mass_kDa": self.atoms.mass_kDa}
        if self.hinge is not None:
            found["motion"] = {
                "shifts_A" if self.hinge.slides else "angles_deg": np.round(self.coordinates[:, 0], 6).tolist(),
                "axis": np.round(self.hinge.direction, 6).tolist(),
                "moving_mass_kDa": round(float(self.atoms.masses_Da[self.hinge.moving].sum() / 1e3), 1),
                "through": np.round(self.hinge.point_A + self.atoms.centre_A, 3).tolist(),
            }
        elif self.n_states > 1:
            found["states"] = np.round(self.coordinates[:, 0], 6).tolist()
        if self.ways:
            found["moving_atoms"] = [int(sum(len(body) for body, _ in way.bodies)) for way in self.ways]
        return found


def selection(definition: dict[str, Any]) -> dict[str, Any]:
    """The part of a species' definition that chooses its atoms, as `load_atoms` takes it."""
    return {key: definition[key] for key in SELECTION}


def state_definitions(definition: dict[str, Any], folders: Folders) -> list[dict[str, Any]]:
    """The selections of the given states in turn: the species' own, then those of its key `states`.

    A state takes from the species what it does not say itself; "models" are the other models of the entry.
    """
    first = selection(definition)
    states = definition.get("states")
    if states is None:
        return [first]
    if states == "models":
        count = number_of_models(folders, first["entry"])
        if count < 2:
            raise InputError(f"models: the entry {first['entry']} has one model only, so there is one state")
        return [first, *({**first, "model": m} for m in range(1, count + 1) if m != first["model"])]
    # Another entry has models of its own, so the first one's number is not passed on.
    own = [
        {"entry": one} if isinstance(one, str) else {k: v for k, v in one.items() if v is not None} for one in states
    ]
    return [first, *({**first, "model": 1, **one} for one in own)]


def load_species(folders: Folders, definition: dict[str, Any]) -> Species:
    """Read a species of a dataset definition.

    Raises InputError: see load_atoms, load_volume, moving_atoms, hinge, common_atoms and probabilities.
    """
    wells = definition.get("wells")
    if definition.get("states") is not None:
        species = _of_states(folders, definition)
    elif is_map(definition["entry"]):
        species = Species(_load_map(folders, definition), np.zeros((1, 0)))
    else:
        atoms = load_atoms(folders, **selection(definition))
        if definition.get("motion") is None:
            return Species(atoms, np.zeros((1, 0)))
        motion = Motion.from_definition(definition["motion"])
        part = hinge(atoms, motion, moving_atoms(atoms, motion.chains))
        species = Species(atoms, motion.coordinates[:, None], part)
    if wells is None:
        return species
    return replace(species, likely=probabilities(species.coordinates[:, 0], wells))


def _load_map(folders: Folders, definition: dict[str, Any], entry: str | None = None) -> VolumeSource:
    return load_volume(folders, entry or definition["entry"], definition.get("mass_kDa"))


def _of_states(folders: Folders, definition: dict[str, Any]) -> Species:
    """A species with several given states, and those between them if it is to be interpolated."""
    definitions, steps = state_definitions(definition, folders), definition.get("interpolate")
    whole = np.arange(len(definitions), dtype=float)[:, None]
    if is_map(definition["entry"]):
        maps = tuple(_load_map(folders, definition, one["entry"]) for one in definitions)
        return Species(maps[0], whole, sources=maps)
    given = [load_atoms(folders, **one) for one in definitions]
    if steps is None:
        placed = [given[0]] + [_on_first(given[0], one, d) for one, d in zip(given[1:], definitions[1:], strict=True)]
        return Species(given[0], whole, sources=tuple(placed))
    first, knots = _shared(given, definitions)
    chains = first.chains
    ways = tuple(Way.between(one, other, chains) for one, other in pairwise(knots))
    return Species(first, np.linspace(0, len(ways), steps)[:, None], ways=ways)


def _on_first(first: Atoms, other: Atoms, definition: dict[str, Any]) -> Atoms:
    """A state with all of its own atoms, superposed on the first one."""
    one, its = _common(first, other, definition)
    transform, _ = superposed(first.positions_A[one], other.positions_A[its])
    return replace(other, positions_A=transform.apply(other.positions_A))


def _shared(given: list[Atoms], definitions: list[dict[str, Any]]) -> tuple[Atoms, list[np.ndarray]]:
    """The first state with the atoms that all have, and their positions (N, 3) in each, superposed on the first's.

    What one state lacks is left out of all: else composition would change along the way, at once.
    """
    numbers = [np.arange(len(given[0].positions_A))]
    for other, definition in zip(given[1:], definitions[1:], strict=True):
        one, its = _common(given[0], other, definition)
        lookup = np.full(len(given[0].positions_A), -1)
        lookup[one] = its
        numbers.append(lookup)
    kept = np.flatnonzero(np.all([lookup >= 0 for lookup in numbers], axis=0))
    if not len(kept):
        raise InputError("states: all of them together have no atom in common")
    first = given[0].subset(kept)
    knots = [first.positions_A]
    for other, lookup in zip(given[1:], numbers[1:], strict=True):
        positions = other.positions_A[lookup[kept]]
        transform, _ = superposed(first.positions_A, positions)
        knots.append(transform.apply(positions))
    return first, knots


def _common(first: Atoms, other: Atoms, definition: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    try:
        return common_atoms(first, other)
    except InputError as error:
        raise InputError(f"state {definition['entry']}, model {definition['model']}: {error}") from None


@dataclass(frozen=True)
class StateMap:
    """The map (D, D, D) of a species, k, in a state, both numbers from 0."""

    k: int
    state: int
    volume: torch.Tensor


class StateMaps:
    """The map of every state of every species in turn, each made anew when it is asked for.

    A map takes two seconds for a ribosome at 128 px, and at 256 px 67 MB of memory: which are worth keeping, whoever
    asks knows.
    """

    def __init__(self, species: Sequence[Species], make_map: Callable[[Source], torch.Tensor]) -> None:
        self._species, self._make_map = species, make_map

    def numbers(self) -> Iterator[tuple[int, int]]:
        """Species and state of each map, both from 0, in order."""
        return ((k, state) for k, one in enumerate(self._species) for state in range(one.n_states))

    def make(self, k: int, state: int) -> StateMap:
        return StateMap(k, state, self._make_map(self._species[k].state_source(state)))

    def __iter__(self) -> Iterator[StateMap]:
        return (self.make(*number) for number in self.numbers())


def source_map(source: Source, box_px: int, pixel_size_A: float, b_factor_A2: float) -> torch.Tensor:
    """The map (D, D, D) of atoms or of a given map, which has a fall-off of its own."""
    if isinstance(source, VolumeSource):
        return source.on_grid(box_px, pixel_size_A)
    return density_map(source, box_px, pixel_size_A, b_factor_A2)
