"""Saving and resuming a run, so that it ends as if it had never stopped.

A checkpoint ends in a checksum over its content. It is written under another name, kept by the disk, read back, and
only then takes its place; the one before it stays beside it, for the case that bits of this one are lost later.

Nothing random is carried from one chunk to the next: every chunk draws from generators seeded by the run's seed and
its place in the schedule. What must be kept is the model, its optimisers, the history and that place.
"""

import hashlib
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any, cast

import torch

from hydra_bench.core.errors import InputError, MachineError
from hydra_bench.core.files import atomic, sync
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.core.machine import machine_error

VERSION = 5
_MARK = b"\nhydra-bench checkpoint, sha256 "
_END_BYTES = len(_MARK) + 64
_BLOCK = 1 << 20


class Stopped(BaseException):
    """The run was asked to end; its checkpoint is written. Not an Exception: it is no failure of the method."""


@dataclass
class Checkpointer:
    """Writes a state every `every_s` seconds, and when it is asked to stop, to `path`; None writes nothing.

    identity : what must be the same for a state to be taken up again: settings, seed, stack, given poses.
    computed_with : what may differ, but then the last digits do: threads, processes, kind of device, version of torch.
    departures : what of that was different before a resumption. stopped_by : the signal that asked it to stop.
    """

    path: Path | None
    identity: JsonObject = field(default_factory=dict)
    computed_with: JsonObject = field(default_factory=dict)
    every_s: float = 180.0
    asked_to_stop: bool = False
    stopped_by: int = signal.SIGTERM
    departures: list[str] = field(default_factory=list)
    _last: float = field(default_factory=time.monotonic)

    def listen(self) -> None:
        """Take SIGTERM and Ctrl-C as the wish to stop at the next chunk's end; a second Ctrl-C stops at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            if number == signal.SIGINT and self.asked_to_stop:
                raise KeyboardInterrupt
            self.asked_to_stop, self.stopped_by = True, number

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask)

    @property
    def due(self) -> bool:
        return self.path is not None and (self.asked_to_stop or time.monotonic() - self._last >= self.every_s)

    @property
    def previous(self) -> Path | None:
        """Where the checkpoint before the last one is."""
        return None if self.path is None else self.path.with_name(f"{self.path.name}.previous")

    def exists(self) -> bool:
        return any(path is not None and path.is_file() for path in (self.path, self.previous))

    def remove(self) -> None:
        for path in (self.path, self.previous):
            if path is not None:
                path.unlink(missing_ok=True)

    def save(self, state: dict[str, Any]) -> None:  # tensors, too
        """Write the state and read it back before it takes its place. Raises MachineError, and the one before stays."""
        assert self.path is not None
        assert self.previous is not None
        content = {"version": VERSION, "identity": self.identity, "computed_with": self.computed_with, **state}
        content["departures"] = self.departures
        try:
            with atomic(self.path, durable=True) as temporary:
                write(temporary, content)
                if (damage := _damage(temporary)) is not None:
                    raise OSError(f"read back, {damage}")
                sync(temporary)
                if self.path.is_file():
                    self.path.replace(self.previous)
        except (MachineError, OSError, RuntimeError) as error:  # torch's zip writer raises RuntimeError for a full disk
            machine = machine_error(error, self.path.parent)
            if machine is None:
                raise
            said = str(machine).removeprefix(f"{self.path}: cannot be written ")
            raise MachineError(
                f"{self.path}: the checkpoint cannot be written {said}; the one before it, if any, is still good"
            ) from error
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:  # tensors, too
        """The saved state, or None if there is none; where the last one is damaged, the one before it.

        Raises InputError for another run's, naming what differs, and where none is whole.
        """
        if self.path is None or self.previous is None or not self.exists():
            return None
        damage = _damage(self.path) if self.path.is_file() else "is not there"
        path = self.path
        if damage is not None and self.previous.is_file() and _damage(self.previous) is None:
            path = self.previous
            print(f"hydra-bench: {self.path}: {damage}; going on from the one before it, {path}", file=sys.stderr)
        elif damage is not None:
            raise InputError(f"{path}: not a readable checkpoint ({damage}); delete it, and the run begins anew")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever unpickling met
            raise InputError(f"{path}: not a readable checkpoint ({' '.join(str(error).split())[:120]})") from None
        if not isinstance(state, dict) or "version" not in state:
            raise InputError(f"{path}: not a readable checkpoint (it holds something else)")
        if state["version"] != VERSION:
            raise InputError(f"{path}: a checkpoint of version {state['version']}; {VERSION} is expected")
        difference = first_difference(state["identity"], self.identity)
        if difference:
            raise InputError(f"{path}: a checkpoint of another run: {difference}")
        self.departures = list(state["departures"])
        difference = first_difference(state["computed_with"], self.computed_with)
        if difference:
            self.departures.append(difference)
            print(
                f"hydra-bench: {path}: {difference}; it goes on, but the last digits will not be those of an unbroken "
                "run",
                file=sys.stderr,
            )
        return state


def write(path: Path, content: dict[str, Any]) -> None:  # tensors, too
    """Write a checkpoint's content and the checksum over it."""
    # Given a path, torch.save puts its name into the file, and fails for some names.
    with open(path, "wb") as file:
        summed = _Summed(file)
        torch.save(content, cast("IO[bytes]", summed))  # it writes and flushes, no more
        summed.finish()


class _Summed:
    """A file that is written from its beginning to its end, and then gets a checksum of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()

    def write(self, content: bytes) -> int:
        self._digest.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        self._file.write(_MARK + self._digest.hexdigest().encode())


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's file, in words; None if its content is what was written."""
    try:
        with open(path, "rb") as file:
            left = os.fstat(file.fileno()).st_size - _END_BYTES
            digest = hashlib.sha256()
            while left > 0 and (block := file.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
            end = file.read()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if left or not end.startswith(_MARK):
        return "it has no checksum at its end: it is cut off, or of an earlier version"
    if end != _MARK + digest.hexdigest().encode():
        return "it is damaged: its content is not that of its checksum"
    return None


def first_difference(saved: Json, now: Json, name: str = "") -> str | None:
    """Where two nested mappings differ first, in words; None if they are equal."""
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in sorted(saved.keys() | now.keys()):
            found = first_difference(saved.get(key), now.get(key), f"{name}.{key}" if name else key)
            if found:
                return found
        return None
    return None if saved == now else f"{name} was {saved!r} and is {now!r}"
