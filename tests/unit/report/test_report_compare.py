"""What changed between two results, and whether seeds bear it out."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from report_results import finished, identity, write_run
from scipy.stats import permutation_test

from hydra_bench.cli.main import main
from hydra_bench.report import permutation


def results(folder: Path, aris: list[float], auc: float = 0.8) -> Path:
    for seed, ari in enumerate(aris):
        write_run(folder, finished("hydra_k3", "Hydra, K=3", ari, auc, seed=seed))
    return folder


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean(a) - np.mean(b))


def rows(path: Path) -> dict[str, dict[str, str]]:
    with open(path) as file:
        return {row["measure"]: row for row in csv.DictReader(file)}


def test_a_clear_change_is_marked_and_noise_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [0.80, 0.81, 0.79, 0.80, 0.81, 0.80, 0.79, 0.80, 0.80]
    after = [0.90, 0.91, 0.92, 0.90, 0.91, 0.90, 0.92, 0.91, 0.91]
    old, new = results(tmp_path / "a", before), results(tmp_path / "b", after)
    assert main(["compare", str(old), str(new), "--out", str(tmp_path / "c.csv")]) == 0
    said = capsys.readouterr().out.splitlines()
    ari = next(line for line in said if "| ARI |" in line)
    assert ari.endswith("| better |")
    assert "0.800 ± 0.007 (9)" in ari
    assert "+0.109" in ari
    wall = next(line for line in said if "Wall time" in line)
    assert "better" not in wall
    assert "worse" not in wall
    found = rows(tmp_path / "c.csv")["ARI"]
    wanted = permutation_test((np.array(after), np.array(before)), difference, permutation_type="samples")
    assert float(found["p"]) == pytest.approx(wanted.pvalue) == pytest.approx(2 / 2**9)
    assert (float(found["least_p"]), found["test"]) == (2 / 2**9, "paired")
    assert float(found["p_corrected"]) >= float(found["p"])


def test_one_seed_gives_no_significance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", str(results(tmp_path / "a", [0.5])), str(results(tmp_path / "b", [0.9]))])
    ari = next(line for line in capsys.readouterr().out.splitlines() if "| ARI |" in line)
    assert ari.endswith("| – | one run |")


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


def test_few_seeds_cannot_be_significant_and_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even where they have no spread at all, of which a test by their sd would say p = 0."""
    old, new = results(tmp_path / "a", [0.999, 0.999]), results(tmp_path / "b", [1.0, 1.0])
    main(["compare", str(old), str(new), "--out", str(tmp_path / "c.csv")])
    said = capsys.readouterr().out
    assert next(line for line in said.splitlines() if "| ARI |" in line).endswith("| cannot tell |")
    assert "so many pairs give no p below 0.5, whatever they are; with 6 pairs p may be below 0.05." in said
    assert float(rows(tmp_path / "c.csv")["ARI"]["p"]) == 0.5


def test_other_seeds_on_the_two_sides_are_not_paired(tmp_path: Path) -> None:
    old, new = tmp_path / "a", tmp_path / "b"
    before, after = [0.5, 0.6, 0.55, 0.52], [0.7, 0.8, 0.75, 0.58]
    for folder, aris, first in ((old, before, 0), (new, after, 4)):
        for seed, ari in enumerate(aris, first):
            write_run(folder, finished("hydra_k3", "Hydra, K=3", ari, 0.8, seed=seed))
    main(["compare", str(old), str(new), "--out", str(tmp_path / "c.csv")])
    found = rows(tmp_path / "c.csv")["ARI"]
    wanted = permutation_test((np.array(after), np.array(before)), difference, permutation_type="independent")
    assert found["test"] == "unpaired"
    assert float(found["p"]) == pytest.approx(wanted.pvalue)
    assert float(found["least_p"]) == pytest.approx(2 / 70)


def test_a_permutation_test_is_right_as_often_as_it_says() -> None:
    """Without any difference p is below a level as often as the level, or less; many are drawn, not counted."""
    generator = np.random.default_rng(0)
    p = np.array([permutation.paired(generator.normal(size=7)).p for _ in range(2000)])
    assert abs((p <= 0.05).mean() - 0.047) < 0.02  # the largest p of 2/128 steps below 0.05 is 6/128
    assert permutation.paired(np.full(20, 0.1)).p < 1e-3
    assert permutation.unpaired(np.zeros(15), np.ones(15)).p < 1e-3
    assert permutation.paired(np.zeros(6)).p == 1
    assert [permutation.paired(np.ones(n)).runs_needed(0.05) for n in (2, 6)] == [6, 6]
    assert permutation.unpaired(np.zeros(2), np.ones(2)).runs_needed(0.05) == 4
