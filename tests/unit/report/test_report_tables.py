"""Table 1: columns, means over seeds, marks, bounds and failures."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_results import NAMES, contents, finished, identity, make_results, write_run

from hydra_bench.contracts.metrics_file import ARI, WALL_TIME
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
    assert header.split(",") == [*COLUMNS, *species]


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
    assert "| – | – | not configured: set THEIR_LICENCE |" in (tmp_path / "tables" / "table1.md").read_text()
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
    assert re.search(r"\| Hydra, K=3 \| 3 \| \*\*0\.990 ± 0\.005\*\* \| \*\*0\.898 ± \d\.\d{3}\*\*", competitors)
    assert re.search(r"\| Hydra, K=5 \| 1 of 3 \| <ins>0\.901</ins> \| <ins>0\.864 ± ", competitors)
    assert "| Hydra, K=1 | 1 of 3 | 0.071 | 0.4" in competitors
    assert "Oracle | 1 of 3 | 1.000 |" in bounds
    assert "Oracle" not in competitors
    assert "**" not in bounds.split("\n\n")[0]
    assert "SNR: 0.1" in text
    assert "FSC mask: none" in text


def test_ties_at_the_printed_digits_share_a_mark(tmp_path: Path) -> None:
    values = [("a", 0.90001), ("b", 0.90004), ("c", 0.8), ("d", 0.7)]
    rows = table_rows(read_all([write_run(tmp_path, finished(m, m.upper(), ari, 0.5)) for m, ari in values]))
    assert [row.measured[ARI].rank for row in rows] == [1, 1, 2, 0]


def test_latex_is_balanced_and_escaped(folder: Path) -> None:
    text = (folder / "table1.tex").read_text()
    assert "\\textbf{0.990 $\\pm$ 0.005}" in text
    assert "\\underline{0.901}" in text
    assert "Other \\& program\\_1 & 0 of 3 & \\multicolumn{6}{l}{failed: out of memory}" in text
    assert text.count("{") == text.count("}")
    assert text.isascii()
    for row in re.findall(r"^(?!\\multicolumn)(?!.*\{6\}).* & .*\\\\$", text, re.MULTILINE):
        assert len(re.findall(r"(?<!\\)&", row)) == 7


def test_per_class_table(folder: Path) -> None:
    with open(folder / "table2.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "hydra_k5"]
    assert [row["species"] for row in rows] == ["spliceosome", "large subunit", "small subunit"]
    assert rows[2]["resolution_0.143_A"] == "17.1"


@pytest.mark.parametrize(("value", "text"), [(-0.0002, "0.000"), (0.98765, "0.988"), (None, "–"), (1.0, "1.000")])
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text
