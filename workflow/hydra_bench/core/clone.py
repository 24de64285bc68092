"""The clone that this package lies in, which also holds its schemas, its methods, its structures, its environments."""

import importlib.util
import os
from pathlib import Path

CLONE = Path(__file__).resolve().parents[3]


def in_clone(path: str) -> Path:
    """A path in the clone, relative where that is the working directory: results say nothing of where a clone lies."""
    return Path(path) if Path.cwd() == CLONE else CLONE / path


def export() -> None:
    """Let the processes that this one starts import the clone's package, whichever is installed.

    Where no command `hydra-bench` is installed, they find the one in workflow/bin.
    """
    for variable, folder, first in (("PYTHONPATH", "workflow", True), ("PATH", "workflow/bin", False)):
        known = [path for path in os.environ.get(variable, "").split(os.pathsep) if path]
        own = [str(CLONE / folder)]
        if own[0] not in known:
            os.environ[variable] = os.pathsep.join([*own, *known] if first else [*known, *own])


def has_libraries() -> bool:
    """Whether this process has what the jobs need; where an environment is made for them, it may have Snakemake alone.

    One package stands for all.
    """
    try:
        return importlib.util.find_spec("gemmi") is not None
    except ModuleNotFoundError:
        return False
