"""Species of several given states, what lies between them, wells, and maps in place of atoms."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from definitions import dataset
from scipy.spatial.transform import Rotation
from structure_files import AWAY, PIVOT, atoms_of, domain, rod, write_cif, write_states

from hydra_bench.contracts.truth import read_truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json
from hydra_bench.core.mrc import read_map, write_map
from hydra_bench.datasets.simulated.density import FORM_FACTOR_PER_DA, VolumeSource, density_map
from hydra_bench.datasets.simulated.imaging import Imaging, draw_particles
from hydra_bench.datasets.simulated.motion import Motion, Way, hinge, moved, moving_atoms, superposed
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.datasets.simulated.species import load_species, probabilities
from hydra_bench.datasets.simulated.structures import load_atoms, selected

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"
SPIKE = Path(__file__).parents[4] / "shared" / "structures"


def definition(**more: Any) -> dict[str, Any]:
    return {"entry": "a", "chains": ["*"], "assembly": None, "model": 1, **more}


def test_chains_and_residues_are_selected(tmp_path: Path) -> None:
    write_states(tmp_path)
    chains, residues = np.array(list("AAABB")), np.array([1, 2, 30, 1, -3])
    for patterns, expected in (
        (["A"], [1, 1, 1, 0, 0]),
        (["A:2-30"], [0, 1, 1, 0, 0]),
        (["A:1,30", "B:-3"], [1, 0, 1, 0, 1]),
        (["*:1"], [1, 0, 0, 1, 0]),
    ):
        np.testing.assert_array_equal(selected(chains, residues, patterns), np.array(expected, dtype=bool))
    kept = load_atoms(tmp_path, "a", ["A:3-5", "B"])
    assert len(kept.positions_A) == 3 + 40
    assert kept.residues[:3].tolist() == [3, 4, 5]
    with pytest.raises(InputError, match="'A:90' selects no residue"):
        load_atoms(tmp_path, "a", ["A:90"])


def test_states_are_superposed_on_what_rests(tmp_path: Path) -> None:
    first, second = write_states(tmp_path)
    species = load_species(tmp_path, definition(states=["b"]))
    assert (species.n_states, species.coordinates.tolist()) == (2, [[0], [1]])
    positions = [species.state_source(s).positions_A + species.atoms.centre_A for s in range(2)]
    # Each state has all of its own atoms; the body rests, though the arm is as heavy.
    assert [len(p) for p in positions] == [80, 79]
    np.testing.assert_allclose(positions[0][:79], first, atol=2e-3)
    np.testing.assert_allclose(positions[1], second, atol=1e-2)


def test_the_way_between_two_states_turns_the_arm_as_one(tmp_path: Path) -> None:
    first, second = write_states(tmp_path)
    species = load_species(tmp_path, definition(states=["b"], interpolate=5))
    assert species.coordinates.ravel().tolist() == [0, 0.25, 0.5, 0.75, 1]
    positions = [species.state_source(s).positions_A + species.atoms.centre_A for s in range(5)]
    np.testing.assert_allclose(positions[0], first, atol=1e-2)
    np.testing.assert_allclose(positions[4], second, atol=1e-2)
    turn = Rotation.from_rotvec([0, 0, 30], degrees=True)
    np.testing.assert_allclose(positions[2][40:], turn.apply(first[40:] - PIVOT) + PIVOT, atol=2e-2)
    for place in positions:
        np.testing.assert_allclose(place[:40], first[:40], atol=1e-2)
    assert species.facts()["moving_atoms"] == [39]


def test_a_way_runs_through_all_states_and_models(tmp_path: Path) -> None:
    write_cif(tmp_path / "a.cif", models=3, A=domain(40, 0, (0, 0, 0)))
    species = load_species(tmp_path, definition(states="models", model=2))
    assert species.n_states == 3
    three = load_species(tmp_path, definition(states=[{"model": 2}, {"model": 3}], interpolate=9))
    assert three.coordinates.ravel().tolist() == np.linspace(0, 2, 9).tolist()
    # Models differ by a shift, which superposition takes away.
    np.testing.assert_allclose(three.state_source(8).positions_A, three.state_source(0).positions_A, atol=1e-2)


def test_states_that_share_too_little_are_refused(tmp_path: Path) -> None:
    write_states(tmp_path)
    write_cif(tmp_path / "c.cif", X=domain(40, 0, (0, 0, 0)))
    for more in ({}, {"interpolate": 4}):
        with pytest.raises(InputError, match="state c, model 1: has 0 atoms in common"):
            load_species(tmp_path, definition(states=["b", "c"], **more))


def test_outliers_do_not_pull_at_a_superposition() -> None:
    fixed = domain(100, 3, (0, 0, 0))
    moving = fixed.copy()
    moving[60:] += [25, 0, 0]
    turn = Rotation.from_rotvec([0.2, 0.5, -0.4])
    transform, fits = superposed(fixed, turn.apply(moving) + AWAY)
    assert fits.tolist() == [True] * 60 + [False] * 40
    np.testing.assert_allclose(transform.apply(turn.apply(moving) + AWAY)[:60], fixed[:60], atol=1e-6)


def test_what_a_body_does_not_explain_is_straight() -> None:
    start = domain(30, 4, (0, 0, 0))
    end = start + PIVOT
    end[0] += [0, 8, 0]
    way = Way.between(start, end, np.array(["A"] * 30))
    np.testing.assert_allclose(way.at(0.5)[1:], start[1:] + PIVOT / 2, atol=1e-6)
    np.testing.assert_allclose(way.at(0.5)[0], start[0] + PIVOT / 2 + np.array([0, 4, 0]), atol=1e-6)


@pytest.mark.skipif(not SPIKE.is_dir(), reason=f"{SPIKE} is not there: the spike's entries are not in the repository")
def test_the_spikes_domain_opens() -> None:
    spike = {"entry": "6vxx", "chains": ["A", "B", "C"], "assembly": None, "model": 1}
    species = load_species(SPIKE, {**spike, "states": ["6vyb"], "interpolate": 3})
    largest = max(species.ways[0].bodies, key=lambda body: body[1].rotation.magnitude() * (len(body[0]) > 300))
    residues = species.atoms.residues[largest[0]]
    # Wrapp et al. and Walls et al. (2020): the receptor-binding domain, about residues 330 to 530, of one chain.
    assert (residues.min(), residues.max()) == (333, 528)
    assert 55 < np.degrees(largest[1].rotation.magnitude()) < 75
    middle = species.state_source(1)
    bonds = np.linalg.norm(np.diff(middle.positions_A[largest[0]], axis=0), axis=1)
    assert np.abs(np.median(bonds) - 1.5) < 0.1


def test_a_part_slides_along_its_line() -> None:
    atoms = atoms_of(A=rod(30, np.array([-35.0, 0, 0])), B=rod(30, np.array([3.0, 0, 0])))
    motion = Motion(("B",), shift_A=(0, 12), states=4)
    part = hinge(atoms, motion, moving_atoms(atoms, motion.chains))
    assert motion.coordinates.tolist() == [0, 4, 8, 12]
    assert part.direction[0] > 0.98  # away from the interface
    difference = moved(atoms.positions_A, part, 12.0) - atoms.positions_A
    np.testing.assert_allclose(difference[part.moving], 12 * np.tile(part.direction, (60, 1)))
    assert not difference[~part.moving].any()
    given = hinge(atoms, Motion(("B",), shift_A=(0, 1), axis=(0, 2, 0)), part.moving)
    np.testing.assert_allclose(given.direction, [0, 1, 0])


def test_an_axis_may_run_through_both_centres_of_mass_and_a_hinge_be_shared_with_one_part() -> None:
    starts = {"A": (0.0, 0, 0), "B": (24.0, 9, 0), "C": (48.0, 9, 0)}
    parts = {name: rod(20, np.array(start)) for name, start in starts.items()}
    atoms = atoms_of(**parts)
    moving = moving_atoms(atoms, ("B",))
    found = hinge(atoms, Motion(("B",), (0, 5), axis="centres", against=("A",)), moving)
    line = parts["B"].mean(0) - parts["A"].mean(0)
    np.testing.assert_allclose(found.direction, line / np.linalg.norm(line), atol=1e-9)
    left, right, both = (
        hinge(atoms, Motion(("B",), (0, 5), against=p), moving).point_A[0] for p in (("A",), ("C",), None)
    )
    assert left < both < right
    with pytest.raises(InputError, match="B selects atoms that move"):
        hinge(atoms, Motion(("B",), (0, 5), against=("B",)), moving)


def test_wells_gather_particles() -> None:
    coordinate = np.linspace(-10, 10, 21)
    np.testing.assert_allclose(probabilities(coordinate, None), 1 / 21)
    two = probabilities(coordinate, [{"at": -5, "width": 1, "share": 1}, {"at": 5, "width": 0, "share": 3}])
    assert two[15] == pytest.approx(0.75)
    assert two[:10].sum() == pytest.approx(0.25, abs=1e-6)
    left = two[:10] / two[:10].sum()
    assert left @ coordinate[:10] == pytest.approx(-5, abs=0.01)
    assert np.sqrt(left @ np.square(coordinate[:10] + 5)) == pytest.approx(1, abs=0.01)
    with pytest.raises(InputError, match=r"11 is not allowed; a place within -10\.\.10"):
        probabilities(coordinate, [{"at": 11, "width": 1, "share": 1}])
    imaging = Imaging.from_definition(dataset()["simulation"])
    species, still = SimpleNamespace(n_states=21, likely=two), SimpleNamespace(n_states=1, likely=None)
    drawn = draw_particles([3000, 100], imaging, 2, 0, [species, still])
    counts = np.bincount(drawn.states[drawn.classes == 0], minlength=21)
    assert counts[15] / 3000 == pytest.approx(0.75, abs=0.03)
    assert not drawn.states[drawn.classes == 1].any()
    plain = draw_particles([3000, 100], imaging, 2, 0, [SimpleNamespace(n_states=21, likely=None), still])
    np.testing.assert_array_equal(drawn.rotations, plain.rotations)


@pytest.fixture(scope="module")
def atoms_map() -> tuple[Any, torch.Tensor]:
    atoms = load_atoms(STRUCTURES, "6zu5", ["SA0", "SB0", "SC0"])
    return atoms, density_map(atoms, 64, 4.0, 200.0)


@pytest.mark.parametrize(("box", "pixel"), [(64, 4.0), (48, 4.0), (48, 6.0), (96, 3.0)])
def test_a_map_is_brought_to_another_grid(atoms_map: tuple, box: int, pixel: float) -> None:
    atoms, full = atoms_map
    placed = VolumeSource(Path("m.mrc"), full.numpy(), 4.0).on_grid(box, pixel)
    own = density_map(atoms, box, pixel, 200.0)
    assert torch.corrcoef(torch.stack([placed.flatten(), own.flatten()]))[0, 1] > (0.99 if pixel >= 4 else 0.98)
    assert float(placed.sum()) * pixel**3 == pytest.approx(float(own.sum()) * pixel**3, rel=0.02)


def test_a_map_with_a_mass_is_as_bright_as_atoms(atoms_map: tuple) -> None:
    atoms, full = atoms_map
    source = VolumeSource(Path("m.mrc"), 7 * full.numpy() - 3, 4.0, mass_kDa=atoms.mass_kDa)
    placed = source.on_grid(64, 4.0)
    assert float(placed.sum()) * 4.0**3 == pytest.approx(atoms.mass_kDa * 1e3 * FORM_FACTOR_PER_DA, rel=1e-3)
    assert float((placed - full).abs().max()) < 0.05 * float(full.max())
    assert source.diameter_A == pytest.approx(atoms.diameter_A, abs=12)


def test_maps_and_slides_and_wells_are_simulated(atoms_map: tuple, tmp_path: Path) -> None:
    """A species of two maps beside one that slides: each particle's own map is in the truth."""
    _, full = atoms_map
    for name, volume in (("one", full.numpy()), ("two", np.roll(full.numpy()[::-1], 1, axis=0))):
        write_map(tmp_path / f"{name}.mrc", volume, 4.0)
    content = dataset(images=20, delivered_box_px=16)
    entries = {"entry": f"{tmp_path}/one.mrc", "states": [f"{tmp_path}/two.mrc"], "images": 20}
    content["species"]["maps"] = {**entries, "chains": ["*"], "assembly": None, "model": 1}
    content["species"]["maps"]["wells"] = [{"at": 1, "width": 0, "share": 1}]
    slide = {"chains": ["SA?"], "angle_deg": None, "shift_A": [0, 30], "states": 3}
    content["species"]["small"]["motion"] = slide
    simulate(content, STRUCTURES, tmp_path / "stack", tmp_path / "truth")
    truth = read_truth(tmp_path / "truth")
    assert set(truth.states[truth.classes == 2]) == {1}
    assert set(truth.conformations[truth.classes == 1, 0]) == {0, 15, 30}
    assert [len(paths) for paths in truth.state_paths] == [0, 3, 2]
    facts = read_json(tmp_path / "truth" / "provenance.json")["species"]
    assert facts["small"]["motion"]["shifts_A"] == [0, 15, 30]
    assert list(facts["maps"]["sha256_of_states"]) == [f"{tmp_path}/two.mrc"]
    maps = [read_map(path)[0] for path in truth.state_paths[2]]
    assert np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1] < 0.9
