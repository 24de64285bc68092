"""The configuration: what is accepted, what is refused and with which words."""

import hashlib
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from hydra_bench.config import configuration, key_tables
from hydra_bench.core.errors import InputError
from hydra_bench.core.schema import KeyPathError, Schema, filled, keys
from hydra_bench.methods import cards as method_cards

ROOT = Path(__file__).parents[3]
DEFAULT = ROOT / "config" / "config.yaml"


@pytest.fixture
def config() -> dict[str, Any]:
    """The demo's configuration with the structures' folder where the tests find it."""
    content = configuration.load([DEFAULT])
    content["structures_folder"] = str(ROOT / "resources" / "structures")
    return content


def problem(content: dict[str, Any], check: Callable[..., Any] = configuration.validate, **options: Any) -> str:
    """The message with which a configuration is refused."""
    with pytest.raises(InputError) as refusal:
        check(content, **options)
    message = str(refusal.value)
    assert "\n" not in message
    return message


def put(content: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        content = content[key]
    content[last] = value


def all_schemas() -> Iterator[tuple[str, Schema]]:
    yield "", yaml.safe_load(configuration.SCHEMA_PATH.read_text())
    for program in method_cards.programs():
        yield "method_definitions.<name>.parameters", method_cards.parameter_schema(program)


def test_the_demo_is_valid_and_fits_its_structures(config: dict[str, Any]) -> None:
    settings = configuration.validate(config)
    configuration.check_contents(settings)
    assert settings["method_definitions"]["hydra_k3"]["parameters"]["preset"] is None


def test_defaults_are_filled_in_at_every_depth_and_the_input_is_left_alone() -> None:
    minimal = {
        "datasets": ["d"],
        "methods": ["m"],
        "dataset_definitions": {"d": {"species": {"s": {"entry": "3jb9", "images": 50}}}},
        "method_definitions": {"m": {"program": "hydra", "label": "M"}},
    }
    before = deepcopy(minimal)
    settings = configuration.validate(minimal)
    assert minimal == before
    dataset = settings["dataset_definitions"]["d"]
    assert dataset["simulation"]["ctf"]["voltage_kV"] == 300
    assert dataset["species"]["s"]["chains"] == ["*"]
    assert settings["seeds"] == [0]
    assert settings["evaluation"] == {"mask": "none", "symmetry": {}}
    assert settings["method_definitions"]["m"]["parameters"]["classes"] == 3


def test_order_of_species_is_kept_and_order_of_keys_is_the_schemas(config: dict[str, Any]) -> None:
    species = config["dataset_definitions"]["demo"]["species"]
    species["spliceosome"] = {"images": 500, "entry": "3jb9"}
    settings = configuration.validate(config)["dataset_definitions"]["demo"]["species"]
    assert list(settings) == list(species)
    assert list(settings["spliceosome"]) == ["entry", "chains", "assembly", "model", "images", *OTHER_KEYS]


OTHER_KEYS = ["mass_kDa", "states", "interpolate", "motion", "wells"]
SIMULATION = "dataset_definitions.demo.simulation"
PARAMETERS = "method_definitions.hydra_k3.parameters"
MERGED = "method_definitions.hydra_k5.merge_classes"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("sedes", [0], "sedes: unknown key; allowed are datasets, .*; did you mean seeds?"),
        (f"{SIMULATION}.snrr", 0.1, f"{SIMULATION}.snrr: unknown key; .*; did you mean snr?"),
        (f"{SIMULATION}.snr", 0, f"{SIMULATION}.snr: 0 is not allowed; a number above 0 is expected"),
        (f"{SIMULATION}.snr", -0.5, f"{SIMULATION}.snr: -0.5 is not allowed; a number above 0"),
        (f"{SIMULATION}.snr", float("nan"), f"{SIMULATION}.snr: nan is not allowed; a number above 0"),
        (f"{SIMULATION}.snr", "1e-1", f"{SIMULATION}.snr: 1e-1 is not allowed; a number above 0"),
        (f"{SIMULATION}.box_px", 127, "box_px: 127 is not allowed; an even integer at least 16"),
        (f"{SIMULATION}.delivered_box_px", 256, "delivered_box_px: 256 is not allowed; at most box_px, 128"),
        (f"{SIMULATION}.delivered_box_px", 63, "delivered_box_px: 63 is not allowed; an even integer"),
        (f"{SIMULATION}.ctf.defocus_A", [2e4, 1e4], r"defocus_A: \[20000, 10000\] is not allowed; the lower end"),
        (f"{SIMULATION}.ctf.defocus_A", [1e4], "defocus_A: .* a list of 2, each a number at least 0 is expected"),
        ("dataset_definitions.demo.species.spliceosome.images", 0, "images: 0 is not allowed; an integer at least 1"),
        ("dataset_definitions.demo.species", {}, "species: .* a mapping of names to definitions or null is expected"),
        ("dataset_definitions.demo.evaluation_particles_per_class", 501, "at most the images of species spliceosome"),
        (f"{PARAMETERS}.classes", 0, f"{PARAMETERS}.classes: 0 is not allowed; an integer at least 1 and at most 1000"),
        (f"{PARAMETERS}.clases", 3, f"{PARAMETERS}.clases: unknown key; .*; did you mean classes?"),
        ("method_definitions.hydra_k3.program", "hidra", "program: unknown name 'hidra'; .*; did you mean hydra?"),
        ("methods", ["hydra_k4"], r"methods\[0\]: unknown name 'hydra_k4'; .*hydra_k5.*; did you mean"),
        ("datasets", ["demo", "dmo"], r"datasets\[1\]: unknown name 'dmo'; .*; did you mean demo?"),
        ("datasets", ["demo", "demo"], "datasets: .* all different is expected"),
        ("datasets", [], r"datasets: \[\] is not allowed; a list of 1 or more"),
        ("seeds", [-1], r"seeds\[0\]: -1 is not allowed; an integer at least 0"),
        ("evaluation.mask", "soft", "evaluation.mask: soft .*; one of none, truth or a mapping with the keys radius_A"),
        (
            "method_definitions.hydra_k5.merge_classes",
            {"a": [1, 2], "b": [2]},
            "merge_classes.b: 2 is not allowed; it belongs to a already",
        ),
        (
            "method_definitions.hydra_k5.merge_classes",
            {"a": [0]},
            r"merge_classes.a\[0\]: 0 is not allowed; an integer",
        ),
        (MERGED, {"a": []}, "merge_classes.a: .* a list of 1 or more, each an"),
        ("dataset_definitions", {"a/b": {}}, "dataset_definitions: a/b is not allowed; a name of letters"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_what_is_allowed(
    config: dict[str, Any], path: str, value: Any, expected: str
) -> None:
    put(config, path, value)
    assert re.search(expected.replace("?", r"\?"), problem(config))


MOTION = "dataset_definitions.moving.species.ribosome.motion"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("states", 1, "states: 1 is not allowed; an integer at least 2 and at most 10000"),
        ("angle_deg", [5, 5], r"angle_deg: \[5, 5\] is not allowed; two different ends, the lower first"),
        ("angle_deg", [15, -15], r"angle_deg: \[15, -15\] is not allowed"),
        ("angle_deg", [15], r"angle_deg: \[15\] is not allowed; a list of 2, each a number or null is expected"),
        ("shift_A", [0, 5], "angle_deg: and shift_A are both there; one of both is expected"),
        ("angle_deg", None, "angle_deg: is missing, as is shift_A; one of both is expected"),
        ("axis", [0, 0, 0], r"axis: \[0, 0, 0\] is not allowed; a direction"),
        ("axis", [0, 1], r"axis: \[0, 1\] is not allowed; null or centres or a list of 3, each a number"),
        ("through", "hinge", "through: hinge is not allowed; a list of 3, each a number or null"),
        (
            "angle",
            [0, 1],
            "angle: unknown key; allowed are chains, angle_deg, .*, states; did you mean angle_deg",
        ),
    ],
)
def test_a_wrong_motion_is_refused(config: dict[str, Any], path: str, value: Any, expected: str) -> None:
    put(config, f"{MOTION}.{path}", value)
    assert re.search(f"^{MOTION}.{expected}", problem(config))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("motion.chains", ["S*", "Q*"], f"^{MOTION}.chains: chain pattern 'Q.*' selects nothing; chains are L50"),
        ("motion.chains", ["L*", "S*"], rf"^{MOTION}.chains: L\*, S\* selects everything; some chains must rest"),
        # Two proteins at far ends of the ribosome.
        ("chains", ["LGG", "SA0"], f"^{MOTION}.through: null is not allowed; no moving atom lies within 8 Å"),
    ],
)
def test_a_motion_that_the_structure_does_not_bear_out_is_refused(
    config: dict[str, Any], path: str, value: Any, expected: str
) -> None:
    config["datasets"] = ["moving"]
    put(config, f"dataset_definitions.moving.species.ribosome.{path}", value)
    assert re.search(expected, problem(configuration.validate(config), configuration.check_contents))


