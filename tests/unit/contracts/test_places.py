"""Where everything lies under results/: the same for rules and Python."""

import re
from pathlib import Path

import pytest

from hydra_bench.contracts.places import Results

WORKFLOW = Path(__file__).parents[3] / "workflow"


def test_a_pattern_of_a_rule_gives_the_path_of_a_file() -> None:
    names = {"dataset": "ribosplike", "method": "hydra", "seed": "0"}
    pattern, files = Results().run("{dataset}", "{method}", "{seed}"), Results().run("ribosplike", "hydra", 0)
    for of_run in ("reconstruction", "metrics", "aligned", "unfinished"):
        assert str(getattr(pattern, of_run)).format(**names) == str(getattr(files, of_run))
    assert str(pattern.log("evaluate")).format(**names) == "results/logs/evaluate/ribosplike/hydra/0.log"
    assert files.benchmark("evaluate").name == "0.benchmark.tsv"


def test_results_are_found_by_a_metrics_file() -> None:
    for folder in (Path("results"), Path("/elsewhere/kept")):
        assert Results.of_metrics(Results(folder).run("one", "hydra", 3).metrics).folder == folder


def test_no_other_file_spells_a_folder_of_results() -> None:
    spelled = re.compile(
        r"""results/[a-z]|["'/](datasets|galleries|reconstructions|unfinished|checkpoints|logs)["'/]\s*[/)]"""
    )
    code = [path for pattern in ("*.py", "*.smk", "Snakefile") for path in WORKFLOW.rglob(pattern)]
    found = [
        f"{path.relative_to(WORKFLOW)}:{number}: {line.strip()}"
        for path in code
        if path.name != "places.py"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if spelled.search(line) and not line.strip().startswith(("#", '"""'))
    ]
    assert found == []


@pytest.mark.parametrize("name", ["0.json", "h/0.json", "demo/h/0.json"])
def test_a_metrics_file_that_is_named_from_nearby_lies_in_the_same_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "results" / "metrics" / "demo" / "h"
    folder.mkdir(parents=True)
    monkeypatch.chdir((folder / "0.json").parents[name.count("/")])
    assert Results.of_metrics(Path(name)).folder == tmp_path / "results"
