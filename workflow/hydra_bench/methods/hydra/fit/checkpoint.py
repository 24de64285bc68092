"""Saving and resuming a run, so that it ends as if it had never stopped.

Nothing random is carried from one chunk to the next: every chunk draws from generators seeded by the run's seed and
its place in the schedule. What must be kept is the model, its optimisers, the history and that place.
"""

import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic, disk_text
from hydra_bench.core.json_values import Json, JsonObject

VERSION = 1


class Stopped(BaseException):
    """The run was asked to end; its checkpoint is written. Not an Exception: it is no failure of the method."""


@dataclass
class Checkpointer:
    """Writes a state every `every_s` seconds, and at SIGTERM, to `path`; None writes nothing.

    identity : what must be the same for a state to be taken up again: settings, seed, stack, given poses.
    """

    path: Path | None
    identity: JsonObject = field(default_factory=dict)
    every_s: float = 180.0
    asked_to_stop: bool = False
    _last: float = field(default_factory=time.monotonic)

    def listen(self) -> None:
        """Take SIGTERM as the wish to stop at the next chunk's end."""

        def ask(number: int, frame: FrameType | None) -> None:
            self.asked_to_stop = True

        signal.signal(signal.SIGTERM, ask)

    @property
    def due(self) -> bool:
        return self.path is not None and (self.asked_to_stop or time.monotonic() - self._last >= self.every_s)

    def save(self, state: dict[str, Any]) -> None:  # tensors, too
        """Write by a temporary name and a rename: a write that fails leaves the state before it whole."""
        assert self.path is not None
        try:
            # Given a path, torch.save puts its name into the file, and fails for some names.
            with atomic(self.path) as temporary, open(temporary, "wb") as file:
                torch.save({"version": VERSION, "identity": self.identity, **state}, file)
        except (OSError, RuntimeError) as error:  # torch's zip writer raises RuntimeError for a full disk
            raise InputError(
                f"{self.path}: the checkpoint cannot be written ({' '.join(str(error).split())[:120]}); "
                f"{disk_text(self.path.parent)}; the one before it, if any, is still good"
            ) from None
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:  # tensors, too
        """The saved state, or None if there is none. Raises InputError for another run's, naming what differs."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever unpickling met
            raise InputError(f"{self.path}: not a readable checkpoint ({' '.join(str(error).split())[:120]})") from None
        if not isinstance(state, dict) or "version" not in state:
            raise InputError(f"{self.path}: not a readable checkpoint (it holds something else)")
        if state["version"] != VERSION:
            raise InputError(f"{self.path}: a checkpoint of version {state['version']}; {VERSION} is expected")
        difference = first_difference(state["identity"], self.identity)
        if difference:
            raise InputError(f"{self.path}: a checkpoint of another run: {difference}")
        return state


def first_difference(saved: Json, now: Json, name: str = "") -> str | None:
    """Where two nested mappings differ first, in words; None if they are equal."""
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in sorted(saved.keys() | now.keys()):
            found = first_difference(saved.get(key), now.get(key), f"{name}.{key}" if name else key)
            if found:
                return found
        return None
    return None if saved == now else f"{name} was {saved!r} and is {now!r}"
