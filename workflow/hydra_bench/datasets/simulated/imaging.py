"""How particles are imaged, and what is drawn for each of them: pose, class, state, defocus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hydra_bench.physics.ctf import Defocus, Optics
from hydra_bench.physics.rotations import random_rotations


@dataclass(frozen=True)
class Imaging:
    """How particles are imaged: everything of a dataset that is not its species.

    Lengths in Å or px of the full box as named; `defocus_A` and `astigmatism_A` (U - V) are uniform ranges;
    shifts are uniform in ±shift_px along x and y. particles_per_micrograph, if any, share defocus and astigmatism, but
    for heights of standard deviation height_sd_A; `pool`, if any, is drawn from instead of all that.
    """

    box_px: int
    pixel_size_A: float
    delivered_box_px: int
    snr: float
    shift_px: float
    b_factor_A2: float
    optics: Optics
    defocus_A: tuple[float, float]
    astigmatism_A: tuple[float, float]
    phase_shift_deg: float
    particles_per_micrograph: int | None = None
    height_sd_A: float = 0.0
    pool: tuple[Defocus, Optics] | None = None

    @property
    def delivered_pixel_size_A(self) -> float:
        return self.box_px * self.pixel_size_A / self.delivered_box_px

    @classmethod
    def from_definition(cls, simulation: dict[str, Any]) -> Imaging:
        """From a dataset definition's `simulation` block, as the configuration schema describes it.

        Raises InputError if the file that CTF parameters are drawn from is not usable.
        """
        ctf, pool = simulation["ctf"], None
        plain = {k: v for k, v in simulation.items() if k not in ("ctf", "overhang")}
        if ctf.get("drawn_from") is not None:
            from hydra_bench.particles.particle_files import read_ctf

            pool = read_ctf(ctf["drawn_from"])
        return cls(
            **plain,
            optics=Optics(ctf["voltage_kV"], ctf["spherical_aberration_mm"], ctf["amplitude_contrast"]),
            defocus_A=tuple(ctf["defocus_A"]),
            astigmatism_A=tuple(ctf["astigmatism_A"]),
            phase_shift_deg=ctf["phase_shift_deg"],
            particles_per_micrograph=ctf.get("particles_per_micrograph"),
            height_sd_A=ctf.get("height_sd_A", 0.0),
            pool=pool,
        )


@dataclass(frozen=True)
class Particles:
    """What is drawn for N particles.

    rotations (N, 3, 3); shifts_A (N, 2); classes (N,); states (N,), 0-based in the particle's class; defocus;
    optics, shared or one a particle; evaluation (E,), particle numbers.
    """

    rotations: np.ndarray
    shifts_A: np.ndarray
    classes: np.ndarray
    states: np.ndarray
    defocus: Defocus
    optics: Optics
    evaluation: np.ndarray

    def members(self, k: int, state: int) -> np.ndarray:
        """Numbers of the particles of a class in a state."""
        return np.flatnonzero((self.classes == k) & (self.states == state))


def draw_particles(
    counts: list[int],
    imaging: Imaging,
    per_class: int,
    seed: int,
    n_states: Sequence[int] | None = None,
    likely: Sequence[np.ndarray | None] | None = None,
) -> Particles:
    """Draw what sets each particle apart; classes are in random order, so that position tells nothing.

    counts: particles of each class; per_class: evaluated ones of each; n_states: states of each class, None for one
    each; likely: probabilities (S,) of a class's states, None where they are equally likely.
    """
    # A stream more leaves the others as they are.
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(8)]
    classes = streams[0].permutation(np.repeat(np.arange(len(counts)), counts))
    n = len(classes)
    shift_A = imaging.shift_px * imaging.pixel_size_A
    states = streams[5].integers(np.array(n_states or [1] * len(counts))[classes])
    for k, chances in enumerate(likely or []):
        if chances is not None:
            own = np.flatnonzero(classes == k)
            states[own] = streams[6].choice(len(chances), len(own), p=chances)
    chosen = [streams[4].choice(np.flatnonzero(classes == c), per_class, replace=False) for c in range(len(counts))]
    defocus, optics = _draw_ctf(n, imaging, streams[3], streams[7])
    return Particles(
        rotations=random_rotations(n, streams[1]),
        shifts_A=streams[2].uniform(-shift_A, shift_A, (n, 2)),
        classes=classes,
        states=states,
        defocus=defocus,
        optics=optics,
        evaluation=np.sort(np.concatenate(chosen)),
    )


def _draw_ctf(
    n: int, imaging: Imaging, stream: np.random.Generator, of_particles: np.random.Generator
) -> tuple[Defocus, Optics]:
    """CTF parameters of n particles, independent of their classes: rounded as the STAR file writes them."""
    if imaging.pool is not None:
        rows = stream.integers(len(imaging.pool[0]), size=n)
        u, v, *angles = vars(imaging.pool[0].take(rows)).values()
        return Defocus(*(np.round(x, 2) for x in (u, v)), *(np.round(x, 3) for x in angles)), imaging.pool[1].take(rows)
    count, each = n, np.arange(n)
    height = np.zeros(n)
    if imaging.particles_per_micrograph is not None:
        count = -(-n // imaging.particles_per_micrograph)
        each = of_particles.permutation(np.arange(n) % count)
        height = of_particles.normal(0, imaging.height_sd_A, n)
    mean, difference = stream.uniform(*imaging.defocus_A, count), stream.uniform(*imaging.astigmatism_A, count)
    angle = np.round(stream.uniform(0, 180, count), 3)
    return Defocus(
        u_A=np.round((mean + difference / 2)[each] + height, 2),
        v_A=np.round((mean - difference / 2)[each] + height, 2),
        angle_deg=angle[each],
        phase_shift_deg=np.full(n, imaging.phase_shift_deg),
    ), imaging.optics
