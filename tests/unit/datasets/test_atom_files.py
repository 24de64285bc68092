"""Atoms of simulations, converters and old programs: all of them are there once, and what is left out is told."""

from __future__ import annotations

import gzip
from pathlib import Path

import gemmi
import numpy as np
import pytest

from hydra_bench.core.errors import InputError
from hydra_bench.datasets.simulated import structure_files
from hydra_bench.datasets.simulated.left_out import LeftOut
from hydra_bench.datasets.simulated.structures import Atoms, load_atoms

BACKBONE = ("N", "CA", "C", "O")


def line(  # as many arguments as the format has fields
    name: str, residue: str, chain: str, number: int, x: float | str, alternative: str = " ", occupancy: float = 1.0
) -> str:
    element = name if name in ("ZN", "XX") else name[0]
    place = f"{x:>8}" if isinstance(x, str) else f"{x:8.3f}"
    at = f"ATOM      1  {name:<3}{alternative}{residue:<4}{chain:1}{number:4d}    "
    return f"{at}{place}{0.0:8.3f}{0.0:8.3f}{occupancy:6.2f}{20.0:6.2f}          {element:>2}"


def chain_lines(chain: str, first: int, residues: list[str], x: float = 0.0) -> list[str]:
    return [
        line(name, residue, chain, first + i, x + 3.8 * i + 0.9 * j)
        for i, residue in enumerate(residues)
        for j, name in enumerate(BACKBONE)
    ]


def read(tmp_path: Path, lines: list[str], name: str = "a.pdb") -> Atoms:
    text = "\n".join([*lines, "END", ""])
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return load_atoms(".", str(path))


def reasons(atoms: Atoms) -> dict[str, int]:
    return {part.reason: part.n_atoms for part in atoms.left_out}


SEQUENCE = ["ALA", "GLY", "VAL", "LEU", "GLY"]


@pytest.mark.parametrize(
    ("lines", "n_residues"),
    [
        (chain_lines("A", 4, SEQUENCE) + chain_lines("B", 2, SEQUENCE), 10),
        ([*chain_lines(" ", 1, SEQUENCE), "TER", *chain_lines(" ", 1, SEQUENCE)], 10),
        (chain_lines("P", 1, SEQUENCE) + chain_lines("P", 1, SEQUENCE[::-1]), 10),
        (chain_lines("P", 1, SEQUENCE) + chain_lines("Q", 1, SEQUENCE) + chain_lines("P", 3, SEQUENCE), 15),
        (chain_lines(" ", 9998, ["ALA", "GLY"]) + chain_lines(" ", 0, ["VAL"] * 3) + chain_lines(" ", 0, ["LEU"]), 6),
    ],
    ids=["names", "no names", "one name", "a name again", "numbers that overflow"],
)
@pytest.mark.parametrize("name", ["a.pdb", "a.pdb.gz"])
def test_chains_are_kept_whatever_they_are_called(tmp_path: Path, lines: list[str], n_residues: int, name: str) -> None:
    atoms = read(tmp_path, lines, name)
    assert len(atoms.positions_A) == 4 * n_residues
    assert not atoms.left_out


def test_alternatives_in_chains_of_one_name_stay_with_their_chain(tmp_path: Path) -> None:
    def residue(kind: str, x: float, best: str) -> list[str]:
        places = {"A": 0.0, "B": 1.0}
        occupancies = {letter: 0.7 if letter == best else 0.3 for letter in places}
        return [
            line(name, kind, "P", 7, x + places[letter] + j, letter, occupancies[letter])
            for j, name in enumerate(BACKBONE)
            for letter in places
        ]

    for other in ("VAL", "MET"):
        atoms = read(tmp_path, residue("VAL", 0.0, "A") + residue(other, 100.0, "B"))
        assert sorted(np.round(atoms.positions_A[:, 0] + atoms.centre_A[0])) == [0, 1, 2, 3, 101, 102, 103, 104]
        assert reasons(atoms) == {"other alternative conformations": 8}
        assert atoms.mass_kDa * 1e3 == pytest.approx(2 * sum(gemmi.Element(n[0]).weight for n in BACKBONE))


