"""Table 1: columns, means over seeds, marks, bounds and failures."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_results import NAMES, TRUE, contents, finished, identity, make_results, write_run
from scipy.stats import t as student
from sklearn.metrics import adjusted_rand_score

from hydra_bench.contracts.metrics_file import ARI, FSC_AUC, WALL_TIME
from hydra_bench.core.files import write_json
from hydra_bench.report.results import read_all
from hydra_bench.report.tables.rows import number, table_rows
from hydra_bench.report.tables.tables import COLUMNS, write_tables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tables(make_results(tmp_path), tmp_path / "tables")
    return tmp_path / "tables"


def records(folder: Path, name: str = "table1.csv") -> dict[str, dict[str, str]]:
    with open(folder / name) as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def test_columns_are_exactly_those_promised(folder: Path) -> None:
    header = (folder / "table1.csv").read_text().splitlines()[0]
    assert header.startswith("dataset,method,n_seeds,ari_mean,ari_sd,fsc_auc_mean,fsc_auc_sd,wall_s,peak_rss_mb,state,")
    species = [f"fsc_auc_{name}_{part}" for name in NAMES for part in ("mean", "sd")]
    columns = header.split(",")
    assert columns[: len(COLUMNS)] == list(COLUMNS)
    promised = [
        "fsc_auc_unmasked_mean",
        "fsc_auc_masked_mean",
        "fsc_auc_normalised",
        "ari_low",
        "ari_high",
        "interval_of",
    ]
    promised += ["macro_f1_mean", "accuracy_mean", "majority_accuracy_mean", "ece_mean", "brier_mean", *species]
    assert set(promised) <= set(columns)
    assert len(set(columns)) == len(columns)


def test_several_seeds_give_mean_and_sd(folder: Path) -> None:
    row = records(folder)["hydra_k3"]
    aucs = [p["auc"] for c in contents() if c["method"] == "hydra_k3" for p in c["fsc"]["per_particle"]]
    assert (row["n_seeds"], row["state"]) == ("3", "ok")
    assert float(row["ari_mean"]) == pytest.approx(0.990)
    assert float(row["ari_sd"]) == pytest.approx(0.005)
    assert float(row["fsc_auc_mean"]) == pytest.approx(np.mean(aucs), rel=1e-5)
    assert float(row["fsc_auc_sd"]) == pytest.approx(np.std(aucs), rel=1e-5)
    assert float(row["wall_s"]) == pytest.approx(61.25 + 2)


def test_per_class_means_are_over_the_images_of_all_seeds(folder: Path) -> None:
    row = records(folder)["hydra_k3"]
    runs = [c["fsc"] for c in contents() if c["method"] == "hydra_k3"]
    aucs = [p["auc"] for fsc in runs for p in fsc["per_particle"] if p["true_class"] == 1]
    assert float(row["fsc_auc_large subunit_mean"]) == pytest.approx(np.mean(aucs), rel=1e-5)
    assert float(row["fsc_auc_large subunit_sd"]) == pytest.approx(np.std(aucs), rel=1e-5)
    assert float(row["fsc_auc_seed_sd"]) == pytest.approx(np.std([fsc["auc_mean"] for fsc in runs], ddof=1), rel=1e-4)


def test_one_seed_has_no_sd_over_seeds_and_the_files_own_numbers(folder: Path) -> None:
    row = records(folder)["hydra_k1"]
    metrics = next(c for c in contents() if c["method"] == "hydra_k1")
    assert row["ari_sd"] == ""
    assert float(row["fsc_auc_mean"]) == pytest.approx(metrics["fsc"]["auc_mean"], rel=1e-5)
    assert float(row["fsc_auc_sd"]) == pytest.approx(metrics["fsc"]["auc_sd"], rel=1e-5)


def test_a_failed_method_keeps_its_row(folder: Path) -> None:
    row = records(folder)["other_program"]
    assert (row["state"], row["n_seeds"], row["ari_mean"]) == ("failed", "0", "")
    assert float(row["peak_rss_mb"]) == 1234.5
    assert "| failed: out of memory |" in (folder / "table1.md").read_text()


def test_a_partly_failed_method_says_how_many(tmp_path: Path) -> None:
    paths = [write_run(tmp_path, finished("m", "M", 0.5, 0.5)), write_run(tmp_path, identity("m", "M", seed=2))]
    (row,) = table_rows(read_all(paths))
    assert (row.n_seeds, row.state, row.reason, row.measured[ARI].mean) == (1, "1 of 2 failed", "out of memory", 0.5)


def not_configured(method: str, label: str, seed: int = 1) -> dict[str, Any]:
    return identity(method, label, seed) | {"state": "not configured", "reason": "set THEIR_LICENCE"}


def test_what_is_not_configured_is_no_failure_and_cost_nothing(tmp_path: Path) -> None:
    path = write_run(tmp_path, not_configured("theirs", "Theirs"))
    write_tables([path], tmp_path / "tables")
    row = records(tmp_path / "tables")["theirs"]
    assert (row["state"], row["n_seeds"], row["wall_s"], row["peak_rss_mb"]) == ("not configured", "0", "", "")
    assert "| – | – | – | not configured: set THEIR_LICENCE |" in (tmp_path / "tables" / "table1.md").read_text()
    assert "{not configured: set THEIR\\_LICENCE}" in (tmp_path / "tables" / "table1.tex").read_text()
    (run,) = read_all([path])
    assert (run.ok, table_rows([run])[0].kind_of_state) == (False, "not configured")


def test_states_of_several_seeds_are_counted_apart(tmp_path: Path) -> None:
    good, failed = finished("m", "M", 0.5, 0.5), identity("m", "M", seed=2)
    other = not_configured("m", "M", 3) | {"reason": "not configured: set THEIR_LICENCE"}  # said twice, shown once
    rows = [
        table_rows(read_all([write_run(tmp_path, c) for c in some]))
        for some in ((good, failed, other), (failed, other))
    ]
    (mixed,), (none_ok,) = rows
    assert (mixed.state, mixed.kind_of_state) == ("1 of 3 failed, 1 of 3 not configured", "partly ok")
    assert mixed.reason == "out of memory; set THEIR_LICENCE"
    assert (none_ok.state, none_ok.kind_of_state) == ("1 of 2 failed, 1 of 2 not configured", "failed")
    assert none_ok.measured[WALL_TIME].mean == failed["cost"]["wall_s"]


def test_best_is_bold_second_underlined_and_bounds_apart(folder: Path) -> None:
    text = (folder / "table1.md").read_text()
    competitors, bounds = text.split("| *Bounds (read the truth)* |")
    assert re.search(r"\| Hydra, K=3 \| 3 \| \*\*0\.990 ± 0\.005\*\* \[0\.978, 1\.002\] \| ", competitors)
    assert re.search(r"\*\*0\.898 ± \d\.\d{3}\*\* \[", competitors)
    assert re.search(r"\| Hydra, K=5 \| 1 of 3 \| <ins>0\.901</ins> \[0\.881, 0\.911\] \| ", competitors)
    assert "| Hydra, K=1 | 1 of 3 | 0.071 [0.051, 0.081] | " in competitors
    assert "Oracle | 1 of 3 | 1.000 [0.980, 1.010] |" in bounds
    assert "Oracle" not in competitors
    assert "**" not in bounds.split("\n\n")[0]
    assert "SNR: 0.1" in text
    assert "FSC mask: none" in text


def test_who_is_not_told_apart_on_the_same_images_shares_a_rank(tmp_path: Path) -> None:
    """One seed each. a and b err on three other particles each, c on half, d on all; the means alone would rank b."""
    wrong = {"a": range(3), "b": range(3, 7), "c": range(0, 120, 2), "d": range(120)}
    paths = []
    for method, particles in wrong.items():
        labels = [(k + 1) % 3 if i in particles else k for i, k in enumerate(TRUE)]
        ari = adjusted_rand_score(TRUE, labels) if method != "d" else 0.0
        paths.append(
            write_run(tmp_path, finished(method, method, ari, 0.5, labels=labels if method != "d" else [0] * 120))
        )
    rows = table_rows(read_all(paths))
    assert [row.measured[ARI].rank for row in rows] == [1, 1, 2, 0]
    # One image's FSC-AUC is higher in every pair: told apart, though the spread over images is far larger.
    pair = [finished(m, m, 0.5, 0.5) for m in "ef"]
    for entry in pair[1]["fsc"]["per_particle"]:
        entry["auc"] += 0.001
    pair[1]["fsc"]["auc_mean"] += 0.001
    rows = table_rows(read_all([write_run(tmp_path / "pair", content) for content in pair]))
    assert [row.measured[FSC_AUC].rank for row in rows] == [2, 1]
    assert pair[0]["fsc"]["auc_sd"] > 0.01


def test_several_seeds_are_told_apart_by_their_differences_seed_by_seed(tmp_path: Path) -> None:
    aris = {"a": [0.70, 0.80, 0.90], "b": [0.69, 0.79, 0.8901], "c": [0.6, 0.95, 0.7]}
    runs = [finished(m, m, ari, 0.5, seed=seed) for m, values in aris.items() for seed, ari in enumerate(values)]
    rows = {row.method: row for row in table_rows(read_all([write_run(tmp_path, content) for content in runs]))}
    assert [rows[m].measured[ARI].rank for m in "abc"] == [1, 2, 1]
    found = rows["a"].measured[ARI].interval
    assert found.target == "new images and seeds"
    expected = student.interval(0.95, 2, 0.8, np.std(aris["a"], ddof=1) / np.sqrt(3))
    np.testing.assert_allclose([found.low, found.high], expected)


def test_a_score_is_set_between_chance_and_ceiling_species_by_species(tmp_path: Path) -> None:
    def of(method: str, per_class: list[float], reference: str | None = None, **more: Any) -> Path:
        content = finished(method, method, 1.0, 0.5, reads_truth=reference is not None) | more
        content["notes"] = {} if reference is None else {"reference": reference}
        for entry, auc in zip(content["fsc"]["per_class"], per_class, strict=True):
            entry["auc_mean"] = auc
        return write_run(tmp_path, content)

    paths = [of("m", [0.5, 0.6, 0.9]), of("ceiling", [0.9, 1.0, 0.9], "ceiling")]
    assert table_rows(read_all(paths))[0].normalised is None
    paths += [of("wrong", [0.1, 0.2, 0.3], "chance"), of("noise", [0.0, 0.3, 0.1], "chance")]
    rows = {row.method: row for row in table_rows(read_all(paths))}
    assert rows["m"].normalised == pytest.approx(np.mean([0.4 / 0.8, 0.3 / 0.7, 1.0]))
    assert rows["ceiling"].normalised == pytest.approx(1)
    write_tables(paths, tmp_path / "tables")
    assert "| Chance 0, ceiling 1 |" in (tmp_path / "tables" / "table1.md").read_text()
    paths[0] = of("m", [0.5, 0.6, 0.9], conformation={"per_class": []})
    assert table_rows(read_all(paths))[0].normalised is None


def test_lost_and_split_species_are_named(tmp_path: Path) -> None:
    contents = [finished("m", "M", 0.9, 0.5, seed=seed) for seed in (1, 2)]
    contents[0]["clustering"]["lost_species"] = [NAMES[1]]
    contents[1]["clustering"]["split_species"] = {NAMES[0]: [1, 3]}
    write_tables([write_run(tmp_path, content) for content in contents], tmp_path / "tables")
    assert "| lost: large subunit; split: spliceosome | ok |" in (tmp_path / "tables" / "table1.md").read_text()
    row = records(tmp_path / "tables")["m"]
    assert (row["lost_species"], row["split_species"]) == ("large subunit", "spliceosome")


def test_of_many_lost_species_the_first_are_named_and_the_file_has_all(tmp_path: Path) -> None:
    content = finished("m", "M", 0.9, 0.5)
    lost = [f"s{k}" for k in range(15)]
    content["clustering"]["lost_species"] = lost
    write_tables([write_run(tmp_path, content)], tmp_path / "tables")
    assert "s10, s11 and 3 more | ok |" in (tmp_path / "tables" / "table1.md").read_text()
    assert records(tmp_path / "tables")["m"]["lost_species"] == "; ".join(lost)


def test_what_is_not_applicable_is_no_failure(tmp_path: Path) -> None:
    content = identity("single_map", "Best single map", reads_truth=True)
    content |= {"state": "not applicable", "reason": "no species moves"}
    (row,) = table_rows(read_all([write_run(tmp_path, content)]))
    assert (row.state, row.kind_of_state, row.reason) == ("not applicable", "not applicable", "no species moves")


def test_what_a_bound_was_given_of_the_truth_is_a_dash_with_its_reason(tmp_path: Path) -> None:
    ceiling = finished("ceiling", "Ceiling", 1.0, 0.97, latents=False, reads_truth=True)
    ceiling["given"] = ["labels", "poses"]
    for key in ("ari", "ari_interval", "macro_f1", "per_species"):
        ceiling["clustering"][key] = None
    bound = finished("class_bound", "Class bound", 0.99, 0.5, latents=False, reads_truth=True)
    bound |= {"fsc": None, "notes": {"frame": "no maps"}, "given": ["maps", "poses"]}
    of_stack = bound | {"method": "of_stack", "label": "Class bound, maps of the stack", "given": ["poses"]}
    method = finished("m", "M", 0.9, 0.5)
    tables = tmp_path / "tables"
    write_tables([write_run(tmp_path, content) for content in (method, ceiling, bound, of_stack)], tables)
    markdown, latex = ((tables / f"table1.{kind}").read_text() for kind in ("md", "tex"))
    (line,) = re.findall(r"^\| Ceiling \|.*$", markdown, re.MULTILINE)
    assert line.startswith("| Ceiling | 1 | – | – | 0.9")
    assert line.endswith("| ok; labels are the truth |")
    (line,) = re.findall(r"^\| Class bound \|.*$", markdown, re.MULTILINE)
    assert line.startswith("| Class bound | 1 | 0.990 [0.970, 1.000] | 0.912 | – |")
    assert line.endswith("| ok; maps are the truth |")
    assert re.search(r"^Ceiling & 1 & -- & -- & 0\.9", latex, re.MULTILINE)
    for text in (markdown, latex):
        assert "No score where labels are the truth: Ceiling." in text
        assert "No score where there are no maps: Class bound, maps of the stack." in text
    row = records(tables)["ceiling"]
    assert (row["ari_mean"], row["ari_low"], row["macro_f1_mean"], row["given"]) == ("", "", "", "labels; poses")
    assert row["labels_from"] == "the truth"
    row = records(tables, "table2.csv")["ceiling"]
    assert (row["recall"], row["precision"], row["f1"]) == ("", "", "")


def test_what_programs_were_tuned_on_is_said_under_the_table(folder: Path) -> None:
    assert "Tuned: Hydra, simulated stacks of the embedded entries" in (folder / "table1.md").read_text()


def test_latex_is_balanced_and_escaped(folder: Path) -> None:
    text = (folder / "table1.tex").read_text()
    assert "\\textbf{0.990 $\\pm$ 0.005}" in text
    assert "\\underline{0.901}" in text
    assert "Other \\& program\\_1 & 0 of 3 & \\multicolumn{7}{l}{failed: out of memory}" in text
    assert text.count("{") == text.count("}")
    assert text.isascii()
    for row in re.findall(r"^(?!\\multicolumn)(?!.*\{7\}).* & .*\\\\$", text, re.MULTILINE):
        assert len(re.findall(r"(?<!\\)&", row)) == 8


def test_per_class_table(folder: Path) -> None:
    with open(folder / "table2.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "hydra_k5"]
    assert [row["species"] for row in rows] == ["spliceosome", "large subunit", "small subunit"]
    assert rows[2]["resolution_0.143_A"] == "17.1"


@pytest.mark.parametrize(("value", "text"), [(-0.0002, "0.000"), (0.98765, "0.988"), (None, "–"), (1.0, "1.000")])
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_draws_of_the_images_are_one_dataset_and_their_runs_pairs(tmp_path: Path) -> None:
    paths = []
    for draw, name in enumerate(("demo", "demo.draw1")):
        for seed in (0, 1):
            for method, more in (("a", 0.01), ("b", 0.0)):
                content = finished(method, method.upper(), 0.7 + 0.1 * draw + 0.05 * seed + more, 0.5, seed=seed)
                path = tmp_path / "metrics" / name / method / f"{seed}.json"
                write_json(path, content | {"dataset": name})
                paths.append(path)
    rows = table_rows(read_all(paths))
    assert [(row.dataset, row.method, row.n_seeds, row.seeds_text) for row in rows] == [
        ("demo", "a", 4, "2 × 2"),
        ("demo", "b", 4, "2 × 2"),
    ]
    # The spread over runs is far larger than the difference of each pair.
    assert [row.measured[ARI].rank for row in rows] == [1, 2]
    write_tables(paths, tmp_path / "tables")
    assert "seeds 0, 1; 2 draws of the images." in (tmp_path / "tables" / "table1.md").read_text()
    with open(tmp_path / "tables" / "table2.csv") as file:
        assert {row["dataset"] for row in csv.DictReader(file)} == {"demo", "demo.draw1"}


def test_the_ari_without_junk_has_a_column_where_there_is_junk(tmp_path: Path) -> None:
    content = finished("m", "M", 0.7, 0.5)
    write_tables([write_run(tmp_path, content)], tmp_path / "tables")
    assert "ARI without junk" not in (tmp_path / "tables" / "table1.md").read_text().split("\n\n")[1]
    content["clustering"]["ari_good"] = 0.9
    write_tables([write_run(tmp_path, content)], tmp_path / "tables")
    assert "| ARI without junk |" in (tmp_path / "tables" / "table1.md").read_text()
    assert records(tmp_path / "tables")["m"]["ari_good_mean"] == "0.9"
