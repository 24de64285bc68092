"""Dataset definitions: what is refused before any job, each in one line that names the key."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from structure_files import domain, write_cif

from hydra_bench.config import configuration
from hydra_bench.core.errors import InputError
from hydra_bench.core.mrc import write_map
from hydra_bench.core.mrc_header import MRC_HEADER_BYTES
from hydra_bench.datasets.kinds import description
from hydra_bench.datasets.simulated import inspection, structure_files

ROOT = Path(__file__).parents[3]
STRUCTURES = ROOT / "resources" / "structures"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_BENCH_OFFLINE", "1")


def config_of(dataset: dict[str, Any], structures: Path = STRUCTURES, cache: str = "nowhere") -> dict[str, Any]:
    return {
        "datasets": ["d"],
        "methods": ["m"],
        "structures_folder": str(structures),
        "fetching": {"cache": cache},
        "dataset_definitions": {"d": dataset},
        "method_definitions": {"m": {"program": "hydra", "label": "M"}},
    }


def of_species(**species: Any) -> dict[str, Any]:
    return {"species": {"s": {"entry": "6zu5", "chains": ["SA0", "SB0", "S60"], "images": 20, **species}}}


def checked(dataset: dict[str, Any], structures: Path = STRUCTURES) -> dict[str, Any]:
    settings = configuration.validate(config_of(dataset, structures))
    configuration.check_named_files(settings)
    configuration.fetch_entries(settings)
    configuration.check_contents(settings)
    return settings


def refusal(dataset: dict[str, Any], structures: Path = STRUCTURES) -> str:
    with pytest.raises(InputError) as refused:
        checked(dataset, structures)
    message = str(refused.value)
    assert "\n" not in message
    assert message.startswith("dataset_definitions.d.")
    return message


SPECIES = "dataset_definitions.d.species.s"
TURN = {"chains": ["SA0"], "angle_deg": [-10, 10]}


@pytest.mark.parametrize(
    ("species", "expected"),
    [
        ({"entry": "9xyz"}, f"{SPECIES}.entry: entry '9xyz' is not there, and fetching is switched off"),
        ({"entry": "./no.cif"}, rf"{SPECIES}.entry: \./no.cif: no such file"),
        ({"entry": "no file"}, f"{SPECIES}.entry: no file is not allowed; a PDB entry such as 3jb9"),
        ({"chains": ["SA0:5000-6000"]}, f"{SPECIES}.chains: .*'SA0:5000-6000' selects no residue"),
        ({"chains": ["SA0:9-3"]}, f"{SPECIES}.chains: .*chain pattern 'SA0:9-3' is not allowed"),
        ({"motion": TURN | {"axis": [0, 0, 0]}}, rf"{SPECIES}.motion.axis: \[0, 0, 0\] is not allowed; a direction"),
        ({"motion": TURN | {"against": ["SA0"]}}, f"{SPECIES}.motion.against: .*selects atoms that move"),
        ({"motion": TURN | {"against": ["Q"]}}, f"{SPECIES}.motion.against: .*selects nothing"),
        ({"motion": TURN, "states": ["3jb9"]}, f"{SPECIES}.motion: is not allowed beside states"),
        ({"motion": TURN, "wells": [{"at": 40}]}, rf"{SPECIES}.wells: 40 is not allowed; a place within -10..10"),
        ({"wells": [{"at": 40}]}, f"{SPECIES}.wells: is not allowed; it goes with motion or states"),
        ({"interpolate": 5}, f"{SPECIES}.interpolate: 5 is not allowed; it goes with states"),
        ({"states": "models"}, f"{SPECIES}.states: .*has one model only"),
        ({"states": ["3jb9"], "chains": ["*"], "entry": "6zu5"}, f"{SPECIES}.states: state 3jb9, model 1: has 0 atoms"),
        ({"states": [{"model": 2}]}, f"{SPECIES}.states: .*no model 2"),
        ({"mass_kDa": 5}, f"{SPECIES}.mass_kDa: 5 is not allowed; it goes with a map"),
    ],
)
def test_a_species_that_cannot_be_is_refused(species: dict[str, Any], expected: str) -> None:
    assert re.match(expected, refusal(of_species(**species)))


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ({}, "species: is missing; one of species, particles, cryobench, entries is expected"),
        ({"entries": ["6zu5"], **of_species()}, "species: species and entries are both there"),
        ({"entries": ["6zu5"]}, "images: is missing"),
        ({**of_species(), "images": 5}, "images: 5 is not allowed; it goes with entries"),
        ({"entries": ["6zu5", "a/6zu5.cif"], "images": 20}, r"entries\[1\]: a/6zu5.cif is the second one named 6zu5"),
        ({"entries": "nowhere", "images": 20}, "entries: nowhere: no such folder"),
        (
            {"entries": ["6zu5"], "images": 3},
            "evaluation_particles_per_class: 20 is not allowed; .* of species 6zu5, 3",
        ),
        (
            {**of_species(), "simulation": {"ctf": {"drawn_from": "no.star"}}},
            "simulation.ctf.drawn_from: no.star: no such",
        ),
        ({"particles": {"file": "no.star"}}, "particles.file: no.star: no such file"),
        ({"cryobench": {"folder": "nowhere"}}, "cryobench: nowhere: no such folder"),
        ({"particles": {"file": "a.star", "reference": {}}}, "particles.reference.labels: is missing, as is classes"),
        (
            {"particles": {"file": "a.star", "reference": {"classes": {"x": {"labels": [1]}}}}},
            "particles.reference.classes.x.labels: is not allowed; the labels' file is missing",
        ),
    ],
)
def test_a_dataset_that_cannot_be_is_refused(dataset: dict[str, Any], expected: str) -> None:
    assert re.match(f"dataset_definitions.d.{expected}", refusal(dataset))


def test_two_species_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("dataset_definitions:\n  d:\n    species:\n      s: {entry: 3jb9}\n      s: {entry: 6zu5}\n")
    with pytest.raises(InputError, match=f"{path}: not readable YAML .*key 's' is there twice"):
        configuration.load([path])


def test_a_corrupt_structure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1abc.cif").write_text("data_x\nloop_\n_a\n_b\n1\n")
    (tmp_path / "2abc.cif").write_text("data_2ABC\n_entry.id 2ABC\n")
    (tmp_path / "3abc.cif.gz").write_bytes(b"\x1f\x8b broken")
    for entry in ("1abc", "2abc", "3abc"):
        message = refusal(of_species(entry=entry), tmp_path)
        assert re.match(f"{SPECIES}.entry: .*{entry}.cif.*: not a readable structure", message)


@pytest.mark.parametrize(
    ("shape", "pixel", "value", "expected"),
    [
        ((16, 16, 18), 2.0, None, r"shape \(16, 16, 18\); a cubic map is expected"),
        ((16, 16, 16), 0.0, None, "pixel size 0 Å in its header"),
        ((16, 16, 16), 2.0, np.nan, "values that are no numbers"),
        ((15, 15, 15), 2.0, None, "box 15; an even one is expected"),
    ],
)
def test_a_map_that_is_none_is_refused(tmp_path: Path, shape: tuple, pixel: float, value: Any, expected: str) -> None:
    path = tmp_path / "one.mrc"
    volume = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    with mrcfile.new(path) as mrc:
        mrc.set_data(volume)
        mrc.voxel_size = pixel
    if value is not None:  # mrcfile would warn of it
        with open(path, "r+b") as file:
            file.seek(MRC_HEADER_BYTES)
            file.write(np.float32(value).tobytes())
    message = refusal({"species": {"s": {"entry": str(path), "images": 20}}})
    assert re.match(f"{SPECIES}.entry: {path}: {expected}", message)


def test_a_map_has_no_chains_and_no_motion(tmp_path: Path) -> None:
    write_map(tmp_path / "one.mrc", np.random.default_rng(0).random((16, 16, 16)), 2.0)
    for key, value in (("chains", ["A"]), ("motion", TURN), ("model", 2)):
        message = refusal({"species": {"s": {"entry": str(tmp_path / "one.mrc"), "images": 20, key: value}}})
        assert re.match(f"{SPECIES}.{key}: is not allowed; .*one.mrc is a map, which has no atoms", message)


def test_a_species_that_leaves_the_box_may_be_wrapped() -> None:
    small = {"box_px": 32, "pixel_size_A": 6.6, "delivered_box_px": 32, "shift_px": 4}
    assert "box_px: 32 is too small" in refusal({**of_species(), "simulation": small})
    settings = checked({**of_species(), "simulation": {**small, "overhang": "wrap"}})
    said = "\n".join(description("d", settings["dataset_definitions"]["d"], [STRUCTURES]))
    assert "too much: what leaves the image at the largest shifts comes in on its other side" in said


def test_entries_are_species_named_after_them(tmp_path: Path) -> None:
    settings = configuration.validate(config_of({"entries": ["3jb9", "./mine/x.pdb"], "images": 30}))
    species = settings["dataset_definitions"]["d"]["species"]
    assert list(species) == ["3jb9", "x"]
    assert [one["entry"] for one in species.values()] == ["3jb9", "./mine/x.pdb"]
    written_out = {name: {"entry": one["entry"], "images": 30} for name, one in species.items()}
    assert configuration.validate(config_of({"species": written_out})) == settings


def test_a_folder_of_files_is_its_species(tmp_path: Path) -> None:
    for name in ("b.cif.gz", "a.pdb", "readme.txt"):
        (tmp_path / name).write_text("")
    settings = configuration.validate(config_of({"entries": str(tmp_path), "images": 30}))
    assert list(settings["dataset_definitions"]["d"]["species"]) == ["a", "b"]


def test_what_a_dataset_would_be_is_described() -> None:
    dataset = {
        "species": {
            "still": {"entry": "6zu5", "chains": ["SA0", "SB0", "S60"], "images": 30},
            "turning": {**of_species()["species"]["s"], "motion": TURN, "wells": [{"at": 0, "width": 1}]},
        },
        "simulation": {"box_px": 64, "pixel_size_A": 5, "delivered_box_px": 32},
    }
    settings = checked(dataset)
    said = "\n".join(description("d", settings["dataset_definitions"]["d"], [STRUCTURES]))
    assert re.search(r"still: 30 images, \d+ kDa, \d+ Å across \(\d+ Å with its shifts, of 320 Å\)", said)
    assert "16 states from -10 to 10 degrees, atoms move by up to" in said
    assert "disk: 0.2 MB of images, 2.4 MB of 18 true maps" in said
    assert re.search("time: about .* memory: about", said.replace("\n", " "))


def test_hundreds_of_species_take_no_more_reading_than_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ribosome takes a second to read, and a species of it a twentieth to take out of it."""
    for number in range(5):
        write_cif(tmp_path / f"mol{number}.cif", A=domain(9, number, (0, 0, 0)), B=domain(9, 7, (9, 0, 0)))
    # In turns, as a mixture of many is that a script wrote.
    species = {
        f"s{number}": {"entry": f"mol{number % 5}", "chains": ["AB"[number % 2]], "images": 20 + number % 3}
        for number in range(600)
    }
    asked: Counter[str] = Counter()

    def counted(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            asked[name] += 1
            return function(*arguments)

        return called

    monkeypatch.setattr(inspection, "load_species", counted(inspection.load_species, "species"))
    monkeypatch.setattr(structure_files, "_read_mmcif", counted(structure_files._read_mmcif, "files"))
    monkeypatch.setattr(configuration, "ensure", counted(configuration.ensure, "entries"))
    settings = configuration.validate(config_of({"species": species}, tmp_path) | {"noise_seeds": list(range(9))})
    configuration.fetch_entries(settings)
    configuration.check_contents(settings)
    assert asked == {"species": 10, "files": 5, "entries": 5}
    species["s599"] = {"entry": "mol4", "chains": ["C"], "images": 20}
    assert "d.species.s599.chains: " in refusal({"species": species}, tmp_path)
