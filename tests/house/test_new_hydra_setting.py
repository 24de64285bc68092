"""A new setting of Hydra touches two files by hand; all else that knows it is made from them by one command.

The setting of this example, sweeps of the pass at random poses, is put into a copy of the tree.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = Path("workflow/hydra_bench")

BY_HAND = {
    PACKAGE / "methods/hydra/settings.py": (
        "    search_images: OneOrMore | None = None\n",
        "    pretrain_sweeps: OneOrMore = 2\n"
        '    """Sweeps of gradient steps in the pass at random poses."""\n'
        "    search_images: OneOrMore | None = None\n",
    ),
    PACKAGE / "methods/hydra/fit/training_input.py": (
        'Epoch("pretrain", 0, coarse[0], 1)',
        'Epoch("pretrain", 0, coarse[0], s.pretrain_sweeps)',
    ),
}
"""The files that are changed, and what in each."""
GENERATED = {
    Path("workflow/methods/hydra/params.schema.yaml"),
    Path("docs/explanation/how-hydra-works.md"),
    Path("docs/reference/configuration.md"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the setting in it, and everything generated made anew."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("workflow", "docs", "config"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "images"))
    for path, (before, after) in BY_HAND.items():
        text = (copy / path).read_text()
        assert text.count(before) == 1
        (copy / path).write_text(text.replace(before, after))
    run(copy, "hydra_bench.methods.hydra.settings_tables")
    run(copy, "hydra_bench.config.key_tables", "docs/reference/configuration.md")
    return copy


def run(tree: Path, module: str, *arguments: str, status: int = 0) -> str:
    """What a command of the copy prints."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "workflow"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_two_files_are_changed_by_hand(tree: Path) -> None:
    assert len(BY_HAND) <= 2
    files = [path.relative_to(tree) for path in tree.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    changed = {path for path in files if (tree / path).read_bytes() != (ROOT / path).read_bytes()}
    assert changed == set(BY_HAND) | GENERATED


def test_schema_documents_and_list_know_it(tree: Path) -> None:
    schema = yaml.safe_load((tree / "workflow/methods/hydra/params.schema.yaml").read_text())
    assert schema["properties"]["pretrain_sweeps"] == {
        "description": "Sweeps of gradient steps in the pass at random poses.",
        "type": ["integer", "null"],
        "minimum": 1,
        "default": None,
        "default_text": "2",
    }
    assert "| `pretrain_sweeps` | `2` |" in (tree / "docs/explanation/how-hydra-works.md").read_text()
    key = "`method_definitions.<name>.parameters.pretrain_sweeps`"
    assert f"| {key} | an integer at least 1 or null | `2` |" in (tree / "docs/reference/configuration.md").read_text()
    listed = run(tree, "hydra_bench.cli", "hydra", "--settings")
    assert "\npretrain_sweeps: 2\n    Sweeps of gradient steps in the pass at random poses." in listed


def test_the_command_line_and_configurations_take_it_within_its_bounds(tree: Path) -> None:
    arguments = ["hydra", "--particles", "none.star", "--out", "out", "--set"]
    error = run(tree, "hydra_bench.cli", *arguments, "pretrain_sweeps=0", status=2)
    assert error == "hydra-bench: error: pretrain_sweeps: 0; 1 or more is allowed\n"
    error = run(tree, "hydra_bench.cli", *arguments, "pretrain_sweeps=3", status=2)
    assert error == "hydra-bench: error: none.star: no such file; a particle file (.star, .cs or .mrcs) is expected\n"
    (tree / "mine.yaml").write_text(
        json.dumps({"method_definitions": {"hydra_k3": {"parameters": {"pretrain_sweeps": 0}}}})
    )
    error = run(tree, "hydra_bench.cli", "check-config", "config/config.yaml", "mine.yaml", status=2)
    at = "method_definitions.hydra_k3.parameters.pretrain_sweeps"
    assert f"{at}: 0 is not allowed; an integer at least 1 or null is expected" in error


def test_its_default_reaches_the_code_that_uses_it(tree: Path) -> None:
    program = (
        "from hydra_bench.methods.hydra.fit.training_input import make_schedule\n"
        "from hydra_bench.methods.hydra.settings import Settings\n"
        "print(make_schedule(Settings(), 100, 20)[0].sweeps)\n"
    )
    (tree / "workflow" / "shown.py").write_text(program)
    assert run(tree, "shown") == "2\n"
