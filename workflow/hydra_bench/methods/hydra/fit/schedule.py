"""The epochs of a run, from its settings alone."""

from __future__ import annotations

from dataclasses import dataclass

from hydra_bench.methods.hydra.settings import Settings


@dataclass(frozen=True)
class Epoch:
    """A pass over the particles.

    phase : "pretrain", "search", "grow" (larger fields learn at the poses found), "refine" or "decode".
    number : within the phase. l : resolution. sweeps : of gradient steps over every chunk. age : epochs of search and
    refinement before this one.
    """

    phase: str
    number: int
    l: int
    sweeps: int
    age: int = 0


def make_schedule(settings: Settings, n_particles: int, l_max: int) -> list[Epoch]:
    """Pre-training on some of the particles, the search epochs, and auto-decoding at l_max."""
    s = settings
    schedule = s.search_schedule(n_particles, l_max)
    pretrain = [Epoch("pretrain", 0, schedule[0], 1)]
    search = [Epoch("search", number, l, s.sweeps(number), number) for number, l in enumerate(schedule)]
    fine, age = s.fine_schedule(l_max), len(schedule)
    refine = [Epoch("refine", number, l, s.refine_sweeps, age + number) for number, l in enumerate(fine)]
    grow = [Epoch("grow", number, fine[0], 1) for number in range(s.grow_epochs if fine else 0)]
    decode = [Epoch("decode", number, l_max, 1) for number in range(s.decode_epochs)]
    return (pretrain if s.pretrain_images else []) + search + grow + refine + decode


def images_to_see(schedule: list[Epoch], settings: Settings, n_particles: int) -> int:
    """The images that a run works on, repeats counted."""
    return sum(min(settings.pretrain_images, n_particles) if e.phase == "pretrain" else n_particles for e in schedule)
