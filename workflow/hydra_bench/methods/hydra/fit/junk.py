"""Images of none of the classes: those that a signal without structure explains better than every field.

An image without a whole particle in its middle (empty, broken, overlapping with another) has power as others have, or
none, but not at the frequencies where a species would have it. So it is compared with a normal signal of the stack's
own power on every shell and of any strength, whose likelihood is closed. A field's is that of the best pose of many,
and some pose of a wrong map always comes near: the number of poses that can be told apart is counted against it.
"""

import math

import numpy as np
import torch

from hydra_bench.core.types import IntArray
from hydra_bench.methods.hydra.data.images import ImageBatch
from hydra_bench.methods.hydra.fit.run_state import Run
from hydra_bench.methods.hydra.settings import Settings

_STRENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Powers of the signal, in units of the stack's mean, that are as likely as each other; 0 is an empty image."""
_NEAR_ANGLE, _NEAR_SHIFT = 1.3, 0.22
"""How far from a given pose a local search comes in all its steps (fit/chunks.py), in radians and in boxes, times l."""
_POINTS_TOGETHER = 500_000


def evidence_of_none(run: Run, l: int) -> torch.Tensor:
    """log of the evidence (N,) that each particle is of no class, on the device; every process has its own part of it.

    At frequencies up to l, in the units and with the zero of minus the tables' errors.
    """
    particles = np.arange(len(run.source))
    found = torch.zeros(len(particles), device=run.device)
    own = particles[run.parallel.owns(particles)]
    found[run.tensor(own)] = evidence_of(run, own, l)
    run.parallel.gather_rows(found, torch.from_numpy(particles))
    return found


@torch.no_grad()
def evidence_of(run: Run, particles: IntArray, l: int) -> torch.Tensor:
    """As `evidence_of_none`, of some particles (B,)."""
    n, signal, found = run.frequencies.count(l), run.model.fields[0].envelope, []
    for part in np.array_split(particles, max(1, -(-len(particles) * n // _POINTS_TOGETHER))):
        batch = run.source.load(part, slice(None, n))
        found.append(of_a_signal(batch, signal[run.source.rings[:n]].square(), run.source.noise_left))
    return torch.cat(found) + poses_tried(run.settings, l)


def particles_of_classes(run: Run, l: int) -> torch.Tensor:
    """The particles (n,), on the device, that are likelier of a class than of none; all where junk is not told apart.

    l : of the pass that found the errors.
    """
    everyone = torch.arange(len(run.source), device=run.device)
    if not run.settings.junk:
        return everyone
    of_a_class = torch.logsumexp(-run.model.tables.errors, 1) > evidence_of_none(run, l)
    return everyone[of_a_class] if of_a_class.any() else everyone


def of_a_signal(batch: ImageBatch, power: torch.Tensor, noise_left: float) -> torch.Tensor:
    """log of the likelihood (B,) of noise and a normal signal of any strength, over that of noise alone.

    power (n,) : of the signal at each frequency, before the CTF. noise_left : the share of the noise's power that the
    window leaves, which is also the share of the coefficients that tell something of their own.
    """
    strengths = power.new_tensor(_STRENGTHS)[:, None, None]
    ratio = strengths * batch.ctf.square() * power / noise_left
    logs = 0.5 * (batch.hartley.square() * ratio / (1 + ratio) - noise_left * ratio.log1p()).sum(2)
    return torch.logsumexp(logs, 0) - math.log(len(_STRENGTHS))


def poses_tried(settings: Settings, l: int) -> float:
    """log of the number of poses, of those that can be told apart at l, among which each particle's was the best.

    The radius of the particles is taken to be that beyond which there are none.
    """
    radius = settings.particle_radius / 2
    match settings.poses:
        case "search":
            return poses_told_apart(l, radius, 8 * math.pi**2, settings.shift_extent)
        case "refine":
            return poses_told_apart(l, radius, (2 * _NEAR_ANGLE / l) ** 3, _NEAR_SHIFT / l)
        case "fixed":
            return 0.0


def poses_told_apart(l: int, radius: float, turns: float, shift_extent: float) -> float:
    """log of how many poses differ: by steps that move a particle's edge by a radian at l.

    radius : of the particle, in boxes. turns : volume of the rotations, in cubed radians; 8π² are all. shift_extent :
    the largest shift along each axis, in boxes.
    """
    step = 1 / (2 * math.pi * l)
    return math.log(max(1.0, turns * (radius / step) ** 3)) + 2 * math.log(max(1.0, 2 * shift_extent / step))
