"""One source of what hydra-bench needs, pyproject.toml: it lists what the code uses, and all other lists are its.

What the code uses is read from the code here; tests/workflow/test_workflow.py has what a run really imports.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from script import imported_script

from hydra_bench.jobs.doctor import OF_THE_WORKFLOW, requirements

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENTS = sorted(path.stem for path in (ROOT / "envs").glob("*.yaml"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return imported_script(ROOT / "envs" / "environments.py")


def used_by_the_code() -> set[str]:
    """The distributions that modules import, or read files of by embedding.library.

    But for run_jobs.py, which runs in an environment of its own.
    """
    modules = set()
    for path in (ROOT / "workflow").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())) if path.name != "run_jobs.py" else ():
            if isinstance(node, ast.Import):
                modules |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module)
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("embedding.library"):
                modules |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    distributions = metadata.packages_distributions()
    tops = {module.split(".")[0] for module in modules} - {*sys.stdlib_module_names, "hydra_bench", "cryosparc"}
    return {canonicalize_name(distributions[top][0]) for top in tops}


def differences(listed: Iterable[str], needed: Iterable[str]) -> list[str]:
    """What a list of packages lacks and what it has for nothing, a line each."""
    listed, needed = set(listed), set(needed)
    return [f"{name} is missing" for name in sorted(needed - listed)] + [
        f"{name} is used by nothing" for name in sorted(listed - needed)
    ]


def test_pyproject_lists_what_the_code_uses_and_no_more() -> None:
    listed = {canonicalize_name(requirement.name) for requirement in requirements()}
    assert not differences(listed, used_by_the_code() | set(OF_THE_WORKFLOW))


def listed_packages(environment: str) -> list[str]:
    """The names in an environment's file."""
    content = yaml.safe_load((ROOT / "envs" / f"{environment}.yaml").read_text())
    return [re.split(r"[ <>=]", package)[0] for package in content["dependencies"]]


def test_the_environment_of_the_rules_lists_what_the_code_uses_and_no_more(script: ModuleType) -> None:
    needed = {script.conda_name("hydra-bench", name) for name in used_by_the_code()} | {"python"}
    listed = listed_packages("hydra-bench")
    assert not differences(listed, needed)
    for package in listed:
        assert differences(set(listed) - {package}, needed) == [f"{package} is missing"]
    assert differences([*listed, "lxml"], needed) == ["lxml is used by nothing"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_holds_what_hydra_bench_needs(environment: str, script: ModuleType) -> None:
    """A job has one environment."""
    text = (ROOT / "envs" / f"{environment}.yaml").read_text()
    assert script.with_packages(text, environment) == text, "run `make generated`"
    assert set(listed_packages("hydra-bench")) - {"pytorch-cpu"} <= set(listed_packages(environment))
    assert (ROOT / "envs" / f"{environment}.post-deploy.sh").is_file()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_hold_what_pyproject_asks_for_and_what_that_needs_and_no_more(lock: str) -> None:
    """As the installed packages say what they need, which are those of the locks."""
    asked = [Requirement(text) for text in PROJECT["dependencies"]]
    pinned = pins(ROOT / "requirements.lock")
    if lock == "requirements-dev.lock":
        asked += [Requirement(text) for texts in PROJECT["optional-dependencies"].values() for text in texts]
        pinned |= pins(ROOT / lock)
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{lock}: {name} is missing"
        assert requirement.specifier.contains(pinned[name], prereleases=True), f"{lock}: {requirement}"
    needed = closure(asked) | {"setuptools"}  # which builds the package
    assert not differences(pinned, needed), "run `make lock`"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_locks_can_be_installed_with_the_oldest_python_that_is_promised(lock: str) -> None:
    """They are resolved with whatever Python is at hand, which may be newer than the first of its series."""
    oldest = f"{PROJECT['requires-python'].removeprefix('>=')}.0"
    for name, version in pins(ROOT / lock).items():
        found = metadata.metadata(name)
        here = found["Version"].partition("+")[0]
        assert here == version, f"{name}: {here} is installed; {lock} has {version}"
        wanted = found["Requires-Python"] or ">=3"
        assert SpecifierSet(wanted).contains(oldest), f"{lock}: {name} {version} wants Python {wanted}"


def pins(lock: Path) -> dict[str, str]:
    """Version by name."""
    lines = [line.partition("==") for line in lock.read_text().splitlines() if "==" in line]
    return {canonicalize_name(name): version for name, _, version in lines}


def closure(asked: list[Requirement]) -> set[str]:
    """The names of some requirements and of all that they need, on this platform."""
    found: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(r.name), extra) for r in asked for extra in ("", *r.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found or not installed(name):
            continue
        found.add((name, extra))
        for requirement in map(Requirement, metadata.requires(name) or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(requirement.name), more) for more in ("", *requirement.extras)]
    return {name for name, _ in found}


def installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
