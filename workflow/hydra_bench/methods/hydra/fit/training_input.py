"""What a training starts from, checked, and what of it makes two trainings the same."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from hydra_bench.contracts.given_poses import GivenPoses
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.methods.hydra.data.images import largest_l
from hydra_bench.methods.hydra.fit.schedule import Epoch, make_schedule
from hydra_bench.methods.hydra.settings import Settings

_MACHINE_ONLY = ("memory_gb", "cache_mb")
"""Settings that change what a run costs and not what it gives."""


@dataclass(frozen=True)
class TrainingInput:
    """A stack, settings, a seed of everything random, and poses if they are given."""

    stack: Stack
    settings: Settings
    seed: int = 0
    given: GivenPoses | None = None

    def check(self) -> None:
        """Raises InputError for settings that this stack cannot be run with."""
        s, stack = self.settings, self.stack
        if self.seed < 0:
            raise InputError(f"--seed: {self.seed}; 0 or more is allowed")
        if s.classes > len(stack):
            raise InputError(
                f"classes: {s.classes} for the {len(stack)} images of {stack.path}; "
                "at most one class an image is possible"
            )
        if s.downsample_px is not None and s.downsample_px > stack.box_px:
            raise InputError(f"downsample_px: {s.downsample_px}; the stack's box of {stack.box_px} or less is allowed")
        self.schedule()
        if (s.poses == "search") != (self.given is None):
            raise InputError(f"poses: {s.poses}; {'no poses were given' if self.given is None else 'poses were given'}")

    @property
    def box_px(self) -> int:
        """The box that the work is done in, and that maps have."""
        return self.settings.downsample_px or self.stack.box_px

    @property
    def pixel_size_A(self) -> float:
        """Of this box."""
        return self.stack.pixel_size_A * self.stack.box_px / self.box_px

    def schedule(self) -> list[Epoch]:
        """Raises InputError for a resolution that the box cannot hold."""
        return make_schedule(self.settings, len(self.stack), largest_l(self.box_px))

    def identity(self) -> dict[str, Any]:
        """What must be the same for a checkpoint to be taken up again, as plain values."""
        settings = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.settings).items()}
        poses = "none"
        if self.given is not None:
            poses = hashlib.sha256(self.given.rotations.tobytes() + self.given.shifts_A.tobytes()).hexdigest()
        return {
            "settings": {name: value for name, value in settings.items() if name not in _MACHINE_ONLY},
            "seed": self.seed,
            "stack": self.stack.fingerprint(),
            "poses": poses,
        }