def test_the_moving_dataset_fits_its_box_in_every_state(config: dict[str, Any]) -> None:
    config["datasets"] = ["moving"]
    configuration.check_contents(configuration.validate(config))
    # At rest 110 px are enough; tilted like a lid the subunit reaches further out.
    put(config, f"{MOTION}.axis", None)
    put(config, "dataset_definitions.moving.simulation.box_px", 110)
    message = problem(configuration.validate(config), configuration.check_contents)
    assert "simulation.box_px: 110 is too small for species ribosome, 3" in message
    del config["dataset_definitions"]["moving"]["species"]["ribosome"]["motion"]
    configuration.check_contents(configuration.validate(config))


def test_a_missing_key_is_named(config: dict[str, Any]) -> None:
    del config["dataset_definitions"]["demo"]["species"]["spliceosome"]["entry"]
    assert problem(config).startswith("dataset_definitions.demo.species.spliceosome.entry: is missing; a PDB entry")


def test_whole_floats_become_integers(config: dict[str, Any]) -> None:
    put(config, f"{SIMULATION}.box_px", 128.0)
    box = configuration.validate(config)["dataset_definitions"]["demo"]["simulation"]["box_px"]
    assert isinstance(box, int)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("structures_folder", "nowhere", "^structures_folder: nowhere: no such folder"),
        ("dataset_definitions.demo.species.spliceosome.entry", "9xyz", "spliceosome.entry: .*'9xyz'.*3jb9, 6zu5"),
        ("dataset_definitions.demo.species.small_subunit.chains", ["S*", "Q*"], "small_subunit.chains: .*'Q"),
        ("dataset_definitions.demo.species.spliceosome.model", 2, "spliceosome.model: .*no model 2"),
        ("dataset_definitions.demo.species.spliceosome.assembly", "7", "spliceosome.assembly: .*no assembly '7'"),
        (
            f"{SIMULATION}.box_px",
            64,
            rf"^{SIMULATION}.box_px: 64 is too small for species .*; at least \d+ is expected",
        ),
    ],
)
def test_what_the_structures_do_not_bear_out_is_refused(
    config: dict[str, Any], path: str, value: Any, expected: str
) -> None:
    put(config, path, value)
    assert re.search(expected, problem(configuration.validate(config), configuration.check_contents))


