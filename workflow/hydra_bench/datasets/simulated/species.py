"""One species of a mixture: its atoms or its map, the states that it takes, and how likely each of them is.

A species that does not move has one state and no conformation coordinate. The simulator asks for nothing
but the number of states, their coordinates, how likely they are and what they are made of, so that other kinds of
heterogeneity can be added here.
"""

from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise

import numpy as np

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.types import FloatArray
from hydra_bench.datasets.simulated.density import VolumeSource, load_volume
from hydra_bench.datasets.simulated.entries import Folders, find_entry, is_map
from hydra_bench.datasets.simulated.motion import (
    Hinge,
    Motion,
    Way,
    common_atoms,
    hinge,
    moved,
    moving_atoms,
    superposed,
)
from hydra_bench.datasets.simulated.structure_files import read_structure
from hydra_bench.datasets.simulated.structures import Atoms, blaming, load_atoms

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
        if not isinstance(self.atoms, Atoms) or (self.hinge is None and not self.ways):
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

    @property
    def moving_mass_kDa(self) -> float:
        """Mass of the part that turns or slides."""
        if self.hinge is None or not isinstance(self.atoms, Atoms):
            return 0.0
        return float(self.atoms.masses_Da[self.hinge.moving].sum() / 1e3)

    def facts(self) -> JsonObject:
        """What the provenance says of it; points are in Å in the frame of the entry."""
        found: JsonObject = {"diameter_A": round(self.diameter_A, 1)}
        if isinstance(self.atoms, Atoms):
            found |= {"atoms": len(self.atoms.positions_A), "mass_kDa": round(self.atoms.mass_kDa, 1)}
            if self.hinge is not None:
                found["motion"] = {
                    "shifts_A" if self.hinge.slides else "angles_deg": np.round(self.coordinates[:, 0], 6).tolist(),
                    "axis": np.round(self.hinge.direction, 6).tolist(),
                    "moving_mass_kDa": round(self.moving_mass_kDa, 1),
                    "through": np.round(self.hinge.point_A + self.atoms.centre_A, 3).tolist(),
                }
        else:
            found |= {"map": str(self.atoms.path), "mass_kDa": self.atoms.mass_kDa}
        if self.hinge is None and self.n_states > 1:
            found["states"] = np.round(self.coordinates[:, 0], 6).tolist()
        if self.ways:
            found["moving_atoms"] = [int(sum(len(body) for body, _ in way.bodies)) for way in self.ways]
        return found


def selection(definition: JsonObject) -> JsonObject:
    """The part of a species' definition that chooses its atoms, as `load_atoms` takes it."""
    return {key: definition[key] for key in SELECTION}


def state_definitions(definition: JsonObject, folders: Folders) -> list[JsonObject]:
    """The selections of the given states in turn: the species' own, then those of its key `states`.

    A state takes from the species what it does not say itself; "models" are the other models of the entry.
    """
    first = selection(definition)
    states = definition.get("states")
    if states is None:
        return [first]
    if states == "models":
        count = len(read_structure(find_entry(folders, first["entry"])))
        if count < 2:
            raise InputError(f"models: the entry {first['entry']} has one model only, so there is one state")
        return [first, *({**first, "model": m} for m in range(1, count + 1) if m != first["model"])]
    # Another entry has models of its own, so the first one's number is not passed on.
    own = [{"entry": state} if isinstance(state, str) else state for state in states]
    given = [{key: value for key, value in state.items() if value is not None} for state in own]
    return [first, *({**first, "model": 1, **state} for state in given)]


def load_species(folders: Folders, definition: JsonObject) -> Species:
    """Read a species of a dataset definition.

    Raises SpeciesError: see load_atoms, load_volume, moving_atoms, hinge, common_atoms and probabilities.
    """
    if is_map(definition["entry"]):
        resting: Source = _load_map(folders, definition)
    else:
        resting = load_atoms(folders, **selection(definition))
    if definition.get("states") is not None:
        species = _of_states(folders, definition, resting)
    elif definition.get("motion") is None or isinstance(resting, VolumeSource):
        return Species(resting, np.zeros((1, 0)))
    else:
        motion = Motion.from_definition(definition["motion"])
        with blaming("motion", "chains"):
            moving = moving_atoms(resting, motion.chains)
        species = Species(resting, motion.coordinates[:, None], hinge(resting, motion, moving))
    if definition.get("wells") is None:
        return species
    with blaming("wells"):
        return replace(species, likely=probabilities(species.coordinates[:, 0], definition["wells"]))


