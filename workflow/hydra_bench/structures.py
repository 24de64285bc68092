"""From a PDB entry to the atoms of one species."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import gemmi
import numpy as np

from hydra_bench.errors import InputError

SUFFIXES = (".cif.gz", ".cif", ".pdb.gz", ".pdb")


@dataclass(frozen=True)
class Atoms:
    """The atoms of one species, its centre of mass at the origin.

    model: gemmi model, whose atoms' own positions are those of rest; positions_A (N, 3) as x, y, z, which
    count; masses_Da (N,); centre_A (3,): where the entry has what is the origin here.
    """

    model: gemmi.Model
    positions_A: np.ndarray
    masses_Da: np.ndarray
    centre_A: np.ndarray

    @property
    def mass_kDa(self) -> float:
        return float(self.masses_Da.sum() / 1e3)

    @property
    def diameter_A(self) -> float:
        """Twice the largest distance from the centre of mass: what every view must have room for."""
        return float(2 * np.linalg.norm(self.positions_A, axis=1).max())

    @property
    def chains(self) -> np.ndarray:
        """The author chain name (N,) of each atom; a copy in an assembly has its chain's."""
        return np.array([site.chain.name for site in self.model.all()])


def find_entry(folder: Path | str, entry: str) -> Path:
    """The file of a PDB entry in a folder. Raises InputError naming the entries that are there."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; it must hold the structures")
    for suffix in SUFFIXES:
        path = folder / f"{entry.lower()}{suffix}"
        if path.is_file():
            return path
    present = sorted({p.name.split(".")[0] for p in folder.iterdir() if p.name.endswith(SUFFIXES)})
    raise InputError(f"entry {entry!r} is not in {folder}; there are {', '.join(present) or 'none'}")


def load_atoms(
    folder: Path | str, entry: str, chains: list[str] | None = None, assembly: str | None = None, model: int = 1
) -> Atoms:
    """Read an entry and keep one species of it.

    Parameters
    ----------
    chains : shell patterns on author chain names ("L*"); a copy in an assembly has its chain's name.
    assembly : name of a biological assembly of the entry; None takes the deposited coordinates.
    model : number of the model, from 1.

    Raises
    ------
    InputError
        If the entry, model or assembly does not exist, the file is corrupt, or nothing is selected.
    """
    path = find_entry(folder, entry)
    try:
        structure = gemmi.read_structure(str(path))
    except Exception as error:  # gemmi raises several types for a corrupt file
        raise InputError(f"{path}: not a readable structure ({' '.join(str(error).split())})") from None
    _keep_model(structure, model, path)
    if assembly is not None:
        names = [a.name for a in structure.assemblies]
        if assembly not in names:
            raise InputError(f"{path}: no assembly {assembly!r}; there are {', '.join(names) or 'none'}")
        # Copies keep their chain's name, so that patterns select them with it.
        structure.transform_to_assembly(assembly, gemmi.HowToNameCopiedChain.Dup)
    _keep_chains(structure, chains or ["*"], path)
    structure.remove_alternative_conformations()
    structure.remove_hydrogens()
    structure.remove_waters()
    structure.remove_empty_chains()
    return _centred(structure[0], path)


def _keep_model(structure: gemmi.Structure, model: int, path: Path) -> None:
    if not 1 <= model <= len(structure):
        raise InputError(f"{path}: no model {model}; there are 1..{len(structure)}")
    for index in reversed(range(len(structure))):
        if index != model - 1:
            del structure[index]


def _keep_chains(structure: gemmi.Structure, patterns: list[str], path: Path) -> None:
    names = [chain.name for chain in structure[0]]
    try:
        kept = matching_chains(names, patterns)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    for index in reversed(range(len(names))):
        if names[index] not in kept:
            del structure[0][index]


def matching_chains(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """The chain names that match one of the shell patterns. Raises InputError for a pattern that selects nothing."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(f"chain pattern {pattern!r} selects nothing; chains are {', '.join(names)}")
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


def _centred(model: gemmi.Model, path: Path) -> Atoms:
    atoms = [site.atom for site in model.all()]
    if not atoms:
        raise InputError(f"{path}: the selection holds no atoms")
    positions = np.array([atom.pos.tolist() for atom in atoms])
    masses = np.array([atom.element.weight * atom.occ for atom in atoms])
    centre = (positions * masses[:, None]).sum(0) / masses.sum()
    positions -= centre
    for atom, position in zip(atoms, positions, strict=True):
        atom.pos = gemmi.Position(*position)
    return Atoms(model, positions, masses, centre)
