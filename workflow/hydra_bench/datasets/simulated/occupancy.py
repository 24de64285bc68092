"""How likely each state of a species is: all alike, or gathered in wells."""

from __future__ import annotations

from typing import Any

import numpy as np

from hydra_bench.core.errors import InputError


def probabilities(coordinate: np.ndarray, wells: list[dict[str, Any]] | None) -> np.ndarray:
    """Probability (S,) of each state, given its coordinate (S,).

    Wells are normal distributions: `at` and `width` (standard deviation) in units of the coordinate, `share` the
    weight among the wells. Without wells, and at width null, see the configuration schema. States stand for the
    distribution at their coordinates, so that no particle lies between them.

    Raises
    ------
    InputError
        If a well lies where there is no state.
    """
    if wells is None:
        return np.full(len(coordinate), 1 / len(coordinate))
    total = np.zeros(len(coordinate))
    low, high = coordinate.min(), coordinate.max()
    for well in wells:
        if not low <= well["at"] <= high:
            raise InputError(f"{well['at']:g} is not allowed; a place within {low:g}..{high:g} is expected")
        distance = coordinate - well["at"]
        if not well["width"]:
            weight = (np.arange(len(coordinate)) == np.abs(distance).argmin()).astype(float)
        else:
            # The nearest state's exponent is 0: a narrow well between two states keeps its weight.
            exponent = -0.5 * np.square(distance / well["width"])
            weight = np.exp(exponent - exponent.max())
        total += well["share"] * weight / weight.sum()
    return total / total.sum()