@pytest.mark.parametrize(
    ("alternatives", "kept"),
    [
        ([("CB", "SER", "A", 0.4), ("CB", "SER", "B", 0.6)], ["B"]),
        ([("CB", "SER", "A", 0.5), ("CB", "SER", "B", 0.5)], ["A"]),
        ([("CB", "SER", " ", 0.7), ("CB", "SER", "B", 0.3)], [" "]),
        ([("CB", "SER", " ", 0.3), ("CB", "SER", "B", 0.7)], ["B"]),
        # Two residues in one place: the larger share counts, not the number of atoms.
        ([("CB", "SER", "A", 0.6), ("CB", "LEU", "B", 0.4), ("CG", "LEU", "B", 0.4), ("CD", "LEU", "B", 0.4)], ["A"]),
        ([("CB", "SER", "B", 0.5), ("OG", "SER", "B", 0.5)], ["B", "B"]),
    ],
)
def test_the_most_occupied_alternative_is_taken_whole(tmp_path: Path, alternatives: list, kept: list[str]) -> None:
    place = {" ": 10.0, "A": 20.0, "B": 30.0}
    lines = chain_lines("A", 1, ["ALA"])
    lines += [
        line(name, residue, "A", 2, place[a] + i, a, occ) for i, (name, residue, a, occ) in enumerate(alternatives)
    ]
    atoms = read(tmp_path, lines)
    xs = (atoms.positions_A[:, 0] + atoms.centre_A[0])[4:]
    assert [{1: " ", 2: "A", 3: "B"}[int(round(x) // 10)] for x in xs] == kept
    assert all(site.atom.occ == 1 for site in atoms.model.all())


@pytest.mark.parametrize("water", ["HOH", "WAT", "TIP3", "SOL", "OPC", "SPCE"])
@pytest.mark.parametrize("ion", ["NA", "SOD", "Cl-", "POT", "CAL"])
def test_solvent_is_known_by_the_names_of_all_packages(tmp_path: Path, water: str, ion: str) -> None:
    lines = chain_lines("A", 1, SEQUENCE)
    for n in range(3):
        lines += [line(atom, water, "W", n + 1, 5.0) for atom in ("O", "H1", "H2")]
        lines.append(line(ion.upper()[:2], ion, "I", n + 1, 9.0))
    lines += [line("HA", "ALA", "A", 1, 1.0), line("ZN", "ZN", "Z", 1, 3.0)]
    atoms = read(tmp_path, lines)
    assert len(atoms.positions_A) == 4 * len(SEQUENCE) + 1
    assert reasons(atoms) == {"hydrogens": 1, "ions of the solvent": 3, "water": 9}
    assert all(isinstance(part, LeftOut) and part.mass_kDa > 0 for part in atoms.left_out)


def test_what_was_not_seen_is_left_out_and_told(tmp_path: Path) -> None:
    lines = [
        *chain_lines("A", 1, SEQUENCE),
        line("CB", "ALA", "A", 1, 1.0, occupancy=0.0),
        line("XX", "UNX", "A", 9, 1.0),
    ]
    assert reasons(read(tmp_path, lines)) == {"of occupancy 0": 1, "of unknown element": 1}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([line("CA", "ALA", "A", 1, "********")], r"atom 1 in line 1: x is '\*\*\*\*\*\*\*\*', which is no number"),
        ([line("CA", "ALA", "A", 1, "nan")], "x is 'nan', which is no number"),
        ([line("CA", "ALA", "A", 1, "inf")], "x is 'inf', which is no number"),
        ([line("CA", "ALA", "A", 1, 1.0)[:40]], "y is '', which is no number|z is '', which is no number"),
        ([*chain_lines("A", 1, ["ALA"]), "END", *chain_lines("B", 1, ["ALA"])], "8 atoms are listed, 4 of which can"),
        (["REMARK nothing"], "it holds no atoms"),
    ],
)
def test_pdb_files_that_are_refused(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path, lines)
    assert "\n" not in str(error.value)


COLUMNS = {
    "id": ["1", "2", "3"],
    "type_symbol": ["C"] * 3,
    "label_atom_id": ["CA"] * 3,
    "label_comp_id": ["ALA"] * 3,
    "label_asym_id": ["A"] * 3,
    "label_seq_id": ["1", "2", "3"],
    "label_alt_id": ["."] * 3,
    "Cartn_x": ["0.0", "3.8", "7.6"],
    "Cartn_y": ["0.0", "1.0", "0.0"],
    "Cartn_z": ["0.0"] * 3,
    "occupancy": ["1.0"] * 3,
}


def mmcif(tmp_path: Path, columns: dict[str, list[str]]) -> Atoms:
    header = "\n".join(f"_atom_site.{name}" for name in columns)
    rows = "\n".join(" ".join(row) for row in zip(*columns.values(), strict=True))
    (tmp_path / "a.cif").write_text(f"data_x\nloop_\n{header}\n{rows}\n")
    return load_atoms(".", str(tmp_path / "a.cif"))


@pytest.mark.parametrize(
    "change",
    [{}, {"label_alt_id": None}, {"occupancy": None}, {"id": None}, {"label_asym_id": "auth_asym_id"},
     {"label_atom_id": "auth_atom_id", "label_comp_id": "auth_comp_id", "label_seq_id": "auth_seq_id"}],
)  # fmt: skip
def test_mmcif_without_columns_that_say_nothing_is_read(tmp_path: Path, change: dict[str, str | None]) -> None:
    columns = {change.get(name, name): values for name, values in COLUMNS.items()}
    columns.pop(None, None)
    atoms = mmcif(tmp_path, columns)
    assert atoms.mass_kDa * 1e3 == pytest.approx(3 * gemmi.Element("C").weight)
    np.testing.assert_allclose(atoms.positions_A[:, 0] + atoms.centre_A[0], [0, 3.8, 7.6])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Cartn_y": None}, "3 atoms are listed, but the column _atom_site.Cartn_y is missing"),
        ({"type_symbol": None}, "the column _atom_site.type_symbol is missing"),
        ({"label_atom_id": None}, "the column _atom_site.label_atom_id or _atom_site.auth_atom_id is missing"),
        ({"Cartn_z": ["0.0", "?", "0.0"]}, "atom 2 has coordinates that are no numbers"),
        ({"Cartn_z": ["0.0", "nan", "0.0"]}, "atom 2 has coordinates that are no numbers"),
    ],
)
def test_mmcif_files_that_are_refused(tmp_path: Path, change: dict[str, list[str] | None], said: str) -> None:
    columns = {name: values for name, values in (COLUMNS | change).items() if values is not None}
    with pytest.raises(InputError, match=said) as error:
        mmcif(tmp_path, columns)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.pdb.gz", "a.cif.gz", "a.pdb.cif.gz"])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_small_file_that_unpacks_to_a_large_one_is_refused(
    name: str, parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything of it is kept; gzip may be of several parts, each with a size of its own."""
    monkeypatch.setattr(structure_files, "_MOST_BYTES", 100_000)
    monkeypatch.setattr(gzip, "decompress", None)
    monkeypatch.setattr(gemmi.cif, "read", None)
    path = tmp_path / name
    path.write_bytes(gzip.compress(bytes(101_000 // parts + 1)) * parts)
    assert path.stat().st_size < 1000
    with pytest.raises(InputError, match=r"\.gz: unpacks to more than the 100,000 bytes that a structure may have"):
        load_atoms(".", str(path))


def test_a_packed_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.cif.gz"
    path.write_bytes(gzip.compress(bytes(1000))[:-9])
    with pytest.raises(InputError, match=r"a\.cif\.gz: not a readable structure"):
        load_atoms(".", str(path))
