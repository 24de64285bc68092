"""Faults of the machine, put into one process: from its n-th write on, every write fails as on a full disk.

What counts as a write: opening a file to write it, what its buffer hands to the system, making a folder, renaming, and
asking the disk to keep it. What comes after fails, too, as a full disk stays full: the record of the failure as well.
"""

from __future__ import annotations

import _io
import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_OS = ("mkdir", "rename", "replace", "fsync", "open")
_real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in _OS}
_real_open = io.open


class _Disk:
    """Counts writes, and fails from one on; 0 never fails."""

    def __init__(self, error: int, first: int) -> None:
        self.error, self.first, self.count = error, first, 0

    def write(self, path: object) -> None:
        self.count += 1
        if self.first and self.count >= self.first:
            raise OSError(self.error, os.strerror(self.error), os.fspath(path) if isinstance(path, Path) else path)


class _File(io.FileIO):
    """A file on that disk."""

    disk: _Disk

    def write(self, content: Any, /) -> int:
        self.disk.write(self.name)
        return super().write(content)


_disk: _Disk | None = None
_count_to: str = ""


def put_in(fault: str) -> None:
    """`ENOSPC:7` fails from the 7th write on; `count:FILE` counts, and leaves the number in a file. "" does nothing."""
    global _disk, _count_to
    if not fault:
        return
    kind, _, number = fault.partition(":")
    _disk = _Disk(0, 0) if kind == "count" else _Disk(getattr(errno, kind), int(number))
    _count_to = number if kind == "count" else ""
    _File.disk = _disk
    for module in (builtins, io, _io):
        module.open = _open  # type: ignore[attr-defined]
    for name in _OS[:-1]:
        setattr(os, name, _counted(_disk, _real[name]))
    os.open = _os_open


def take_out() -> None:
    for module in (builtins, io, _io):
        module.open = _real_open  # type: ignore[attr-defined]
    for name in _OS:
        setattr(os, name, _real[name])
    if _disk is not None and _count_to:
        Path(_count_to).write_text(str(_disk.count))


def _counted(disk: _Disk, real: Callable[..., Any]) -> Callable[..., Any]:
    def called(path: Any, *more: Any, **named: Any) -> Any:
        disk.write(path)
        return real(path, *more, **named)

    return called


def _on_this_disk(file: object) -> bool:
    """Whether it is a file by its name, and not a device."""
    return not isinstance(file, int) and not os.fsdecode(file).startswith(("/dev/", "/proc/"))  # type: ignore[arg-type]


def _os_open(path: Any, flags: int, *more: Any, **named: Any) -> int:
    if _disk is not None and flags & os.O_CREAT and _on_this_disk(path):
        _disk.write(path)
    return _real["open"](path, flags, *more, **named)


def _open(
    file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
    newline: str | None = None, closefd: bool = True, opener: Any = None,
) -> Any:  # fmt: skip
    assert _disk is not None
    if not set(mode) & set("wax+") or not _on_this_disk(file):
        return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    _disk.write(file)
    raw = _File(file, mode.replace("b", "").replace("t", ""), closefd, opener)
    if buffering == 0:
        return raw
    buffer: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    if "b" in mode:
        return buffer
    text = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering=buffering == 1)
    text.mode = mode  # type: ignore[misc]
    return text
