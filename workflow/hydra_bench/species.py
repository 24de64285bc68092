"""One species of a mixture: its atoms, and the states that it takes.

A species that does not move has one state and no conformation coordinate. The simulator asks for nothing
but the number of states, their coordinates and their atoms, so that other kinds of heterogeneity can be
added here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hydra_bench.motion import Hinge, Motion, hinge, moving_atoms, turned
from hydra_bench.structures import Atoms, load_atoms

SELECTION = ("entry", "model", "chains", "assembly")
"""The keys of a definition that choose atoms, in the order in which they are applied."""


@dataclass(frozen=True)
class Species:
    """atoms: at rest, their centre of mass at the origin; coordinates (S, d): conformation of each state, d may be 0.

    The origin is the centre of mass at rest in every state: centring each state anew would move the part that rests.
    """

    atoms: Atoms
    coordinates: np.ndarray
    hinge: Hinge | None = None

    @property
    def n_states(self) -> int:
        return len(self.coordinates)

    @property
    def central_state(self) -> int:
        """The state in the middle, which stands for the species where one map is shown."""
        return (self.n_states - 1) // 2

    def state_atoms(self, state: int) -> Atoms:
        """The atoms in a state, from 0, in the frame that all states share."""
        if self.hinge is None:
            return self.atoms
        angle = float(self.coordinates[state, 0])
        return replace(self.atoms, positions_A=turned(self.atoms.positions_A, self.hinge, angle))

    @property
    def diameter_A(self) -> float:
        """The largest diameter of all states about their common origin."""
        return max(self.state_atoms(s).diameter_A for s in range(self.n_states))

    def facts(self) -> dict[str, Any]:
        """What the provenance says of it; points are in Å in the frame of the entry."""
        found = {
            "atoms": len(self.atoms.positions_A),
            "mass_kDa": round(self.atoms.mass_kDa, 1),
            "diameter_A": round(self.diameter_A, 1),
        }
        if self.hinge is not None:
            found["motion"] = {
                "angles_deg": np.round(self.coordinates[:, 0], 6).tolist(),
                "axis": np.round(self.hinge.direction, 6).tolist(),
                "moving_mass_kDa": round(float(self.atoms.masses_Da[self.hinge.moving].sum() / 1e3), 1),
                "through": np.round(self.hinge.point_A + self.atoms.centre_A, 3).tolist(),
            }
        return found


def selection(definition: dict[str, Any]) -> dict[str, Any]:
    """The part of a species' definition that chooses its atoms, as `load_atoms` takes it."""
    return {key: definition[key] for key in SELECTION}


def load_species(folder: Path | str, definition: dict[str, Any]) -> Species:
    """Read a species of a dataset definition. Raises InputError: see load_atoms, moving_atoms and hinge."""
    atoms = load_atoms(folder, **selection(definition))
    if definition.get("motion") is None:
        return Species(atoms, np.zeros((1, 0)))
    motion = Motion.from_definition(definition["motion"])
    part = hinge(atoms, motion, moving_atoms(atoms, motion.chains))
    return Species(atoms, motion.angles_deg[:, None], part)


@dataclass(frozen=True)
class StateMap:
    """The map (D, D, D) of a species, k, in a state, both numbers from 0."""

    k: int
    state: int
    volume: torch.Tensor


class StateMaps:
    """The map of every state of every species in turn, as often as they are asked for.

    Maps of species with several states are made anew each time, two seconds each for a ribosome at 128 px,
    so that memory does not grow with the number of states; the others' maps are kept.
    """

    def __init__(self, species: Sequence[Species], make_map: Callable[[Atoms], torch.Tensor]) -> None:
        self._species, self._make_map = species, make_map
        self._kept: dict[int, torch.Tensor] = {}

    def __iter__(self) -> Iterator[StateMap]:
        for k, one in enumerate(self._species):
            for state in range(one.n_states):
                yield StateMap(k, state, self._volume(k, state))

    def _volume(self, k: int, state: int) -> torch.Tensor:
        if k in self._kept:
            return self._kept[k]
        volume = self._make_map(self._species[k].state_atoms(state))
        if self._species[k].n_states == 1:
            self._kept[k] = volume
        return volume
