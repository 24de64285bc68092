"""Pickles of arrays and plain values, whoever made them.

A pickle is a program: it can call whatever it names, and NumPy's own functions trust what they are called with, so that
a forged array of objects reads memory that is not its own. Here a pickle gets none of them. What it names stands for
functions of this file, which note down shape, type and bytes; arrays are made of these notes at the end, of plain types
of numbers and texts alone, after the sizes have been compared. Python's own unpickler runs the program, not the one in
C, which reserves memory for whatever a few bytes ask for.

Source: Python's pickletools, which describes each operation; numpy/core/src/multiarray/methods.c for an array's state.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hydra_bench.core.errors import InputError
from hydra_bench.core.reading import read_bytes

Content = Any  # arrays, plain values, and lists, tuples and dicts of them
Array = npt.NDArray[Any]  # of a type that the pickle says

_MOST_BYTES = 4 << 30
"""Of a file. The poses of ten million particles take a quarter."""
_DEEPEST = 10
_LAST_CHARACTER = 0x10FFFF
_TYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU][1-9]\d{0,3})")
_NUMPY = {
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def read_pickle(path: Path) -> Content:
    """Arrays and plain values of a pickle. Raises InputError if it is missing, broken or holds anything else."""
    return read_pickles(path, 1)[0]


def read_pickles(path: Path, count: int) -> list[Content]:
    """The first `count` contents of a file of several pickles, as `read_pickle` reads one. Raises InputError."""
    file = io.BytesIO(read_bytes(path, _MOST_BYTES))
    try:
        return [_read_one(file) for _ in range(count)]
    except Exception as error:  # a broken pickle raises whatever its bytes say
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: not a pickle of arrays ({reason})") from None


def _read_one(file: io.BytesIO) -> Content:
    start = file.tell()
    # It reads every operation and runs none; one whose bytes are not all there is refused, whatever it would reserve.
    for _ in pickletools.genops(file):
        pass
    n_bytes = file.tell() - start
    file.seek(start)
    return _Contents(n_bytes).of(_ArraysOnly(file).load())


class _Named:
    """What a pickle may name, of which it can do nothing but call it, if it is to be called."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes what it names")


class _ArraysOnly(pickle._Unpickler):  # the one in Python, which has no public name
    def find_class(self, module: str, name: str) -> _Named:
        if (module, name) not in _NUMPY:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, and only NumPy arrays are allowed")
        return _CALLS[name]


class _Type:
    """The note of a type."""

    __slots__ = ("dtype",)

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not _TYPE.fullmatch(name):
            raise pickle.UnpicklingError(f"an array of type {name!r}; numbers and texts are allowed")
        self.dtype: np.dtype[Any] = np.dtype(name)

    def __setstate__(self, state: object) -> None:
        """(version, byte order, sub-array, field names, fields, size, alignment, flags, ...)."""
        match state:
            case (int(), "<" | ">" | "|" | "=" as order, None, None, None, size, *_) if size in (
                -1,
                self.dtype.itemsize,
            ):
                if order != "|":
                    self.dtype = self.dtype.newbyteorder(order)
            case _:
                raise pickle.UnpicklingError("a type of several fields, or of another size than its name says")


class _Noted:
    """The note of an array, which is checked when it is complete."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: Array | None = None

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), tuple() as shape, _Type() as noted, bool() | 0 | 1 as fortran, bytes() as data):
                self.array = _made(data, noted, shape, "F" if fortran else "C")
            case _:
                raise pickle.UnpicklingError("an array whose content is no bytes")


@dataclass(frozen=True)
class _Contents:
    """Makes the notes of a pickle of so many bytes into what they are notes of.

    Each value that is honestly there takes a byte at least: what holds itself, or the same list ten times over, ten
    times over, would be endless, or larger than any memory.
    """

    n_bytes: int

    def of(self, content: Content) -> Content:
        self._count(content, 0, {})
        return self._made(content)

    def _count(self, content: Content, depth: int, known: dict[int, int]) -> int:
        """How many values there are, one that is there twice counted twice."""
        if depth > _DEEPEST:
            raise pickle.UnpicklingError(f"more than {_DEEPEST} lists within each other")
        if not isinstance(content, list | tuple | dict):
            return 1
        if id(content) not in known:
            inner = content.values() if isinstance(content, dict) else content
            known[id(content)] = 1 + sum(self._count(item, depth + 1, known) for item in inner)
        if known[id(content)] > self.n_bytes:
            raise pickle.UnpicklingError("it holds the same lists over and over")
        return known[id(content)]

    def _made(self, content: Content) -> Content:
        match content:
            case _Noted():
                if content.array is None:
                    raise pickle.UnpicklingError("an array without content")
                return content.array
            case list() | tuple():
                return type(content)(map(self._made, content))
            case dict():
                return {self._made(key): self._made(value) for key, value in content.items()}
            case None | bool() | int() | float() | str() | bytes() | np.ndarray():
                return content
        raise pickle.UnpicklingError(
            f"it holds a {type(content).__name__}, and only arrays and plain values are allowed"
        )


def _made(data: bytes | bytearray, noted: _Type, shape: tuple[Any, ...], order: Any) -> Array:
    """An array of its own of those bytes. Raises UnpicklingError if they are not as many as the shape says."""
    if len(shape) > 8 or not all(type(side) is int and side >= 0 for side in shape) or order not in ("C", "F"):
        raise pickle.UnpicklingError("an array of no possible shape")
    if math.prod(shape) * noted.dtype.itemsize != len(data):
        raise pickle.UnpicklingError(f"an array {shape} of {noted.dtype} in {len(data)} bytes")
    array = np.frombuffer(bytes(data), dtype=noted.dtype).reshape(shape, order=order)
    if noted.dtype.kind == "U" and (
        array.size and array.astype(array.dtype.newbyteorder("=")).view("u4").max() > 0x10FFFF
    ):
        raise pickle.UnpicklingError("a text of what are no characters")
    return array.copy(order=order)


def _dtype(name: str, *_: object) -> _Type:
    return _Type(name)


def _reconstruct(kind: object, *_: object) -> _Noted:
    """What NumPy begins an array with; its state follows."""
    if kind is not _CALLS["ndarray"]:
        raise pickle.UnpicklingError("an array of another kind than NumPy's own")
    return _Noted()


def _frombuffer(data: bytes | bytearray, noted: _Type, shape: tuple[Any, ...], order: str) -> _Noted:
    """The whole of an array, from protocol 5 on."""
    if not isinstance(data, bytes | bytearray) or not isinstance(noted, _Type):
        raise pickle.UnpicklingError("an array whose content is no bytes")
    made = _Noted()
    made.array = _made(data, noted, shape, order)
    return made


def _scalar(noted: _Type, data: bytes) -> Any:
    """A number or text, as Python's own."""
    if not isinstance(data, bytes) or not isinstance(noted, _Type):
        raise pickle.UnpicklingError("a number whose content is no bytes")
    return _made(data, noted, (), "C").item()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocols before 3 write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes that are written in another way than Python's")
    return text.encode("latin1")


def _not_to_be_called(*_: object) -> None:
    raise pickle.UnpicklingError("it calls numpy.ndarray itself")


_CALLS = {
    "ndarray": _Named(_not_to_be_called),
    "dtype": _Named(_dtype),
    "_reconstruct": _Named(_reconstruct),
    "_frombuffer": _Named(_frombuffer),
    "scalar": _Named(_scalar),
    "encode": _Named(_encode),
}
