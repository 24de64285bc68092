"""NumPy's .npy files, of which CryoSPARC's .cs files are a kind: arrays of plain types, no larger than their file.

Source: numpy.lib.format, which describes the format.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy_format

from hydra_bench.core.errors import InputError
from hydra_bench.core.reading import regular_file

_LONGEST_HEADER = 1 << 24
"""Characters of a header that are read: a classification of CryoSPARC's into many classes has some ten thousand."""


def read_npy(path: Path, what: str = "a NumPy file", mapped: bool = False) -> npt.NDArray[Any]:  # as the file says
    """The array of a file, which is to be `what`; `mapped` leaves it there, to be read as it is used.

    Raises
    ------
    InputError
        If it is no such file, holds objects, or fewer bytes than its header says.

    Numbers are of this machine's byte order, whatever the file's is: pandas takes no other.
    """
    size = regular_file(path).stat().st_size
    try:
        with open(path, "rb") as file:
            version = npy_format.read_magic(file)
            read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
            shape, _, dtype = read_header(file, max_header_size=_LONGEST_HEADER)
            start = file.tell()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # a header is a text in Python, and a broken one fails in whatever way that can
        raise InputError(f"{path}: not {what} ({' '.join(str(error).split())[:200]})") from None
    if dtype.hasobject:
        raise InputError(f"{path}: not {what}: it holds Python's objects; numbers and texts are allowed")
    needed = dtype.itemsize
    for side in shape:
        needed *= int(side)
    if any(side < 0 for side in shape) or needed > size - start:
        raise InputError(f"{path}: truncated: {size} bytes; the array {shape} of its header needs {needed + start}")
    try:
        mode: Literal["r"] | None = "r" if mapped else None
        # Any: of what type, the file says.
        array: npt.NDArray[Any] = np.load(path, mode, allow_pickle=False, max_header_size=_LONGEST_HEADER)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
