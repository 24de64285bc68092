"""Definitions of datasets and methods, as sub-commands are given them."""

from __future__ import annotations

import json
from typing import Any

from hydra_bench.core.errors import InputError
from hydra_bench.core.yaml_files import read_yaml


class Definition(dict[str, Any]):
    """A mapping of a definition; a key that is asked for and not there is the user's mistake."""

    def __missing__(self, key: str) -> Any:
        raise InputError(f"--definition: lacks the key {key!r}; there are {', '.join(self) or 'none'}")


def read_definition(text: str) -> Definition:
    """A definition given as JSON text, or as the path of a YAML or JSON file. Raises InputError."""
    if not text.lstrip().startswith("{"):
        text = json.dumps(read_yaml(text))
    try:
        definition = json.loads(text, object_hook=Definition)
    except ValueError as error:
        raise InputError(f"--definition: not JSON ({error})") from None
    if not isinstance(definition, Definition):
        raise InputError(f"--definition: {text}: a mapping of keys to values is expected")
    return definition
