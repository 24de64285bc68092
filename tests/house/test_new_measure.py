"""A measure more in the table takes three files: its key in the contract, what computes it, and its test.

It is made in a copy of the repository by plain edits to text, and shows in the tables and documents there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EDITS = {
    "workflow/hydra_bench/contracts/scores.py": (
        "    n_labels: int\n",
        '    homogeneity: Annotated[float | None, Measure("Homogeneity", 3, ("table", "compare", "runs"))]\n'
        '    """How far each label holds one species only: 1 where all do."""\n'
        "    n_labels: int\n",
    ),
    "workflow/hydra_bench/metrics/clustering.py": (
        '        "accuracy": ',
        '        "homogeneity": float(homogeneity_score(true_classes, labels)),\n        "accuracy": ',
    ),
    "tests/unit/metrics/test_metrics_clustering.py": (
        "def test_permuted_labels_are_perfect",
        "def test_labels_of_one_species_are_homogeneous() -> None:\n"
        '    predicted = Labels(np.array([0, 1, 2, 2]), 3, "classes")\n'
        "    assert score(np.array([0, 0, 1, 1]), NAMES[:2], predicted).homogeneity == pytest.approx(1)\n\n\n"
        "def test_permuted_labels_are_perfect",
    ),
}
"""File: what is found in it, and what takes its place."""
IMPORT = ("import adjusted_mutual_info_score, ", "import homogeneity_score, adjusted_mutual_info_score, ")
USE = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/material")
from report_results import finished, write_run
from hydra_bench.report.page.terms import TERMS
from hydra_bench.report.tables.tables import write_tables
content = finished("m", "M", 0.5, 0.5)
content["clustering"]["homogeneity"] = 0.75
write_tables([write_run(Path("results"), content)], Path("tables"))
assert any(term.name == "Homogeneity" for term in TERMS)
"""


def test_three_files_make_a_measure(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    leave_out = shutil.ignore_patterns("__pycache__", ".*", "images", "envs", "results")
    for name in ("workflow", "tests/unit", "tests/material", "docs", "pyproject.toml"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=leave_out)
        elif (ROOT / name).is_file():
            shutil.copy(ROOT / name, copy / name)
    for name, (old, new) in EDITS.items():
        text = (copy / name).read_text()
        assert old in text, f"{name} has changed; so must this example"
        text = text.replace(old, new, 1).replace(*IMPORT, 1)
        (copy / name).write_text(text)
    assert len(EDITS) <= 3

    environment = os.environ | {"PYTHONPATH": str(copy / "workflow")}

    def run(*arguments: str) -> None:
        done = subprocess.run([sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run("docs/metrics.py")
    run(
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/unit/metrics/test_metrics_clustering.py",
        "-k",
        "homogeneous",
    )
    run("-c", USE)
    head, row = (line.split(",") for line in (copy / "tables" / "table1.csv").read_text().splitlines())
    assert row[head.index("homogeneity_mean")] == "0.75"
    assert "| Homogeneity |" in (copy / "tables" / "table1.md").read_text()
    assert "| Homogeneity | `clustering.homogeneity` |" in (copy / "docs" / "reference" / "metrics.md").read_text()
    assert "| `clustering.homogeneity` | number or null |" in (copy / "docs" / "reference" / "metrics.md").read_text()
