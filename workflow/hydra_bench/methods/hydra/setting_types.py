"""Values of parameters, as YAML or JSON gives them, made into what a setting's annotation says."""

from __future__ import annotations

import math
from typing import Any

from hydra_bench.core.errors import InputError


def typed(name: str, value: Any, annotation: str) -> Any:
    """The value as a setting annotated so holds it. Raises InputError, naming the parameter.

    YAML takes 1e-4, without a point, for text; it is read as the number it looks like.
    """
    if annotation == "bool":
        if not isinstance(value, bool):
            raise InputError(f"{name}: {value!r}; true or false is expected")
        return value
    if annotation == "str":  # one of few words, which are checked by name
        return value if isinstance(value, str) else repr(value)
    kinds = [kind.strip() for kind in annotation.split("|")]
    if value is None and "None" in kinds:
        return None
    for kind in kinds:
        found = _tuple(value, kind) if kind.startswith("tuple") else _number(value, kind)
        if found is not None:
            return found
    raise InputError(f"{name}: {value!r}; {', or '.join(_WORDS[kind] for kind in kinds)} is expected")


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "None": "null",
    "tuple[int, ...]": "whole numbers in brackets",
    "tuple[float, float]": "two numbers in brackets",
}


def _number(value: Any, kind: str) -> int | float | None:
    """None for what is no such number."""
    if kind == "int":
        return value if isinstance(value, int) and not isinstance(value, bool) else None
    if kind != "float" or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _tuple(value: Any, kind: str) -> tuple[int | float, ...] | None:
    if not isinstance(value, list | tuple):
        return None
    numbers = tuple(_number(one, "int" if "int" in kind else "float") for one in value)
    wrong_length = kind == "tuple[float, float]" and len(numbers) != 2
    return None if wrong_length or None in numbers else numbers