def _load_map(folders: Folders, definition: JsonObject) -> VolumeSource:
    with blaming("entry"):
        return load_volume(folders, definition["entry"], definition.get("mass_kDa"))


def _of_states(folders: Folders, definition: JsonObject, resting: Source) -> Species:
    """A species with several given states, and those between them if it is to be interpolated."""
    with blaming("states"):
        definitions = state_definitions(definition, folders)
        steps = definition.get("interpolate")
        whole = np.arange(len(definitions), dtype=float)[:, None]
        if isinstance(resting, VolumeSource):
            maps = [_load_map(folders, {**definition, "entry": state["entry"]}) for state in definitions[1:]]
            return Species(resting, whole, sources=(resting, *maps))
        others = [load_atoms(folders, **state) for state in definitions[1:]]
        if steps is None:
            placed = [_on_first(resting, *pair) for pair in zip(others, definitions[1:], strict=True)]
            return Species(resting, whole, sources=(resting, *placed))
        first, knots = _shared([resting, *others], definitions)
        ways = tuple(Way.between(start, end, first.chains) for start, end in pairwise(knots))
        return Species(first, np.linspace(0, len(ways), steps)[:, None], ways=ways)


def _on_first(first: Atoms, other: Atoms, definition: JsonObject) -> Atoms:
    """A state with all of its own atoms, superposed on the first one."""
    of_first, of_other = _common(first, other, definition)
    transform, _ = superposed(first.positions_A[of_first], other.positions_A[of_other])
    return replace(other, positions_A=transform.apply(other.positions_A))


def _shared(given: list[Atoms], definitions: list[JsonObject]) -> tuple[Atoms, list[np.ndarray]]:
    """The first state with the atoms that all have, and their positions (N, 3) in each, superposed on the first's.

    What one state lacks is left out of all: else composition would change along the way, at once.
    """
    pairs = [_common(given[0], *pair) for pair in zip(given[1:], definitions[1:], strict=True)]
    kept = reduce(np.intersect1d, [of_first for of_first, _ in pairs])
    if not len(kept):
        raise InputError("states: all of them together have no atom in common")
    first = given[0].subset(kept)
    knots = [first.positions_A]
    for other, (of_first, of_other) in zip(given[1:], pairs, strict=True):
        positions = other.positions_A[of_other[np.searchsorted(of_first, kept)]]
        transform, _ = superposed(first.positions_A, positions)
        knots.append(transform.apply(positions))
    return first, knots


def _common(first: Atoms, other: Atoms, definition: JsonObject) -> tuple[np.ndarray, np.ndarray]:
    try:
        return common_atoms(first, other)
    except InputError as error:
        raise InputError(f"state {definition['entry']}, model {definition['model']}: {error}") from None


def probabilities(coordinate: FloatArray, wells: list[JsonObject] | None) -> FloatArray:
    """Probability (S,) of each state, given its coordinate (S,).

    Wells are normal distributions: `at` and `width` (standard deviation) in units of the coordinate, `share` the
    weight among the wells. Without wells, and at width null, see the configuration schema. States stand for the
    distribution at their coordinates, so that no particle lies between them.

    Raises
    ------
    InputError
        If a well lies where there is no state.
    """
    if wells is None:
        return np.full(len(coordinate), 1 / len(coordinate))
    total: FloatArray = np.zeros(len(coordinate))
    low, high = coordinate.min(), coordinate.max()
    for well in wells:
        if not low <= well["at"] <= high:
            raise InputError(f"{well['at']:g} is not allowed; a place within {low:g}..{high:g} is expected")
        distance = coordinate - well["at"]
        if not well["width"]:
            weight = (np.arange(len(coordinate)) == np.abs(distance).argmin()).astype(float)
        else:
            # The nearest state's exponent is 0: a narrow well between two states keeps its weight.
            exponent = -0.5 * np.square(distance / well["width"])
            weight = np.exp(exponent - exponent.max())
        total += well["share"] * weight / weight.sum()
    total /= total.sum()
    return total
