"""What is left out of the atoms of a file: what a map does not show, or would show twice. All of it is counted.

Hydrogens; water and the ions of a solvent, by the names that wwPDB, CHARMM, AMBER and GROMACS have for them; all
but one of alternative conformations; atoms of unknown elements, or that nothing was seen of. Ions that bind in one
place (Mg, Ca, Zn, Mn, Fe) are kept under their names of the wwPDB.

Of alternative conformations the most occupied is taken, as if it were the only one. They are told by the letters in
the file and not by names or numbers: chains that have one name and number their residues anew are other atoms.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import gemmi
import numpy as np

from hydra_bench.core.errors import InputError

# fmt: off
WATERS = {
    "HOH", "DOD", "WAT", "H2O",  # wwPDB
    "TIP", "TIP2", "TIP3", "TIP4", "TIP5", "TP3", "TP4", "TP5", "OPC", "OP3",  # CHARMM, AMBER
    "SOL", "SPC", "SPCE", "T3P", "T4P", "T5P", "T3H", "T4E", "PPW",  # GROMACS, VMD
}
IONS = {
    "NA", "CL", "K", "LI", "RB", "CS", "BR", "IOD", "F",  # wwPDB
    "SOD", "CLA", "POT", "LIT", "RUB", "CES", "CAL", "BAR",  # CHARMM
    "NA+", "CL-", "K+", "LI+", "RB+", "CS+", "BR-", "I-", "F-", "CIO", "CIP", "CIM", "IP", "IM", "IB",  # AMBER, GROMACS
}
# fmt: on

_HYDROGEN, _WATER, _ION = "hydrogens", "water", "ions of the solvent"
_ALTERNATIVE, _UNKNOWN, _UNSEEN = "other alternative conformations", "of unknown element", "of occupancy 0"

_NO_LETTER = "\0"


@dataclass(frozen=True)
class LeftOut:
    """Atoms that are left out for one reason; their mass as if all of each were there."""

    reason: str
    n_atoms: int
    mass_kDa: float


def leave_out(structure: gemmi.Structure, path: object) -> tuple[LeftOut, ...]:
    """Take out of the structure's first model what is left out; what it was, by reason.

    Raises
    ------
    InputError
        If atoms would be lost for no reason that is listed.
    """
    model = structure[0]
    before = model.count_atom_sites()
    counts: Counter[str] = Counter()
    masses: defaultdict[str, float] = defaultdict(float)

    def count(reason: str, atom: gemmi.Atom) -> None:
        counts[reason] += 1
        masses[reason] += atom.element.weight / 1e3

    has_hydrogens = model.has_hydrogen()
    for chain in model:
        for residue in chain:
            name = residue.name.upper()
            solvent = _WATER if name in WATERS else _ION if name in IONS and _is_one_atom(residue) else None
            if solvent or has_hydrogens:
                for atom in residue:
                    if solvent or atom.is_hydrogen():
                        count(solvent or _HYDROGEN, atom)
            if solvent:
                residue.name = "HOH"  # which gemmi takes out faster than atoms one by one
    structure.remove_waters()
    structure.remove_hydrogens()
    doomed: list[tuple[gemmi.Residue, list[int]]] = []
    # Most files have none of these, and a ribosome has 165,000 atoms.
    odd = any(site.atom.altloc != _NO_LETTER or _not_seen(site.atom) for site in model.all())
    for chain in model if odd else ():
        conformers = _other_conformers(chain)
        for number, residue in enumerate(chain):
            out = []
            for i, atom in enumerate(residue):
                reason = _ALTERNATIVE if (number, i) in conformers else _not_seen(atom)
                if reason:
                    count(reason, atom)
                    out.append(i)
            if out:
                doomed.append((residue, out))
    for residue, out in doomed:
        for i in reversed(out):
            del residue[i]
    structure.remove_empty_chains()
    lost = before - sum(counts.values()) - model.count_atom_sites()
    if lost:
        raise InputError(f"{path}: {lost:,} atoms would be lost for no reason that is known; a plain file is expected")
    return tuple(LeftOut(reason, counts[reason], masses[reason]) for reason in sorted(counts))


def _is_one_atom(residue: gemmi.Residue) -> bool:
    return sum(not atom.is_hydrogen() for atom in residue) == 1


def _not_seen(atom: gemmi.Atom) -> str | None:
    if atom.occ <= 0:
        return _UNSEEN
    return _UNKNOWN if atom.element.atomic_number == 0 else None


def _other_conformers(chain: gemmi.Chain) -> set[tuple[int, int]]:
    """Residue and atom numbers in a chain of what belongs to a conformation that is not taken.

    Atoms of the taken one get occupancy 1 and lose their letter.
    """
    places: defaultdict[tuple[int | None, str], list[tuple[int, int]]] = defaultdict(list)
    lettered = set()
    for number, residue in enumerate(chain):
        key = (residue.seqid.num, residue.seqid.icode)
        for i, atom in enumerate(residue):
            places[key].append((number, i))
            if atom.altloc != _NO_LETTER:
                lettered.add(key)
    others: set[tuple[int, int]] = set()
    for key in lettered:
        # Where numbering starts again, a residue of the same number has the same atoms once more.
        copies: list[list[tuple[int, int]]] = [[]]
        seen: set[tuple[str, str]] = set()
        for number, i in places[key]:
            atom = chain[number][i]
            if (atom.name, atom.altloc) in seen:
                copies.append([])
                seen.clear()
            seen.add((atom.name, atom.altloc))
            copies[-1].append((number, i))
        for members in copies:
            others |= _not_taken(chain, members)
    return others


def _not_taken(chain: gemmi.Chain, members: list[tuple[int, int]]) -> set[tuple[int, int]]:
    """Of the atoms of one residue, with its alternatives, those of the conformations that are not taken."""
    atoms = {place: chain[place[0]][place[1]] for place in members}
    letters = sorted({atom.altloc for atom in atoms.values()} - {_NO_LETTER})
    if not letters:
        return set()
    by_name: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, atom in atoms.items():
        by_name[atom.name].append(place)
    # An atom without a letter that another with one has the name of is a conformation, too.
    with_blank = [name for name, same in by_name.items() if len({atoms[place].altloc for place in same}) > 1]
    candidates = letters + [_NO_LETTER] * any(
        atoms[place].altloc == _NO_LETTER for name in with_blank for place in by_name[name]
    )

    def occupancy(letter: str) -> float:
        names = with_blank if letter == _NO_LETTER else by_name
        values = [atoms[place].occ for name in names for place in by_name[name] if atoms[place].altloc == letter]
        return float(np.mean(values))

    best = max(candidates, key=occupancy)  # the first of equals
    others = set()
    for same in by_name.values():
        mine = [place for place in same if atoms[place].altloc == best]
        blank = [place for place in same if atoms[place].altloc == _NO_LETTER]
        taken = mine or blank
        others |= set(same) - set(taken)
        if len(same) > len(blank):
            for place in taken:
                atoms[place].occ = 1.0
                atoms[place].altloc = _NO_LETTER
    return others
