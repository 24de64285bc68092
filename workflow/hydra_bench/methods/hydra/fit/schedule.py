"""The epochs of a run, from its settings alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hydra_bench.core.errors import InputError
from hydra_bench.methods.hydra.settings import Settings


@dataclass(frozen=True)
class Epoch:
    """A pass over the particles.

    phase : in "grow" larger fields learn at the poses found. number : within the phase. l : resolution.
    sweeps : of gradient steps over every chunk. age : epochs of search and refinement before this one.
    """

    phase: Literal["pretrain", "search", "grow", "refine", "decode"]
    number: int
    l: int
    sweeps: int
    age: int = 0

    def after(self, passes: int) -> bool:
        """Whether so many passes of the search were made, or all of it."""
        return self.number >= passes if self.phase == "search" else self.phase != "pretrain"


def make_schedule(settings: Settings, n_particles: int, l_max: int) -> list[Epoch]:
    """Pre-training on some of the particles, search, growth, refinement, and auto-decoding at l_max.

    Raises InputError for a resolution beyond l_max, unless Settings.l_to_nyquist.
    """
    s = settings
    coarse = resolutions(s, "l_schedule", stretched(s.l_schedule, s.search_images, n_particles), l_max)
    fine, age = resolutions(s, "refine_schedule", s.refine_schedule, l_max), len(coarse)
    pretrain = [Epoch("pretrain", 0, coarse[0], 1)]
    search = [Epoch("search", number, l, search_sweeps(s, number), number) for number, l in enumerate(coarse)]
    refine = [Epoch("refine", number, l, s.refine_sweeps, age + number) for number, l in enumerate(fine)]
    grow = [Epoch("grow", number, fine[0], 1) for number in range(s.grow_epochs if fine else 0)]
    decode = [Epoch("decode", number, l_max, 1) for number in range(s.decode_epochs)]
    return (pretrain if s.pretrain_images else []) + search + grow + refine + decode


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


def search_sweeps(settings: Settings, number: int) -> int:
    """Sweeps of gradient steps over every searched chunk of an epoch of the search."""
    steps = settings.steps_per_search
    return steps if isinstance(steps, int) else steps[min(number, len(steps) - 1)]


def images_to_see(schedule: list[Epoch], settings: Settings, n_particles: int) -> int:
    """The images that a run works on, repeats counted."""
    first = min(settings.pretrain_images, n_particles)
    return sum(first if epoch.phase == "pretrain" else n_particles for epoch in schedule)
