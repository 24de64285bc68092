"""Notes what hydra-bench's modules import, and whose files they read, while they run.

Each process appends the names of packages to a file of its own in the folder that RECORDED_IMPORTS names.
"""

import builtins
import os
import sys
from importlib import resources

_plain_import, _plain_files = builtins.__import__, resources.files
_noted: set[str] = set()


def _is_ours(names_of_the_caller: dict[str, object]) -> bool:
    return str(names_of_the_caller.get("__name__")).split(".")[0] in ("hydra_bench", "hydra_bench_methods")


def _note(module: str) -> None:
    package = module.split(".")[0]
    if package not in _noted:
        _noted.add(package)
        with open(os.path.join(os.environ["RECORDED_IMPORTS"], str(os.getpid())), "a") as file:  # noqa: PTH118
            file.write(f"{package}\n")


def _recording_import(name, globals=None, locals=None, fromlist=(), level=0):  # type: ignore[no-untyped-def]
    if level == 0 and _is_ours(globals or {}):
        _note(name)
    return _plain_import(name, globals, locals, fromlist, level)


def _recording_files(anchor=None):  # type: ignore[no-untyped-def]
    if isinstance(anchor, str) and _is_ours(sys._getframe(1).f_globals):
        _note(anchor)
    return _plain_files(anchor)


def record() -> None:
    """From here on, where RECORDED_IMPORTS names a folder."""
    if "RECORDED_IMPORTS" in os.environ:
        builtins.__import__, resources.files = _recording_import, _recording_files
