"""Names for the arrays that are passed around; docstrings give their shapes and units."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]  # Any: of any number of bits, as below
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]  # likewise
BoolArray: TypeAlias = npt.NDArray[np.bool_]
ComplexArray: TypeAlias = npt.NDArray[np.complexfloating[Any, Any]]  # likewise
StringArray: TypeAlias = npt.NDArray[np.object_]
"""Python strings, as pandas keeps them."""
