"""What a training starts from, checked, what of it makes two trainings the same, and the epochs that follow from it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal

from hydra_bench.contracts.reconstruction import GivenPoses
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.methods.hydra.data.images import largest_l
from hydra_bench.methods.hydra.diameter import in_boxes
from hydra_bench.methods.hydra.settings import Settings

IMAGES_A_MAP = 25
"""Images of a step of expectation maximisation, for each class."""
STEPS_OF_MAPS = 10
"""At most, in a pass: what maps learn follows from their number, and not from the stack's size."""
_MACHINE_ONLY = ("memory_gb", "cache_mb")
"""Settings that change what a run costs and not what it gives."""


@dataclass(frozen=True)
class Beginning:
    """Poses and classes of all N particles that a search begins from, in place of nothing.

    rotations (N, 3, 3), map to view; shifts_A (N, 2), displacements in the image; classes (N,), from 0 without a gap,
    -1 for a particle of none. `file` is where they are from, for messages.
    """

    rotations: FloatArray
    shifts_A: FloatArray
    classes: IntArray
    file: str = "the given classes"

    @property
    def n_classes(self) -> int:
        return int(self.classes.max()) + 1


@dataclass(frozen=True)
class TrainingInput:
    """A stack, settings as they are given, a seed of everything random, and poses, given to keep or to begin from."""

    stack: Stack
    settings: Settings
    seed: int = 0
    given: GivenPoses | None = None
    beginning: Beginning | None = None

    def check(self) -> None:
        """Raises InputError for settings that this stack cannot be run with."""
        if self.seed not in range(2**63):
            raise InputError(f"--seed: {self.seed}; 0 to 2^63 - 1 is allowed")
        check_sizes(self.settings, len(self.stack), self.stack.box_px, self.box_A)
        if self.beginning is not None:
            self._check_beginning(self.beginning)
        if (self.settings.poses == "search") != (self.given is None):
            given = "no poses were given" if self.given is None else "poses were given"
            raise InputError(f"poses: {self.settings.poses}; {given}")

    def _check_beginning(self, beginning: Beginning) -> None:
        if self.settings.poses != "search":
            raise InputError(f"poses: {self.settings.poses}; a run that begins from {beginning.file} may only search")
        if beginning.n_classes > self.settings.classes:
            raise InputError(
                f"{beginning.file}: rlnClassNumber: {beginning.n_classes} different classes; at most "
                f"{self.settings.classes} are allowed, which is the setting classes"
            )

    @property
    def box_px(self) -> int:
        """The box that the work is done in, and that maps have."""
        return self.settings.downsample_px or self.stack.box_px

    @property
    def box_A(self) -> float:
        """The width of the box, which a Fourier crop leaves as it is."""
        return self.stack.pixel_size_A * self.stack.box_px

    @property
    def pixel_size_A(self) -> float:
        """Of the box that the work is done in."""
        return self.box_A / self.box_px

    @cached_property
    def in_boxes(self) -> Settings:
        """What the run goes by: the settings with all that is in boxes as it is in this one. Raises InputError."""
        return in_boxes(self.settings, self.box_A)

    def schedule(self) -> list[Epoch]:
        """Raises InputError for a resolution or a diameter that the box cannot hold."""
        begun = self.beginning is not None
        return schedule_in(self.settings, self.in_boxes, len(self.stack), self.box_px, begun)

    def identity(self) -> JsonObject:
        """What must be the same for a checkpoint to be taken up again, as plain values."""
        try:
            used = self.in_boxes
        except InputError:  # which `check` tells, where it becomes the run's failure
            used = self.settings
        settings = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(used).items()}
        begun = self.beginning
        return {
            "settings": {name: value for name, value in settings.items() if name not in _MACHINE_ONLY},
            "seed": self.seed,
            "stack": self.stack.fingerprint(),
            "poses": "none" if self.given is None else _digest(self.given.rotations, self.given.shifts_A),
            "beginning": "none" if begun is None else _digest(begun.rotations, begun.shifts_A, begun.classes),
        }


