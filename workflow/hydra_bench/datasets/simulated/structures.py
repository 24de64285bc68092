"""From a PDB entry to the atoms of one species: model, assembly, chains and residues.

Chains are chosen by patterns on their author names, each with residue numbers if it wants: `L*` is every chain whose
name starts with L, `A:331-528` residues 331 to 528 of chain A, `A:1-50,80` two ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import gemmi
import numpy as np

from hydra_bench.core.errors import InputError
from hydra_bench.core.types import FloatArray
from hydra_bench.datasets.simulated.entries import Folders, find_entry
from hydra_bench.datasets.simulated.left_out import LeftOut, leave_out
from hydra_bench.datasets.simulated.structure_files import read_structure

_FARTHEST_A = 1e5
"""Of an atom from the origin of its file: ten times what fits into the format of the PDB."""
_RANGE = re.compile(r"(-?\d+)(?:-(-?\d+))?")


class SpeciesError(InputError):
    """The files of a species do not bear out its definition; `key` is the part of it that is at fault."""

    def __init__(self, key: tuple[str, ...], problem: str) -> None:
        super().__init__(problem)
        self.key = key


@contextmanager
def blaming(*key: str) -> Iterator[None]:
    """Whatever InputError the block raises is the fault of a key of the species: a SpeciesError."""
    try:
        yield
    except InputError as error:
        raise SpeciesError(key, str(error)) from None


@dataclass(frozen=True)
class Atoms:
    """The atoms of one species, its centre of mass at the origin.

    model: gemmi model, whose atoms' own positions are those of rest; positions_A (N, 3) as x, y, z, which
    count; masses_Da (N,); centre_A (3,): where the entry has what is the origin here; left_out: what the file has
    beside them.
    """

    model: gemmi.Model
    positions_A: FloatArray
    masses_Da: FloatArray
    centre_A: FloatArray
    left_out: tuple[LeftOut, ...] = ()

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

    @property
    def residues(self) -> np.ndarray:
        """The author residue number (N,) of each atom, insertion codes left out."""
        return np.array([site.residue.seqid.num for site in self.model.all()])

    def subset(self, numbers: np.ndarray) -> Atoms:
        """These atoms alone, in the order that they have here, centred anew; their centre_A is the entry's."""
        keep = np.isin(np.arange(len(self.positions_A)), numbers)
        model = self.model.clone()
        flags = iter(keep.tolist())
        for chain in model:
            for residue in chain:
                _keep_only(residue, [next(flags) for _ in residue])
        positions, masses = self.positions_A[keep], self.masses_Da[keep]
        centre = masses @ positions / masses.sum()
        for site, position in zip(model.all(), positions - centre, strict=True):
            site.atom.pos = gemmi.Position(*position)
        return Atoms(model, positions - centre, masses, self.centre_A + centre)

    def selected(self, patterns: list[str] | tuple[str, ...]) -> np.ndarray:
        """Which atoms (N,) match one of the patterns. Raises InputError for a pattern that selects nothing."""
        return selected(self.chains, self.residues, patterns)


def load_atoms(
    folders: Folders, entry: str, chains: list[str] | None = None, assembly: str | None = None, model: int = 1
) -> Atoms:
    """Read an entry and keep one species of it.

    Parameters
    ----------
    entry : the name of a file in one of the folders, without suffix, or the path of a file.
    chains : patterns such as "L*" or "A:331-528"; a copy in an assembly has its chain's name.
    assembly : name of a biological assembly of the entry; None takes the deposited coordinates.
    model : number of the model, from 1.

    Raises
    ------
    SpeciesError
        If the entry, model or assembly does not exist, the file is corrupt, or nothing is selected.
    """
    with blaming("entry"):
        path = find_entry(folders, entry)
        structure = read_structure(path)
    if not 1 <= model <= len(structure):
        raise SpeciesError(("model",), f"{path}: no model {model}; there are 1..{len(structure)}")
    _keep_only(structure, [number == model for number in range(1, len(structure) + 1)])
    if assembly is not None:
        names = [a.name for a in structure.assemblies]
        if assembly not in names:
            problem = f"{path}: no assembly {assembly!r}; there are {', '.join(names) or 'none'}"
            raise SpeciesError(("assembly",), problem)
        # Copies keep their chain's name, so that patterns select them with it.
        structure.transform_to_assembly(assembly, gemmi.HowToNameCopiedChain.Dup)
    with blaming("chains"):
        _keep_chains(structure[0], chains or ["*"], path)
    with blaming("entry" if chains in (None, ["*"]) else "chains"):
        left_out = leave_out(structure, path)
        return replace(_centred(structure[0], path), left_out=left_out)


