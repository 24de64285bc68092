"""Write into envs/*.yaml what hydra-bench itself needs, from pyproject.toml: `python envs/environments.py`.

A job under `snakemake --sdm conda` has one environment, so each of them holds that list, between two marks, under the
names of conda-forge. What stands below the second mark is what the environment's own program needs beyond it.
"""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from hydra_bench.jobs.doctor import OF_THE_WORKFLOW

CLONE = Path(__file__).resolve().parents[1]
BEGIN, END = "  # Made by `make generated` from pyproject.toml.\n", "  # To here.\n"
PYTHON = "python =3.12"
CONDA_NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch-cpu"}
"""Where conda-forge has another name. GPUs take `pytorch`, as cryoDRGN's environment does."""
OWN_NAMES = {"cryodrgn": {"torch": "pytorch"}}


def requirements() -> dict[str, Requirement]:
    """What a job needs, by its name on PyPI."""
    project = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
    found = [Requirement(text) for text in project["dependencies"]]
    return {requirement.name: requirement for requirement in found if requirement.name not in OF_THE_WORKFLOW}


def conda_name(environment: str, package: str) -> str:
    """What conda-forge calls a package, in an environment of envs/."""
    return OWN_NAMES.get(environment, {}).get(package) or CONDA_NAMES.get(package, package)


def conda_packages(environment: str) -> list[str]:
    """The packages of an environment that hydra-bench needs, as its file lists them."""
    needed = requirements().items()
    packages = sorted(f"{conda_name(environment, name)} {asked.specifier}".strip() for name, asked in needed)
    return [PYTHON, *packages]


def with_packages(text: str, environment: str) -> str:
    """The text of an environment's file with that list anew. Raises ValueError without the two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"envs/{environment}.yaml: lacks the lines {BEGIN.strip()!r} and {END.strip()!r}")
    return before + begin + "".join(f"  - {package}\n" for package in conda_packages(environment)) + end + after


if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        path.write_text(with_packages(path.read_text(), path.stem))
