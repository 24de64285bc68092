"""The site of documents: what is generated is up to date, links lead somewhere, and examples are whole."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from script import imported_script

from hydra_bench.config import configuration

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    (page, text)
    for page in (ROOT / "config" / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for text in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    # Those of a method's folder are run by tests/workflow/test_workflow.py, with the method.
    if not text.startswith(("name: Chance", "$schema", "methods: [chance_k2]"))
]


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    script = imported_script(ROOT / "docs" / "commands.py")
    assert script.page() == script.PAGE.read_text(), "run `make generated`"


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=[f"{page.stem}-{n}" for n, (page, _) in enumerate(EXAMPLES)])
def test_an_example_of_the_documents_is_a_configuration_to_lay_over_the_default(
    page: Path, text: str, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    files = [ROOT / "config" / "config.yaml", mine]
    settings = configuration.validate(configuration.load(files), files)
    content = yaml.safe_load(text)
    for kind, definitions in (("datasets", "dataset_definitions"), ("methods", "method_definitions")):
        assert kind in content or definitions in content or content.keys() & settings.keys(), page
        assert settings[kind] == content.get(kind, settings[kind])


def test_a_link_that_leads_nowhere_fails_the_site(tmp_path: Path) -> None:
    """Into the documents, to a heading, and out of them into the repository."""
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("images"))
    page = tmp_path / "docs" / "index.md"
    page.write_text(
        f"{page.read_text()}\n[a](how-to/gone.md) [b](reference/metrics.md#gone) [c](../workflow/gone.py)\n"
    )
    command = [str(Path(sys.executable).parent / "mkdocs"), "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    for target in ("how-to/gone.md", "reference/metrics.md#gone", "../workflow/gone.py"):
        assert f"'{target}'" in done.stderr, done.stderr
