"""The site of documents: what is generated is up to date, links lead somewhere, and examples are whole."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from script import imported_script

from hydra_bench.cli.main import build_parser
from hydra_bench.config import configuration

ROOT = Path(__file__).parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "config/README.md")
PAGES = (*(ROOT / name for name in TOP), *sorted(ROOT.glob("docs/**/*.md")))
EXAMPLES = [
    (page, text)
    for page in PAGES
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


def commands_of(page: Path) -> list[list[str]]:
    """The arguments of each `hydra-bench` of a page's shell blocks, and of those in its text that have options."""
    text = page.read_text()
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    in_text = re.findall(r"`(hydra-bench [^`]+ --[^`]+)`", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S))
    found = []
    for line in [*lines, *in_text]:
        words = shlex.split(line, comments=True)
        while "hydra-bench" in words:
            words = words[words.index("hydra-bench") + 1 :]
            # Of `hydra-bench:0.1.0 hydra-bench doctor` and the like, what follows to the end of the command.
            end = next((n for n, word in enumerate(words) if word in ("&&", "||", "|", ";", "hydra-bench")), len(words))
            found.append(words[:end])
    return found


def test_commands_of_the_documents_have_all_options_that_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    parser, commands = build_parser(), [(page, words) for page in PAGES for words in commands_of(page)]
    assert {"board", "select", "summarise", "doctor", "bench"} <= {words[0] for _, words in commands}
    wrong = []
    for page, words in commands:
        try:
            parser.parse_args(words)
        except SystemExit as end:
            if end.code and words != ["COMMAND", "--help"]:
                wrong.append(f"{page}: hydra-bench {shlex.join(words)}: {capsys.readouterr().err}")
    assert not wrong


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
