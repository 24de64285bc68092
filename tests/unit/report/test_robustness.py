"""What troubles do to methods: which datasets are a study, and what its cells say."""

from __future__ import annotations

import csv
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from report_results import NAMES, finished, identity

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json, write_json
from hydra_bench.datasets.simulated.troubles import Troubles
from hydra_bench.report.figures.index import read_index, write_figures
from hydra_bench.report.page.page import write_page
from hydra_bench.report.results import read_all
from hydra_bench.report.tables.robustness import SWITCHES, studies
from hydra_bench.report.tables.tables import write_tables

NONE = {
    "contrast_log_sd": 0, "noise_excess": 0, "noise_corner_A": 66, "plane_sd": 0, "views": [], "defocus_error_sd_A": 0,
    "junk_share": 0, "junk_kinds": ["empty"], "neighbour_share": 0, "neighbour_distance_px": 52,
}  # fmt: skip
DATASETS: dict[str, dict[str, Any]] = {
    "my_noise": {"troubles": NONE | {"noise_excess": 4}},
    "my_none": {},
    "my_shares": {"images": [60, 40, 20]},
    "my_shifts": {"simulation": {"shift_px": 12}},
    "my_junk": {"troubles": NONE | {"junk_share": 0.25}},
}
ARI = {
    "hydra": {"my_noise": 0.5, "my_none": 0.98, "my_shares": 0.7, "my_shifts": None, "my_junk": 0.6},
    "other": {"my_noise": 0.7, "my_none": 0.899, "my_shares": 0.4, "my_shifts": 0.3, "my_junk": 0.6},
    "bound": {"my_noise": 0.8, "my_none": 1.0, "my_shares": 1.0, "my_shifts": 1.0, "my_junk": 1.0},
    "oracle": dict.fromkeys(DATASETS, 1.0),
}


def make(folder: Path, datasets: dict[str, dict[str, Any]] = DATASETS) -> list[Path]:
    """Metrics of four methods on each dataset, and what their datasets were made by; there are no maps to draw."""
    paths = []
    for dataset, differing in datasets.items():
        simulation = {"snr": 0.1, "box_px": 32, "pixel_size_A": 3.3, "shift_px": 6, "troubles": NONE}
        simulation |= differing.get("simulation", {}) | {"troubles": differing.get("troubles", NONE)}
        counts = differing.get("images", [40, 40, 40])
        species = {name: {"entry": "3jb9", "images": n} for name, n in zip(NAMES, counts, strict=True)}
        truth = folder / "datasets" / dataset / "truth"
        write_json(truth / "provenance.json", {"definition": {"simulation": simulation, "species": species}})
        for method, aris in ARI.items():
            path = folder / "metrics" / dataset / method / "0.json"
            write_json(path, metrics(dataset, method, aris[dataset]))
            paths.append(path)
    return paths


def metrics(dataset: str, method: str, ari: float | None) -> dict[str, Any]:
    program = {"bound": "class_bound", "oracle": "backprojection"}.get(method, "hydra")
    more: dict[str, Any] = {"dataset": dataset, "program": program, "fsc": None, "alignments": []}
    if ari is None:
        return identity(method, method.title(), seed=0) | {"dataset": dataset}
    content = finished(method, method.title(), ari, 0.8, seed=0, latents=False, reads_truth=program != "hydra")
    content["clustering"]["ari_good"] = ari + 0.1 if dataset == "my_junk" and method != "bound" else None
    return content | more | {"given": ["labels"] if method == "oracle" else []}


def test_a_study_is_datasets_of_the_same_species_of_which_one_has_no_trouble(tmp_path: Path) -> None:
    (study,) = studies(read_all(make(tmp_path)))
    assert [column.name for column in study.columns] == ["none", "noise", "shares", "shifts", "junk"]
    differs = ["none", "noise_excess: 4", "images: 60, 40, 20", "shift_px: 12", "junk_share: 0.25"]
    assert [column.differs for column in study.columns] == differs
    # The oracle's labels are the truth's, so that there is nothing to see in them.
    assert [(row.method, row.is_bound) for row in study.rows] == [("hydra", False), ("other", False), ("bound", True)]


@pytest.mark.parametrize("kept", [["my_none", "my_shares", "my_shifts"], ["my_noise", "my_junk"], ["my_noise"]])
def test_without_troubles_or_without_a_dataset_that_has_none_there_is_no_study(tmp_path: Path, kept: list[str]) -> None:
    paths = make(tmp_path, {name: DATASETS[name] for name in kept})
    assert studies(read_all(paths)) == []
    tables = tmp_path / "tables"
    write_tables(make(tmp_path / "all"), tables)
    assert (tables / "robustness.csv").is_file()
    write_tables(paths, tables)  # and none is left of other runs
    assert not list(tables.glob("robustness*"))


