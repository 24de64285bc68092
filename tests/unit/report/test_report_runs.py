"""Reading metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_results import finished, identity, make_results, write_run

from hydra_bench.core.errors import InputError
from hydra_bench.report.results import by_dataset, first_seeds, read_all, read_run, settings


def test_bounds_come_after_competitors_and_figures_take_the_first_seed(tmp_path: Path) -> None:
    groups = by_dataset(read_all(make_results(tmp_path)))
    assert list(groups) == ["demo"]
    assert [run.method for run in groups["demo"]][-2:] == ["oracle", "shuffled"]
    shown = first_seeds(groups["demo"])
    assert (shown[0].method, shown[0].seed) == ("hydra_k3", 1)
    assert "other_program" not in [run.method for run in shown]


def test_settings_state_snr_and_mask(tmp_path: Path) -> None:
    runs = read_all(make_results(tmp_path))
    facts = dict(settings(runs))
    assert facts["SNR"] == "0.1 at the full box of 32 px"
    assert facts["FSC mask"] == "none"
    assert facts["Species (particles)"] == "spliceosome (40), large subunit (40), small subunit (40)"


def test_settings_without_provenance_or_results(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, identity("m", "M")))
    assert settings([run]) == []


def test_a_file_that_lacks_a_field_is_refused(tmp_path: Path) -> None:
    content = finished("m", "M", 0.5, 0.5)
    del content["clustering"]
    path = tmp_path / "1.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"1\.json: lacks 'clustering'"):
        read_run(path)


def test_no_metrics_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        read_all([])


def test_a_run_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    path = make_results(tmp_path)[0]
    expected = f"{path}: dataset demo, method oracle, seed 1 was given before; once is expected"
    with pytest.raises(InputError, match=expected):
        read_all([path, path])
