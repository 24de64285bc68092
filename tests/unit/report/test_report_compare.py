"""What changed between two results, and whether seeds bear it out."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from report_results import finished, identity, write_run
from scipy.stats import ttest_ind

from hydra_bench.cli.main import main


def results(folder: Path, aris: list[float], auc: float = 0.8) -> Path:
    for seed, ari in enumerate(aris):
        write_run(folder, finished("hydra_k3", "Hydra, K=3", ari, auc, seed=seed))
    return folder


def rows(path: Path) -> dict[str, dict[str, str]]:
    with open(path) as file:
        return {row["measure"]: row for row in csv.DictReader(file)}


def test_a_clear_change_is_marked_and_noise_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = [0.80, 0.81, 0.79, 0.80], [0.90, 0.91, 0.92, 0.90]
    old, new = results(tmp_path / "a", before), results(tmp_path / "b", after)
    assert main(["compare", str(old), str(new), "--out", str(tmp_path / "c.csv")]) == 0
    said = capsys.readouterr().out.splitlines()
    ari = next(line for line in said if "| ARI |" in line)
    assert ari.endswith("| better |")
    assert "0.800 ± 0.008 (4)" in ari
    assert "+0.107" in ari or "+0.108" in ari
    wall = next(line for line in said if "Wall time" in line)
    assert "better" not in wall
    assert "worse" not in wall
    found = rows(tmp_path / "c.csv")["ARI"]
    assert float(found["p"]) == pytest.approx(ttest_ind(before, after, equal_var=False).pvalue, rel=1e-4)
    assert float(found["p_corrected"]) >= float(found["p"])


def test_one_seed_gives_no_significance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", str(results(tmp_path / "a", [0.5])), str(results(tmp_path / "b", [0.9]))])
    ari = next(line for line in capsys.readouterr().out.splitlines() if "| ARI |" in line)
    assert ari.endswith("| – | one seed |")


def test_what_only_one_has_and_what_else_changed_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = results(tmp_path / "a", [0.5, 0.6]), results(tmp_path / "b", [0.5, 0.6])
    write_run(old, finished("gone", "Gone", 0.5, 0.5))
    write_run(new, identity("came", "Came"))
    changed = finished("hydra_k3", "Hydra, K=3", 0.5, 0.5, seed=0) | {
        "parameters": {"n_classes": 4},
        "program_version": "0.2.0",
    }
    write_run(new, changed)
    main(["compare", str(old), str(new)])
    said = capsys.readouterr().out
    assert "demo, gone: only before." in said
    assert "demo, came: only after." in said
    assert "demo, hydra_k3: parameter n_classes 3 before, 4 after." in said
    assert "demo, hydra_k3: version 0.1.0 before, 0.1.0, 0.2.0 after." in said


def test_a_run_that_is_not_configured_is_not_called_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = results(tmp_path / "a", [0.5]), results(tmp_path / "b", [0.5])
    write_run(old, identity("theirs", "Theirs"))
    write_run(new, identity("theirs", "Theirs") | {"state": "not configured", "reason": "set THEIR_LICENCE"})
    main(["compare", str(old), str(new)])
    said = capsys.readouterr().out
    assert "demo, theirs: failed seeds 1 before, none after." in said
    assert "demo, theirs: seeds not configured none before, 1 after." in said


@pytest.mark.parametrize("level", ["0", "2"])
def test_a_level_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], level: str) -> None:
    old = results(tmp_path / "a", [0.5])
    assert main(["compare", str(old), str(old), "--level", level]) == 2
    assert "--level" in capsys.readouterr().err


def test_a_folder_without_metrics_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path), str(tmp_path)]) == 2
    assert f"{tmp_path}: no metrics" in capsys.readouterr().err
