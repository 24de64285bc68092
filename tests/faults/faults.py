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
import random
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

KINDS = ("ENOSPC", "EIO")
"""A disk that is full, and one that fails."""
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
    seed : for one write that is drawn of all. Of it ENOSPC/ in the report is a copy of what was watched, when the child
        had ended; EIO/, EIO.err and EIO.json are the same of one at a write of its own whose disk failed.
    """

    def __init__(self, report: Path, watched: Path, seed: str) -> None:
        super().__init__(errno.ENOSPC, 0)
        self.report, self.watched, self.kept = report, watched, _Kept(watched, report / "kept")
        self.draw = random.Random(seed)

    def write(self, path: object) -> None:
        if self.first:
            return super().write(path)
        self.count += 1
        # So each has the same chance to be the last that was drawn, however many there are.
        drawn = [kind for kind in KINDS if self.draw.random() * self.count < 1]
        self._try(path, str(self.count), errno.ENOSPC, "ENOSPC" if "ENOSPC" in drawn else None)
        if "EIO" in drawn:
            self._try(path, "EIO", errno.EIO, "EIO")
        return None

    def _try(self, path: object, name: str, error: int, copy: str | None) -> None:
        out = _real_open(self.report / f"{name}.err", "wb")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.kept.keep()
        child = os.fork()
        if child == 0:
            for number in (1, 2):
                os.dup2(out.fileno(), number)
            self.error, self.first = error, self.count
            raise self.failure(path)
        out.close()
        _, status = os.waitpid(child, 0)
        if copy:
            command = ["cp", "--archive", "--no-target-directory", self.watched, self.report / copy]
            subprocess.run(["rm", "-rf", self.report / copy], check=True)
            subprocess.run(command, check=True)
        ended = {
            "status": os.waitstatus_to_exitcode(status),
            "left": self.kept.put_back(),
            "at": f"{self.count}: {path}",
        }
        with _real_open(self.report / f"{name}.json", "w") as file:
            file.write(json.dumps(ended))


class _Kept:
    """What is in a folder, to be put back; files stay the same ones, also for who has them open.

    Every file has a second name in `place`, where it stays, also when its own name goes.
    """

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder, self.place = str(folder), str(place)
        self.names: dict[int, str] = {}  # by the file's number on the disk
        _real["mkdir"](place)

    def keep(self) -> None:
        # A child has its parent's files open, and moves on in them for both.
        self.moved_to = {file: os.lseek(file, 0, os.SEEK_CUR) for file in _opened()}
        self.folders, self.files = _found(self.folder)
        for path, number in self.files.items():
            if number not in self.names:
                self.names[number] = f"{self.place}/{len(self.names)}"
                os.link(path, self.names[number])

    def put_back(self) -> list[str]:
        """All as it was; the partial files and folders that lay there."""
        folders, files = _found(self.folder)
        for path in self.folders:
            if path not in folders:
                _real["mkdir"](path)
        for path, number in files.items():
            if self.files.get(path) != number:
                Path(path).unlink()
        for path, number in self.files.items():
            if files.get(path) != number:
                os.link(self.names[number], path)
        for file, place in self.moved_to.items():
            os.lseek(file, place, os.SEEK_SET)
        return [path for path in (*folders, *files) if Path(path).name.startswith(".partial-")]


def _found(folder: str) -> tuple[list[str], dict[str, int]]:
    """Folders in a folder, those that hold others first, and files, each with its number on the disk."""
    folders: list[str] = []
    files: dict[str, int] = {}
    left = [folder]
    while left:
        with os.scandir(left.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    left.append(entry.path)
                elif entry.is_file():
                    files[entry.path] = entry.inode()
    return folders, files


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
    """`each:REPORT:WATCHED:SEED` tries every write; "" does nothing."""
    global _disk
    if not fault:
        return
    _, report, watched, seed = fault.split(":")
    _disk = EveryWrite(Path(report), Path(watched), seed)
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
