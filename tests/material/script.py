"""Scripts of the tree that are in no package, imported by their paths."""

import importlib.util
from pathlib import Path
from types import ModuleType


def imported_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
