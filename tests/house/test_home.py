"""The home of contributors: hosted CI, forms, citation, changelog, version; each by the checker of its own format."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import hydra_bench

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCHEMAS = {
    "vendor.citation-file-format": ["CITATION.cff"],
    "vendor.github-workflows": [str(path.relative_to(ROOT)) for path in WORKFLOWS],
    "vendor.github-issue-forms": [".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/method.yml"],
    "vendor.github-issue-config": [".github/ISSUE_TEMPLATE/config.yml"],
    "vendor.dependabot": [".github/dependabot.yml"],
}


def run(*command: str) -> str:
    """What a program of the environment says. Fails where it finds something wrong."""
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([str(program), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def jobs() -> dict[str, dict[str, Any]]:
    """The jobs of all workflows by name."""
    return {name: job for path in WORKFLOWS for name, job in yaml.safe_load(path.read_text())["jobs"].items()}


def test_hosted_workflows_pass_actionlint() -> None:
    run("actionlint", *map(str, WORKFLOWS))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_are_what_their_schemas_say(schema: str) -> None:
    run("check-jsonschema", "--builtin-schema", schema, *SCHEMAS[schema])


def test_each_hosted_job_calls_one_make_target_that_the_own_ci_calls_too() -> None:
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "run").read_text()
    called_here = set(re.findall(r"[\w-]+", " ".join(re.findall(r"^ *make (.*)$", ci, flags=re.M))))
    for name, job in jobs().items():
        text = yaml.safe_dump(job)
        (target,) = re.findall(r"run: make ([^\n]+)", text)
        matrix = job.get("strategy", {}).get("matrix", {})
        for made in matrix["target"] if "matrix" in target else [target]:
            assert re.search(rf"^{made}:", makefile, flags=re.M), f"{name}: make {made}"
            assert made in called_here, f".ci/run does not call make {made}"


def test_the_pythons_of_the_hosted_tests_are_those_that_pyproject_names() -> None:
    named = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert jobs()["test"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_commit_hooks_run_what_lint_runs() -> None:
    run("pre-commit", "validate-config", ".pre-commit-config.yaml")
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.M)
    assert recipe is not None
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    for hook in hooks:
        assert hook["entry"].split()[0] in recipe[1], hook["id"]


def test_the_version_stands_in_one_place_and_the_others_follow() -> None:
    assert "version" in PROJECT["dynamic"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == hydra_bench.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.*?)\]", changelog, flags=re.M)
    assert headings[:2] == ["Unreleased", hydra_bench.__version__]


def test_a_release_takes_its_notes_from_the_changelog_and_its_tag_from_the_version() -> None:
    script = "docs/release_notes.py"
    assert "first version" in run("python", script, f"v{hydra_bench.__version__}")
    command = [sys.executable, script, "v9.9.9"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"v9.9.9: the code is version {hydra_bench.__version__}, whose tag is v{hydra_bench.__version__}\n"
    )
