"""Numbers in the documents say where they are from: the day, a commit of this history, and rows that there are."""

from __future__ import annotations

import re
import statistics
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BENCHMARKS = (ROOT / "docs" / "explanation" / "benchmarks.md").read_text()
BASELINES = (ROOT / "docs" / "how-to" / "baselines.md").read_text()
PAGES = (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")))

COMMIT = r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7}\b"
DAY = r"\b20\d\d-\d\d-\d\d\b"


def sections(text: str) -> dict[str, str]:
    """The sections of a page by heading, what stands above the first one under an empty heading."""
    parts = re.split(r"^## (.*)$", f"## \n{text}", flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def has_measured_table(text: str) -> bool:
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return sum(len(re.findall(r"\d\.\d", line)) for line in rows) > 2


def test_what_was_measured_has_a_day_and_a_commit() -> None:
    measured = {heading: text for heading, text in sections(BENCHMARKS).items() if not heading.startswith("Measuring")}
    measured.pop("")
    for page in (README, BASELINES):
        measured.update({heading: text for heading, text in sections(page).items() if has_measured_table(text)})
    assert {"", "What comes out on a small stack", "RELION", "Many species"} <= measured.keys()
    without = [name for name, text in measured.items() if not (re.search(DAY, text) and re.search(COMMIT, text))]
    assert not without


def test_commits_that_documents_name_are_of_this_history() -> None:
    git = ["git", "-C", str(ROOT)]
    shallow = subprocess.run(
        [*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True, check=False
    )
    if shallow.stdout.strip() != "false":
        pytest.skip("no history of git here")
    listed = subprocess.run([*git, "rev-list", "HEAD"], capture_output=True, text=True, check=True).stdout
    history = {line[:7] for line in listed.split()}
    named = {(str(page.relative_to(ROOT)), commit) for page in PAGES for commit in re.findall(COMMIT, page.read_text())}
    assert len(named) > 10
    assert not {(page, commit) for page, commit in named if commit not in history}


def test_the_readmes_table_is_that_of_the_runs_listed_one_by_one() -> None:
    table = {cells(line)[0]: cells(line)[1] for line in README.splitlines() if line.startswith("| Hydra, K=")}
    runs = sections(BENCHMARKS)["Other seeds and draws"]
    listed = {cells(line)[0]: cells(line)[1:] for line in runs.splitlines() if line.startswith("| Hydra, K=")}
    assert listed.keys() == table.keys()
    for label, groups in listed.items():
        each = [float(number) for group in groups for number in group.split(",")]
        found = re.match(r"\d\.\d+ ± \d\.\d+", re.sub(r"\*|</?ins>", "", table[label]))
        assert found is not None, label
        mean, sd = (float(number) for number in found[0].split(" ± "))
        assert mean == pytest.approx(statistics.mean(each), abs=1e-3), label
        assert sd == pytest.approx(statistics.stdev(each), abs=1e-3), label


def test_rows_that_the_readme_names_are_rows() -> None:
    labels = {
        definition["label"]
        for path in ROOT.glob("config/*.yaml")
        for definition in (yaml.safe_load(path.read_text()).get("method_definitions") or {}).values()
    }
    prose = "\n".join(line for line in README.splitlines() if not line.startswith("|"))
    named = {" ".join(name.split()) for name in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", prose)}
    assert "Map of another species" in named
    assert named <= labels
