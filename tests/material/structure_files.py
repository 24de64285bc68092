"""Small structures of carbon atoms, as files of an entry and of its states."""

from pathlib import Path

import gemmi
import numpy as np
from scipy.spatial.transform import Rotation

from hydra_bench.datasets.simulated.structures import Atoms

PIVOT, AWAY = np.array([17.0, 0, 0]), np.array([50.0, 60, -9])


def domain(n: int, seed: int, centre: tuple[float, float, float]) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)) * 12 + centre


def write_states(folder: Path, angle_deg: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
    """a.cif and b.cif: chains A and B of 40 residues; in b, B is turned, all is moved, and B lacks its last residue."""
    body, arm = domain(40, 0, (0, 0, 0)), domain(40, 1, (35, 0, 0))
    turn = Rotation.from_rotvec([0, 0, angle_deg], degrees=True)
    turned = turn.apply(arm - PIVOT) + PIVOT
    whole = Rotation.from_rotvec([0.4, -1.1, 0.3])
    write_cif(folder / "a.cif", A=body, B=arm)
    write_cif(folder / "b.cif", A=whole.apply(body) + AWAY, B=whole.apply(turned[:-1]) + AWAY)
    return np.concatenate([body, arm[:-1]]), np.concatenate([body, turned[:-1]])


def write_cif(path: Path, models: int = 1, **chains: np.ndarray) -> None:
    structure = gemmi.Structure()
    for number in range(models):
        model = atoms_of(**chains).model.clone()
        model.num = number + 1
        for chain in model:
            # One atom a residue, numbered, so that residues can be selected and matched.
            positions = [atom.pos.tolist() for residue in chain for atom in residue]
            while len(chain):
                del chain[0]
            for i, position in enumerate(positions):
                residue, atom = gemmi.Residue(), gemmi.Atom()
                residue.name, residue.seqid = "ALA", gemmi.SeqId(i + 1, " ")
                atom.name, atom.element = "CA", gemmi.Element("C")
                atom.pos = gemmi.Position(position[0] + number, *position[1:])
                residue.add_atom(atom)
                chain.add_residue(residue)
        structure.add_model(model)
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(path))


def atoms_of(centre_A: np.ndarray | None = None, **chains: np.ndarray) -> Atoms:
    """Carbon atoms at positions (n, 3) in Å, by chain."""
    model = gemmi.Model(1)
    for name, positions in chains.items():
        chain, residue = gemmi.Chain(name), gemmi.Residue()
        for position in positions:
            atom = gemmi.Atom()
            atom.element, atom.pos = gemmi.Element("C"), gemmi.Position(*position)
            residue.add_atom(atom)
        chain.add_residue(residue)
        model.add_chain(chain)
    positions = np.concatenate(list(chains.values())).astype(float)
    return Atoms(model, positions, np.full(len(positions), 12.0), np.zeros(3) if centre_A is None else centre_A)


def rod(length: float, start: np.ndarray, spread: float = 2.0, count: int = 60) -> np.ndarray:
    """Atoms about a line along x."""
    generator = np.random.default_rng(0)
    along = np.linspace(0, length, count)[:, None] * [1.0, 0, 0]
    return start + along + generator.normal(size=(count, 3)) * spread
