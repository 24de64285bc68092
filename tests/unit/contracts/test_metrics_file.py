"""The contract of the metrics file: what is written is read again, and what is not of it is refused in one line."""

from __future__ import annotations

import json
import random
import runpy
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from report_results import finished, identity

from hydra_bench.contracts.metrics_file import MEASURES, MetricsFile, read_metrics_file, write_metrics
from hydra_bench.core.errors import InputError

ROOT = Path(__file__).parents[3]


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "1.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("content", [finished("m", "M", 0.5, 0.5), identity("m", "M")], ids=["ok", "failed"])
def test_what_is_written_is_read_again(tmp_path: Path, content: dict[str, Any]) -> None:
    metrics = read_metrics_file(written(tmp_path, content))
    write_metrics(tmp_path / "2.json", metrics)
    again = read_metrics_file(tmp_path / "2.json")
    write_metrics(tmp_path / "3.json", again)
    assert (tmp_path / "2.json").read_bytes() == (tmp_path / "3.json").read_bytes()
    assert set(json.loads((tmp_path / "2.json").read_text())) == set(MetricsFile.model_fields)


def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    """Or changes nothing of the content, as one in a space between two keys may."""
    path = tmp_path / "1.json"
    write_metrics(path, read_metrics_file(written(tmp_path, finished("m", "M", 0.5, 0.5))))
    content, draw = path.read_bytes(), random.Random(17)
    expected = json.loads(content)
    for place in draw.sample(range(8 * len(content)), 400):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with suppress(InputError):
            read_metrics_file(path)
            assert json.loads(path.read_bytes()) == expected, place


def test_a_file_changed_by_hand_says_how_it_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    write_metrics(path, read_metrics_file(written(tmp_path, finished("m", "M", 0.5, 0.5))))
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps(content))  # other lines and spaces say the same
    read_metrics_file(path)
    for change in ({"label": "Mine"}, {"cost": content["cost"] | {"wall_s": 0.5}}):
        written(tmp_path, content | change)
        with pytest.raises(InputError, match=r"1\.json: is not as it was written: .*delete the file, and `snakemake`"):
            read_metrics_file(path)
    del content["cost"]["file_sha256"]
    assert read_metrics_file(written(tmp_path, content | {"label": "Mine"})).label == "Mine"


def changed(path: str, value: Any) -> dict[str, Any]:
    content = finished("m", "M", 0.5, 0.5)
    *folders, name = path.split(".")
    part = content
    for folder in folders:
        part = part[folder]
    if value is KeyError:
        del part[name]
    else:
        part[name] = value
    return content


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("dataset", KeyError, r"lacks 'dataset'"),
        ("clustering", None, r"lacks 'clustering'"),
        ("clustering.ari", KeyError, r"lacks 'clustering.ari'"),
        ("clustering.rand", 0.5, r"clustering.rand: no such key"),
        ("clustering.ari", "0.5", r"clustering.ari: input should be a valid number"),
        ("cost.attempts", 1.5, r"cost.attempts: input should be a valid integer"),
        ("state", "fine", r"state: string should match pattern"),
        ("metrics_version", KeyError, r"metrics_version is missing; .* reads 2; delete the file"),
        ("metrics_version", 1, r"metrics_version is 1; .* reads 2; delete the file"),
    ],
)
def test_what_is_not_of_the_contract_is_refused(tmp_path: Path, key: str, value: Any, said: str) -> None:
    with pytest.raises(InputError, match=rf"1\.json: {said}") as error:
        read_metrics_file(written(tmp_path, changed(key, value)))
    assert "\n" not in str(error.value)


def test_every_measure_has_its_own_name_and_a_meaning() -> None:
    for values in zip(*((m.key, m.label, m.column) for m in MEASURES), strict=True):
        assert len(set(values)) == len(values)
    assert all(measure.meaning.endswith(".") for measure in MEASURES)


def test_the_documents_list_every_key() -> None:
    page = ROOT / "docs" / "reference" / "metrics.md"
    made = runpy.run_path(str(ROOT / "docs" / "metrics.py"))["with_tables"](page.read_text())
    assert made == page.read_text(), "run `make generated`"