def _digest(*arrays: FloatArray | IntArray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def check_sizes(settings: Settings, n_particles: int, box_px: int, box_A: float | None = None) -> None:
    """Raises InputError for settings that a stack of so many images, of that box, cannot be run with.

    box_A : the width of the box; where it is not known, what a diameter makes of the schedule is not checked.
    """
    if settings.classes > n_particles:
        raise InputError(
            f"classes: {settings.classes} for the {n_particles} images of the stack; "
            "at most one class an image is possible"
        )
    if settings.held_out_folds > n_particles:
        raise InputError(f"held_out_folds: {settings.held_out_folds}; at most the stack's {n_particles} images")
    inside = settings.downsample_px or box_px
    if inside > box_px:
        raise InputError(f"downsample_px: {inside}; the stack's box of {box_px} or less is allowed")
    if box_A is not None:
        schedule_in(settings, in_boxes(settings, box_A), n_particles, inside)
    elif settings.diameter_A is None:
        schedule_in(settings, settings, n_particles, inside)


def schedule_in(given: Settings, used: Settings, n_particles: int, box_px: int, begun: bool = False) -> list[Epoch]:
    """The epochs of a run by the settings used, which follow from the given ones. Raises InputError, as make_schedule.

    begun : as there. A resolution that no one wrote, but a diameter made, is told with what made it.
    """
    try:
        return make_schedule(used, n_particles, largest_l(box_px), begun)
    except InputError as error:
        if given.diameter_A is None:
            raise
        raise InputError(f"{error}; by diameter_A {given.diameter_A:g} (l_to_nyquist: true lowers it)") from None


@dataclass(frozen=True)
class Epoch:
    """A pass over the particles.

    phase : in "maps" there are maps instead of fields, in "begin" maps are made at given poses and classes, in "grow"
    larger fields learn at the poses found.
    number : within the phase. l : resolution.
    sweeps : of gradient steps over every chunk. age : epochs of search and refinement before this one.
    """

    phase: Literal["pretrain", "maps", "begin", "search", "grow", "refine", "decode"]
    number: int
    l: int
    sweeps: int
    age: int = 0

    def after(self, passes: int) -> bool:
        """Whether so many passes of the search were made, or all of it."""
        return self.number >= passes if self.phase == "search" else not self.before_search

    @property
    def before_search(self) -> bool:
        """Whether it only makes what the search starts from."""
        return self.phase in ("pretrain", "maps", "begin")


def make_schedule(settings: Settings, n_particles: int, l_max: int, begun: bool = False) -> list[Epoch]:
    """Pre-training on some of the particles or first maps, search, growth, refinement, and auto-decoding at l_max.

    begun : whether poses and classes are given to begin from, by maps of all particles in place of these first ones.
    Raises InputError for a resolution beyond l_max, unless Settings.l_to_nyquist.
    """
    s = settings
    coarse = resolutions(s, "l_schedule", stretched(s.l_schedule, s.search_images, n_particles), l_max)
    fine = resolutions(s, "refine_schedule", s.refine_schedule, l_max)
    age = len(coarse)
    pretrain = [Epoch("pretrain", 0, coarse[0], 1)] if s.pretrain_images else []
    if begun:
        # At the first pass's resolution, which its search and its gradient steps go up to.
        pretrain = [Epoch("begin", 0, coarse[0], 1)]
    elif s.map_schedule and s.poses == "search":
        of_maps = resolutions(s, "map_schedule", s.map_schedule, l_max)
        pretrain = [Epoch("maps", number, l, 1) for number, l in enumerate(of_maps)]
    sweeps = s.steps_per_search if isinstance(s.steps_per_search, tuple) else (s.steps_per_search,)
    # The last one given holds from there on.
    of_pass = [sweeps[min(number, len(sweeps) - 1)] for number in range(len(coarse))]
    search = [Epoch("search", number, l, of_pass[number], number) for number, l in enumerate(coarse)]
    refine = [Epoch("refine", number, l, s.refine_sweeps, age + number) for number, l in enumerate(fine)]
    grow = [Epoch("grow", number, fine[0], 1) for number in range(s.grow_epochs if fine else 0)]
    decode = [Epoch("decode", number, l_max, 1) for number in range(s.decode_epochs)]
    return pretrain + search + grow + refine + decode


def stretched(schedule: tuple[int, ...], images: int | None, n_particles: int) -> tuple[int, ...]:
    """The schedule over as many epochs as it takes to see so many images; as it is for None."""
    if images is None:
        return schedule
    epochs = max(1, -(-images // n_particles))
    return tuple(schedule[epoch * len(schedule) // epochs] for epoch in range(epochs))


def resolutions(settings: Settings, name: str, schedule: tuple[int, ...], l_max: int) -> tuple[int, ...]:
    """A schedule that the box can hold. Raises InputError, naming the setting."""
    if max(schedule, default=0) > l_max and not settings.l_to_nyquist:
        raise InputError(f"{name}: {max(schedule)}; this box allows 1 to {l_max}")
    return tuple(min(l, l_max) for l in schedule)


def images_to_see(schedule: list[Epoch], settings: Settings, n_particles: int) -> int:
    """The images that a run works on, repeats counted."""
    return sum(images_of(epoch, settings, n_particles) for epoch in schedule)


def images_of(epoch: Epoch, settings: Settings, n_particles: int) -> int:
    """The images of one epoch: all of the stack, but while there are no fields, or none that were taught."""
    match epoch.phase:
        case "pretrain":
            return min(settings.pretrain_images, n_particles)
        case "maps":
            return min(STEPS_OF_MAPS * IMAGES_A_MAP * settings.fields_at_start, n_particles)
        case _:
            return n_particles