def _keep_only(parent: gemmi.Structure | gemmi.Chain | gemmi.Residue, keep: list[bool]) -> None:
    """Delete the models of a structure, residues of a chain or atoms of a residue that are not to be kept."""
    for index in reversed(range(len(keep))):
        if not keep[index]:
            del parent[index]


def _keep_chains(model: gemmi.Model, patterns: list[str], path: Path) -> None:
    """Drop the residues that match none of the patterns; chains without any are left empty."""
    residues = [(chain.name, residue.seqid.num) for chain in model for residue in chain]
    names, numbers = np.array([name for name, _ in residues]), np.array([number for _, number in residues])
    try:
        kept = iter(selected(names, numbers, patterns).tolist())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    for chain in model:
        _keep_only(chain, [next(kept) for _ in chain])


def _centred(model: gemmi.Model, path: Path) -> Atoms:
    atoms = [site.atom for site in model.all()]
    if not atoms:
        raise InputError(f"{path}: the selection holds no atoms")
    positions = np.array([atom.pos.tolist() for atom in atoms])
    masses = np.array([atom.element.weight * atom.occ for atom in atoms])
    nowhere = np.flatnonzero(~(np.abs(positions) < _FARTHEST_A).all(1) | ~(masses >= 0))  # NaN is neither
    if len(nowhere):
        site = list(model.all())[nowhere[0]]
        raise InputError(
            f"{path}: atom {_name_of(site.atom)} of residue {site.residue.name} {site.residue.seqid} in chain "
            f"{site.chain.name}: its coordinates or occupancy are missing, or none that can be"
        )
    if not masses.sum() > 0:
        raise InputError(f"{path}: the selection's atoms have no mass (unknown elements, or occupancies of 0)")
    centre = (positions * masses[:, None]).sum(0) / masses.sum()
    positions -= centre
    for atom, position in zip(atoms, positions, strict=True):
        atom.pos = gemmi.Position(*position)
    return Atoms(model, positions, masses, centre)


def _name_of(atom: gemmi.Atom) -> str:
    try:
        return atom.name
    except UnicodeDecodeError:
        return "without a name"


def selected(chains: np.ndarray, residues: np.ndarray, patterns: Iterable[str]) -> np.ndarray:
    """Which atoms (N,), given their chain names (N,) and residue numbers (N,), match one of the patterns.

    Raises
    ------
    InputError
        For a pattern that is none or selects nothing.
    """
    names = list(dict.fromkeys(chains.tolist()))
    mask = np.zeros(len(chains), dtype=bool)
    for text in patterns:
        pattern, ranges = _parsed(text)
        found = np.isin(chains, [name for name in names if fnmatchcase(name, pattern)])
        if not found.any():
            raise InputError(f"chain pattern {text!r} selects nothing; chains are {', '.join(names)}")
        if ranges:
            found &= np.any([(residues >= first) & (residues <= last) for first, last in ranges], axis=0)
            if not found.any():
                raise InputError(f"chain pattern {text!r} selects no residue of the chains that it matches")
        mask |= found
    return mask


def _parsed(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The shell pattern of chain names, and first and last residue number of each range, both included."""
    chains, colon, rest = text.partition(":")
    matches = [_RANGE.fullmatch(part.strip()) for part in rest.split(",")] if colon else []
    ranges = [(int(m[1]), int(m[2] or m[1])) for m in matches if m]
    if colon and (not chains or len(ranges) != len(matches) or any(first > last for first, last in ranges)):
        raise InputError(f"chain pattern {text!r} is not allowed; a pattern such as L*, or A:331-528, is expected")
    return chains, ranges