def test_a_corrupt_structure_is_refused_in_one_line(tmp_path: Path, config: dict[str, Any]) -> None:
    for path in (ROOT / "resources" / "structures").glob("*.gz"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:-8] + b"\0" * 8)
    config["structures_folder"] = str(tmp_path)
    message = problem(configuration.validate(config), configuration.check_contents)
    assert "spliceosome.entry: " in message
    assert "3jb9.cif.gz: not a readable structure" in message


def test_the_smallest_box_that_is_named_is_accepted(config: dict[str, Any]) -> None:
    put(config, f"{SIMULATION}.box_px", 64)
    message = problem(configuration.validate(config), configuration.check_contents)
    # The first species is the largest of the three, so its box has room for the others.
    smallest = int(re.search(r"at least (\d+)", message)[1])
    put(config, f"{SIMULATION}.box_px", smallest)
    configuration.check_contents(configuration.validate(config))
    put(config, f"{SIMULATION}.box_px", smallest - 2)
    problem(configuration.validate(config), configuration.check_contents)


def test_datasets_that_do_not_run_need_no_structures(config: dict[str, Any]) -> None:
    config["dataset_definitions"]["later"] = {"species": {"x": {"entry": "9xyz", "images": 20}}}
    configuration.check_contents(configuration.validate(config))


