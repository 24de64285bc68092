"""Faults of the machine, put into one process: from its n-th write on, every write fails as on a full disk.

What counts as a write: opening a file to write it, what its buffer hands to the system, making a folder, renaming, and
asking the disk to keep it. What comes after fails, too, as a full disk stays full: the record of the failure as well.

To try every n at the cost of one run, a process forks before each of its writes. The child's disk is full from there
on; when it has ended, what it removed is put back, and its parent writes on.
"""

from __future__ import annotations

import _io
import builtins
import errno
import io
import json
import os
import shutil
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

_OS = ("mkdir", "rename", "replace", "fsync", "open")
_real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in _OS}
_real_open = io.open


class Disk:
    """A disk that is full from its `first` write on; 0 is never full."""

    def __init__(self, error: int, first: int) -> None:
        self.error, self.first, self.count = error, first, 0

    def write(self, path: object) -> None:
        self.count += 1
        if self.first and self.count >= self.first:
            raise self.failure(path)

    def failure(self, path: object) -> OSError:
        """What the system would say; of an open file it names none."""
        named = [] if isinstance(path, int) else [os.fsdecode(path)]  # type: ignore[arg-type]
        return OSError(self.error, os.strerror(self.error), *named)


class EveryWrite(Disk):
    """Before each write a child is forked, for which the disk is full from there on.

    report : folder for what became of the children: <n>.err what it said, <n>.json its exit status and what it left.
    watched : the folder that is written to, which is put back as it was when a child has ended.
    """

    def __init__(self, error: int, report: Path, watched: Path) -> None:
        super().__init__(error, 0)
        self.report, self.watched = report, watched

    def write(self, path: object) -> None:
        if self.first:
            return super().write(path)
        self.count += 1
        out = _real_open(self.report / f"{self.count}.err", "wb")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        number, disk = self.count, _State(self.watched, self.report / "kept")
        child = os.fork()
        if child == 0:
            for stream in (1, 2):
                os.dup2(out.fileno(), stream)
            self.first = self.count
            raise self.failure(path)
        out.close()
        _, status = os.waitpid(child, 0)
        left = [str(found.relative_to(self.watched)) for found in self.watched.rglob(".partial-*")]
        ended = {"status": os.waitstatus_to_exitcode(status), "left": left, "at": str(path)}
        with _real_open(self.report / f"{number}.json", "w") as file:
            file.write(json.dumps(ended))
        disk.put_back()
        return None


class _State:
    """What is in a folder now; files stay the same ones, also for who has them open."""

    def __init__(self, folder: Path, kept: Path) -> None:
        self.folder, self.kept = folder, kept
        # A child has its parent's files open, and moves on in them for both.
        self.places = {file: os.lseek(file, 0, os.SEEK_CUR) for file in _opened()}
        self.folders = [path for path in folder.rglob("*") if path.is_dir()]
        self.files = {path: kept / str(number) for number, path in enumerate(_files(folder))}
        shutil.rmtree(kept, ignore_errors=True)
        _real["mkdir"](kept)
        for path, link in self.files.items():
            os.link(path, link)

    def put_back(self) -> None:
        for path in self.folders:
            if not path.is_dir():
                _real["mkdir"](path)
        for path in _files(self.folder):
            if path not in self.files:
                path.unlink()
        for path, link in self.files.items():
            if not path.is_file() or not path.samefile(link):
                path.unlink(missing_ok=True)
                os.link(link, path)
        shutil.rmtree(self.kept)
        for file, place in self.places.items():
            os.lseek(file, place, os.SEEK_SET)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _opened() -> list[int]:
    """Numbers of the files that are open and can be moved in."""
    return [file.fileno() for file in list(_File.all) if not file.closed and file.seekable()]


class _File(io.FileIO):
    """A file on that disk."""

    all: ClassVar[weakref.WeakSet[_File]] = weakref.WeakSet()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.all.add(self)

    def write(self, content: Any, /) -> int:
        _disk_of_this_process().write(self.name)
        return super().write(content)


_disk: Disk | None = None


def _disk_of_this_process() -> Disk:
    assert _disk is not None
    return _disk


def put_in(fault: str) -> None:
    """`ENOSPC:7` is full from the 7th write on; `ENOSPC:each:REPORT:WATCHED` tries every write; "" does nothing."""
    global _disk
    if not fault:
        return
    kind, number, *folders = fault.split(":")
    error = getattr(errno, kind)
    _disk = EveryWrite(error, *map(Path, folders)) if number == "each" else Disk(error, int(number))
    for module in (builtins, io, _io):
        module.open = _open  # type: ignore[attr-defined]
    for name in ("mkdir", "rename", "replace", "fsync"):
        setattr(os, name, _counted(_real[name]))
    os.open = _os_open


def take_out() -> None:
    for module in (builtins, io, _io):
        module.open = _real_open  # type: ignore[attr-defined]
    for name in _OS:
        setattr(os, name, _real[name])


def _counted(real: Callable[..., Any]) -> Callable[..., Any]:
    def called(path: Any, *more: Any, **named: Any) -> Any:
        # A folder that is there is not made: the system says so, on a full disk as well.
        if real is not _real["mkdir"] or not os.path.lexists(path):
            _disk_of_this_process().write(path)
        return real(path, *more, **named)

    return called


def _on_this_disk(file: object) -> bool:
    """Whether it is a file by its name, and not a device."""
    return not isinstance(file, int) and not os.fsdecode(file).startswith(("/dev/", "/proc/"))  # type: ignore[arg-type]


def _os_open(path: Any, flags: int, *more: Any, **named: Any) -> Any:
    if flags & os.O_CREAT and _on_this_disk(path):
        _disk_of_this_process().write(path)
    return _real["open"](path, flags, *more, **named)


def _open(
    file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
    newline: str | None = None, closefd: bool = True, opener: Any = None,
) -> Any:  # fmt: skip
    if not set(mode) & set("wax+") or not _on_this_disk(file):
        return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
    _disk_of_this_process().write(file)
    raw = _File(file, mode.replace("b", "").replace("t", ""), closefd, opener)
    if buffering == 0:
        return raw
    buffer: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    if "b" in mode:
        return buffer
    text = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering=buffering == 1)
    text.mode = mode  # type: ignore[misc]
    return text
