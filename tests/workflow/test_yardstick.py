"""The comparison of what the net's runs gave before and after a change."""

from pathlib import Path
from typing import Any

import pytest
from yardstick import KeyMap, compare, measured

METRICS = "metrics/one/oracle/0.json"
KEYS = KeyMap({"fsc.per_class.*.auc": "fsc.species.*.fsc_auc", "old": "new"}, ["version"], ["gone"])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for path, text in {
        "datasets/one/stack/particles.star": "data_",
        "datasets/one/truth/volumes/class_1.mrc": "map",
        "tables/table1.csv": "dataset,ari_mean,wall_s,peak_rss_mb,cpu_s\none,1,2,3,4\n",
        "tables/table2.csv": "dataset\n",
        METRICS: '{"fsc": {"per_class": [{"auc": 0.5}]}, "old": 1, "gone": {"x": 1}, "cost": {"x": 3}, "none": []}',
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def after(**metrics: Any) -> dict[str, Any]:
    return {"fsc.species.0.fsc_auc": 0.5, "new": 1, "version": 2, "none": [], **metrics}


def test_what_a_run_cost_is_left_out(results: Path) -> None:
    found = measured(results)
    assert found["tables"]["tables/table1.csv"] == {"0.dataset": "one", "0.ari_mean": "1"}
    assert found["metrics"][METRICS] == {"fsc.per_class.0.auc": 0.5, "old": 1, "gone.x": 1, "none": []}
    assert len(found["files"]) == 2


@pytest.mark.parametrize(
    ("metrics", "differs"),
    [
        ({}, []),
        ({"fsc.species.0.fsc_auc": 0.5 + 9e-7}, [False]),
        ({"fsc.species.0.fsc_auc": 0.5 + 2e-6}, [True]),
        ({"new": 2}, [True]),
        ({"unknown": 2}, [True]),
    ],
)
def test_metrics_are_compared_under_the_map_of_keys(
    results: Path, metrics: dict[str, Any], differs: list[bool]
) -> None:
    before = measured(results)
    changed = {**before, "metrics": {METRICS: after(**metrics)}}
    assert [differing for differing, _ in compare({"run": before}, {"run": changed}, KEYS)] == differs


@pytest.mark.parametrize("path", ["datasets/one/stack/particles.star", "tables/table1.csv", METRICS])
def test_any_change_is_found(results: Path, path: str) -> None:
    before = {"run": measured(results)}
    (results / path).write_text((results / path).read_text().replace("1", "2") + (" " if "star" in path else ""))
    differs, line = next(compare(before, {"run": measured(results)}, KeyMap.read(None)))
    assert differs
    assert path in line