def test_the_file_that_holds_the_key_is_named(tmp_path: Path, config: dict[str, Any]) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("dataset_definitions: {demo: {simulation: {snr: 0}}}\nthreads: 2\n")
    files = [DEFAULT, mine]
    assert problem(configuration.load(files), sources=files).startswith(
        f"{mine}: dataset_definitions.demo.simulation.snr"
    )
    config["threads"] = 0  # as on the command line: no file says so
    assert problem(config, sources=files).startswith("threads: 0 is not allowed")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1", "not readable YAML"),
        ("threads: 1\nthreads: 2\n", "key 'threads' is there twice"),
        ("[1, 2]", "a mapping of keys to values is expected"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    message = problem([path], configuration.load)
    assert message.startswith(str(path))
    assert expected in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no.yaml: cannot be read" in problem([tmp_path / "no.yaml"], configuration.load)


def test_lists_are_replaced_and_mappings_merged(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("seeds: [7, 8]\ndataset_definitions: {demo: {simulation: {snr: 0.5}}}\n")
    merged = configuration.load([DEFAULT, mine])
    assert merged["seeds"] == [7, 8]
    assert merged["dataset_definitions"]["demo"]["simulation"]["snr"] == 0.5
    assert merged["dataset_definitions"]["demo"]["simulation"]["box_px"] == 128


def test_every_key_has_a_description_a_default_unless_required_and_a_row_in_the_reference() -> None:
    reference = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    for prefix, schema in all_schemas():
        for path, key, required in keys(schema, prefix):
            assert key.get("description"), path
            assert required or "default" in key, path
            assert f"| `{path}` |" in reference, f"{path}: run `make generated`"
    assert reference.endswith(key_tables.key_tables()), "run `make generated`"


def test_every_default_is_allowed_by_its_own_schema() -> None:
    for prefix, schema in all_schemas():
        for path, key, _ in keys(schema, prefix):
            if "default" in key:
                filled(key, key["default"], (path,))


def test_a_problem_carries_its_path() -> None:
    with pytest.raises(KeyPathError, match=r"^a\[0\]\.b: 0 is not allowed; an integer at least 1 is expected$"):
        filled({"type": "integer", "minimum": 1}, 0, ("a", 0, "b"))


def test_the_embedded_structures_are_what_their_checksums_say() -> None:
    folder = ROOT / "resources" / "structures"
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        checksum, name = line.split()
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == checksum


def test_images_are_drawn_again_as_datasets_of_their_own() -> None:
    settings = configuration.load([ROOT / "config" / "config.yaml"]) | {"noise_seeds": [0, 2]}
    checked = configuration.validate(settings)
    assert checked["datasets"] == ["demo", "demo.draw2"]
    first, second = (checked["dataset_definitions"][name] for name in checked["datasets"])
    assert first["seed"] == 0
    assert second == {**first, "seed": second["seed"]} != first
    # What is written down and read again is the same.
    assert configuration.validate(checked) == checked
    settings["dataset_definitions"]["theirs"] = {"particles": {"file": "x.star"}}
    with pytest.raises(InputError, match=r"datasets\[0\]: theirs: not simulated, so noise_seeds must be \[0\]"):
        configuration.validate(settings | {"datasets": ["theirs"]})
