"""Files of atoms, PDB and mmCIF: every atom that a file lists is read, with coordinates, or the file is refused.

gemmi reads the formats. Here is what it passes over in files of simulations and converters: coordinates that are no
numbers, which it reads as 0, columns of mmCIF without which it finds no atoms, and atoms that it does not come to.
"""

import gzip
import math
from functools import lru_cache
from pathlib import Path

import gemmi

from hydra_bench.core.errors import InputError
from hydra_bench.core.reading import regular_file, unpacked_bytes
from hydra_bench.datasets.simulated.entries import is_map

_MOST_BYTES = 2_000_000_000
"""Of a structure's file, packed and unpacked, as fetching.max_mb has it: five times that of the largest entry."""
_ATOM_RECORDS = ("ATOM  ", "HETATM")
_COORDINATES = {"x": slice(30, 38), "y": slice(38, 46), "z": slice(46, 54)}
"""Columns of the PDB format."""

_NEEDED = (
    *((name,) for name in ("Cartn_x", "Cartn_y", "Cartn_z", "type_symbol")),
    *((f"label_{name}", f"auth_{name}") for name in ("atom_id", "comp_id", "asym_id", "seq_id")),
)
"""Columns of mmCIF that an atom must have, one of each group: names as deposited, or the author's."""

_NEUTRAL = {"label_alt_id": ".", "occupancy": "1"}
"""What columns say of an atom where they are not there."""


def read_structure(path: Path) -> gemmi.Structure:
    """Raises InputError if the file is corrupt, holds a map instead of atoms, or atoms that cannot be read."""
    if is_map(str(path)):
        raise InputError(f"{path}: a map has no atoms, and so no chains, models, assemblies, motions and states")
    about = path.stat()
    return _read_once(path, about.st_mtime_ns, about.st_size).clone()


@lru_cache(maxsize=2)  # species of one entry follow each other, and a ribosome takes a second to read
def _read_once(path: Path, _changed: int, _size: int) -> gemmi.Structure:
    regular_file(path, _MOST_BYTES)
    try:
        if path.suffix == ".gz" and unpacked_bytes(path, _MOST_BYTES) > _MOST_BYTES:
            raise InputError(f"{path}: unpacks to more than the {_MOST_BYTES:,} bytes that a structure may have")
        structure, n_listed = _read_mmcif(path) if ".cif" in path.suffixes else _read_pdb(path)
        # Names that are no text are found out here, and not when they are first asked for.
        [(chain.name, residue.name, str(residue.seqid)) for model in structure for chain in model for residue in chain]
    except InputError:
        raise
    except Exception as error:  # gemmi raises several types for a corrupt file
        raise InputError(f"{path}: not a readable structure ({' '.join(str(error).split())})") from None
    n_read = sum(model.count_atom_sites() for model in structure)
    if not n_listed:
        raise InputError(f"{path}: not a readable structure (it holds no atoms)")
    if n_read != n_listed:
        raise InputError(
            f"{path}: {n_listed:,} atoms are listed, {n_read:,} of which can be read; one structure of whole lines in "
            "one file, without an END before its end, is expected"
        )
    return structure


def _read_mmcif(path: Path) -> tuple[gemmi.Structure, int]:
    """The structure of the first block with atoms, and how many it lists. Raises InputError."""
    document = gemmi.cif.read(str(path))
    for block in document:
        atoms = block.find_mmcif_category("_atom_site.")
        if len(atoms):
            break
    else:
        raise InputError(f"{path}: not a readable structure (it holds no atoms)")
    columns = {tag.removeprefix("_atom_site.") for tag in atoms.tags}
    missing = [" or ".join(f"_atom_site.{name}" for name in names) for names in _NEEDED if not columns & {*names}]
    if missing:
        raise InputError(f"{path}: {len(atoms):,} atoms are listed, but the column {missing[0]} is missing")
    for name, value in _NEUTRAL.items():
        if name not in columns:
            atoms.loop.add_columns([f"_atom_site.{name}"], value)
    if "id" not in columns:
        _add_column(block, atoms.loop, "id", [str(number + 1) for number in range(len(atoms))])
    if "label_asym_id" not in columns:
        _add_column(block, atoms.loop, "label_asym_id", list(block.find_values("_atom_site.auth_asym_id")))
    structure = gemmi.make_structure_from_block(block)
    structure.merge_chain_parts()
    for model in structure:
        for site in model.all():
            if not all(map(math.isfinite, site.atom.pos.tolist())):
                raise InputError(f"{path}: atom {site.atom.serial} has coordinates that are no numbers")
    return structure, len(atoms)


def _add_column(block: gemmi.cif.Block, loop: gemmi.cif.Loop, name: str, values: list[str]) -> None:
    loop.add_columns([f"_atom_site.{name}"], "?")
    column = block.find_values(f"_atom_site.{name}")
    for row, value in enumerate(values):
        column[row] = value


def _read_pdb(path: Path) -> tuple[gemmi.Structure, int]:
    """The structure, and how many atoms it lists. Raises InputError."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    n_listed = 0
    for number, line in enumerate(content.decode("latin-1").splitlines(), 1):
        if line[:6] in _ATOM_RECORDS:
            n_listed += 1
            for axis, place in _COORDINATES.items():
                if not _is_finite(line[place]):
                    raise InputError(
                        f"{path}: atom {line[6:11].strip()} in line {number}: {axis} is {line[place].strip()!r}, which "
                        "is no number; numbers in columns 31 to 54 are expected"
                    )
    return gemmi.read_structure(str(path)), n_listed


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