def test_datasets_of_other_species_are_no_part_of_it(tmp_path: Path) -> None:
    paths = make(tmp_path)
    record = tmp_path / "datasets" / "my_noise" / "truth" / "provenance.json"
    content = read_json(record)
    content["definition"]["species"][NAMES[0]]["entry"] = "6zu5"
    write_json(record, content)
    (study,) = studies(read_all(paths))
    assert "noise" not in [column.name for column in study.columns]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"species": {"a": ["3jb9"]}}, "species: mappings with a whole number of images are expected"),
        ({"species": {"a": {"images": "many"}}}, "species: mappings with a whole number of images are expected"),
        ({"species": []}, "species: mappings with a whole number of images are expected"),
        ({"simulation": {"troubles": 0}}, "simulation.troubles: a mapping is expected"),
        ({"species": 3}, "species: mappings with a whole number of images are expected"),
        ({"simulation": {"troubles": [4]}}, "simulation.troubles: a mapping is expected"),
    ],
)
def test_a_record_that_was_damaged_is_refused(tmp_path: Path, damage: dict[str, Any], said: str) -> None:
    paths = make(tmp_path)
    record = tmp_path / "datasets" / "my_noise" / "truth" / "provenance.json"
    definition = read_json(record)["definition"]
    simulation = definition["simulation"] | damage.get("simulation", {})
    write_json(record, {"definition": {**definition, **damage, "simulation": simulation}})
    with pytest.raises(InputError) as refused:
        studies(read_all(paths))
    assert str(refused.value) == f"{record}: definition.{said}"


@pytest.mark.parametrize("without", [{"species": None}, {"species": {}}, {"simulation": None, "species": None}])
def test_a_dataset_without_species_of_its_own_is_no_part_of_it(tmp_path: Path, without: dict[str, Any]) -> None:
    paths = make(tmp_path)
    record = tmp_path / "datasets" / "my_noise" / "truth" / "provenance.json"
    write_json(record, {"definition": read_json(record)["definition"] | without})
    (study,) = studies(read_all(paths))
    assert [column.name for column in study.columns] == ["none", "shares", "shifts", "junk"]


def test_a_record_of_no_troubles_at_all_is_one_without_trouble(tmp_path: Path) -> None:
    paths = make(tmp_path)
    record = tmp_path / "datasets" / "my_none" / "truth" / "provenance.json"
    definition = read_json(record)["definition"]
    write_json(record, {"definition": definition | {"simulation": definition["simulation"] | {"troubles": None}}})
    (study,) = studies(read_all(paths))
    assert study.columns[0].name == "none"


def test_a_cell_has_the_ari_of_the_good_ones_and_its_share_of_the_bound(tmp_path: Path) -> None:
    (study,) = studies(read_all(make(tmp_path)))
    hydra, other, bound = study.rows
    assert [cell.text for cell in hydra.cells] == ["0.980", "0.500", "0.700", "failed", "0.700"]
    assert [cell.share_text for cell in hydra.cells] == ["98 %", "62 %", "70 %", "", "70 %"]
    assert [cell.text for cell in other.cells] == ["0.899", *["fails without"] * 4]
    assert [cell.share_text for cell in other.cells] == ["90 %", "", "", "", ""]
    assert [cell.text for cell in bound.cells] == ["1.000", "0.800", "1.000", "1.000", "1.000"]
    assert {cell.share_text for cell in bound.cells} == {""}


def test_tables_figure_and_page_show_it(tmp_path: Path) -> None:
    paths = make(tmp_path, {name: DATASETS[name] for name in ("my_none", "my_noise")})
    write_tables(paths, tmp_path / "tables")
    rows = list(csv.DictReader((tmp_path / "tables" / "robustness.csv").read_text().splitlines()))
    (row,) = (row for row in rows if (row["dataset"], row["method"]) == ("my_noise", "hydra"))
    assert (row["without_trouble"], row["ari"], row["class_bound"], row["of_bound"]) == (
        "my_none",
        "0.5",
        "0.8",
        "0.625",
    )
    text = (tmp_path / "tables" / "robustness.md").read_text()
    assert "| trouble | keys | Hydra | Other | Bound (bound) |" in text
    assert "| noise | noise_excess: 4 | 0.500 (62 %) | fails without | 0.800 |" in text
    write_figures(paths, tmp_path / "figures")
    (entry,) = (entry for entry in read_index(tmp_path / "figures") if not entry["dataset"])
    assert (tmp_path / "figures" / entry["file"]).with_suffix(".png").stat().st_size > 2000
    write_page(paths, tmp_path / "tables", tmp_path / "figures", tmp_path / "index.html")
    page = (tmp_path / "index.html").read_text()
    assert page.count('<h2 id="robustness">What breaks which method</h2>') == 1
    assert page.count("<h4>What breaks which method</h4>") == 1
    assert page.count("<td>fails without</td>") == 1
    assert 'download="robustness.csv"' in page


def test_switches_are_the_keys_that_turn_troubles_on() -> None:
    off = {own.name for own in fields(Troubles) if own.default is not MISSING and not own.default}
    assert set(SWITCHES) == off
