"""What is said of the rooms is so: light modules are those that Snakefiles import, documents name what is there."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "workflow"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
IMPORT = re.compile(r"^from (hydra_bench[\w.]*) import ([\w ,]+)$", flags=re.MULTILINE)


def is_module(name: str) -> bool:
    path = WORKFLOW / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def modules_imported(text: str) -> set[str]:
    """Modules of the package that a Snakefile imports when it is read: not those that its hooks import."""
    found = set()
    for package, names in IMPORT.findall(text):
        for name in re.split(r" as \w+(?:, )?|, ", names):
            if name:
                found.add(f"{package}.{name}" if is_module(f"{package}.{name}") else package)
    return found


def test_the_modules_held_to_be_light_are_those_that_the_snakefiles_import() -> None:
    files = [ROOT / "Snakefile", WORKFLOW / "Snakefile", *WORKFLOW.rglob("*.smk")]
    imported = set().union(*(modules_imported(path.read_text()) for path in files))
    (contract,) = (one for one in CONTRACTS if one["name"] == "What the Snakefiles import is light")
    # A profile for GPUs asks the module of devices.
    assert set(contract["source_modules"]) == imported | {"hydra_bench.jobs.devices"}


def test_documents_name_modules_that_are_there() -> None:
    missing = []
    for page in (ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for name in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|smk))`", page.read_text()):
            rooms = [ROOT, WORKFLOW, WORKFLOW / "hydra_bench", WORKFLOW / "hydra_bench" / "methods" / "hydra"]
            # The examples of docs/how-to/adding-a-method.md are files that a reader makes.
            if "methods/chance" not in name and not any((room / name).is_file() for room in rooms):
                missing.append(f"{page.name}: {name}")
    assert not missing


def test_links_of_documents_lead_to_files_that_are_there() -> None:
    broken = []
    for page in (*ROOT.glob("*.md"), ROOT / "config" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            file = target.partition("#")[0]
            if "://" not in target and not (page.parent / file).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken, broken


def test_every_room_says_what_lives_there_and_what_may_not() -> None:
    layers = next(one["layers"] for one in CONTRACTS if one["type"] == "layers")
    for room in (name.strip() for layer in layers for name in layer.split("|")):
        text = ast.get_docstring(ast.parse((WORKFLOW / "hydra_bench" / room / "__init__.py").read_text())) or ""
        assert len(text.splitlines()) >= 3, f"{room}: its docstring has fewer than three lines"
        assert re.search(r"\b(Nothing|nothing|never|No|no|not)\b", text), f"{room}: what may not live there is not said"


def test_what_stays_any_has_its_reason_beside_it() -> None:
    """A comment on the line or above it, or where the file imports it; readers of other programs' files need none."""
    bare = []
    for path in sorted(WORKFLOW.rglob("*.py")):
        lines = path.read_text().splitlines()
        if "particles" in path.parts or any(re.match(r"from typing import .*\bAny\b.*#", line) for line in lines):
            continue
        tree = ast.parse("\n".join(lines))
        used = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "Any"}
        bare += [f"{path.name}:{n}: {lines[n - 1].strip()}" for n in used if "#" not in lines[n - 1] + lines[n - 2]]
    assert not bare, bare
