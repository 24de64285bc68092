"""A new figure of the paper touches three files: itself, its test and its row in the docs.

The figure of this example, the sizes of classes, is put into a copy of the tree. Its rule, its choice on the command
line, its help and its caption in Snakemake's report follow from its name and docstring.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

NEW = {
    Path("workflow/hydra_bench/report/paper/fig5_class_sizes.py"): '''\
"""How many particles each class of one method has."""

from __future__ import annotations

from matplotlib.figure import Figure

from hydra_bench.report.figures.style import Picture
from hydra_bench.report.paper.shown_runs import ShownRuns


def draw(shown: ShownRuns) -> Picture | None:
    """One bar a class."""
    figure = Figure(figsize=(4, 3), layout="constrained")
    ax = figure.subplots()
    sizes = shown.main.own_sizes
    ax.bar([f"class {label + 1}" for label in range(len(sizes))], sizes)
    ax.set_ylabel("particles")
    text = f"Particles in each class of {shown.main.label}. Seed {shown.main.seed}."
    return Picture("fig5", "Sizes of classes", text, figure)
''',
    Path("tests/unit/report/test_class_sizes.py"): '''\
"""The paper's figure of class sizes."""

from pathlib import Path

from report_results import PER_CLASS, make_results

from hydra_bench.cli.main import main
from hydra_bench.report.paper.fig5_class_sizes import draw
from hydra_bench.report.paper.shown_runs import choose_runs
from hydra_bench.report.results import read_all


def test_every_class_has_a_bar(tmp_path: Path) -> None:
    metrics = make_results(tmp_path)
    picture = draw(choose_runs(read_all(metrics), "demo"))
    assert [bar.get_height() for bar in picture.figure.axes[0].patches] == [PER_CLASS] * 3
    assert main(["figure", "fig5", "--dataset", "demo", "--results", str(tmp_path), "--out", str(tmp_path / "f")]) == 0
    assert (tmp_path / "f.svg").stat().st_size > 5000
    assert (tmp_path / "f.txt").read_text() == "Sizes of classes. Particles in each class of Hydra, K=3. Seed 1.\\n"
''',
}
CHANGED = {
    Path("docs/reference/report.md"): (
        "| `snakemake figs` |",
        "| `snakemake fig5` | How many particles each class of one method has. |\n| `snakemake figs` |",
    ),
}
"""In each file, what is replaced, and by what."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the figure in it."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("workflow", "docs", "config", "profiles", "envs", "tests/unit", "tests/material"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "images"))
    for name in ("Snakefile", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "resources").symlink_to(ROOT / "resources")
    for path, text in NEW.items():
        assert not (ROOT / path).exists()
        (copy / path).write_text(text)
    for path, (before, after) in CHANGED.items():
        text = (copy / path).read_text()
        assert text.count(before) == 1
        (copy / path).write_text(text.replace(before, after))
    return copy


def run(tree: Path, module: str, *arguments: str) -> str:
    """What a command says in the copy; it must end well."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "workflow"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_touches_three_files() -> None:
    assert len(NEW) + len(CHANGED) <= 3


def test_it_is_drawn_and_said_in_docs_and_help(tree: Path) -> None:
    tests = ["test_class_sizes.py", "test_report_paper.py::test_docs_and_help_say_what_every_figure_shows"]
    assert "2 passed" in run(tree, "pytest", "-p", "no:cacheprovider", *(f"tests/unit/report/{name}" for name in tests))


def test_it_is_a_target_for_every_dataset_and_a_part_of_the_paper(tree: Path) -> None:
    said = run(tree, "snakemake", "--dry-run", "fig5", "paper")
    assert "input: results/paper/demo/fig5.svg" in said
    assert "rule paper:\n    input: results/tables/table1.csv" in said
    assert "results/paper/demo/fig4.svg, results/paper/demo/fig5.svg, results/paper/demo/supplement" in said
