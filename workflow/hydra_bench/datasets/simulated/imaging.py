"""The microscope: what is drawn for each particle, its noise-free image, and the noise that is added to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch

from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.types import IntArray
from hydra_bench.datasets.simulated.kind import with_junk
from hydra_bench.datasets.simulated.species import Species
from hydra_bench.datasets.simulated.troubles import (
    JUNK_KINDS,
    Background,
    Further,
    Occurring,
    Troubles,
    draw_background,
    draw_junk,
    draw_neighbours,
    joined,
    preferred_rotations,
)
from hydra_bench.particles.particle_files import read_ctf
from hydra_bench.physics.ctf import Defocus, Optics, contrast_transfer
from hydra_bench.physics.fourier import centre_crop, fourier_crop, shift_factors
from hydra_bench.physics.projection import central_slices, half_plane, images_from_half_planes, slicing_transform
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
    troubles: Troubles = field(default_factory=Troubles)

    @property
    def delivered_pixel_size_A(self) -> float:
        return self.box_px * self.pixel_size_A / self.delivered_box_px

    @classmethod
    def from_definition(cls, simulation: JsonObject) -> Imaging:
        """From a dataset definition's `simulation` block, as the configuration schema describes it.

        Raises InputError if the file that CTF parameters are drawn from is not usable.
        """
        given = simulation | simulation["ctf"]
        given["troubles"] = Troubles.from_definition(simulation.get("troubles", {}))
        plain = {own.name: given[own.name] for own in fields(cls) if own.name in given}
        optics = Optics(given["voltage_kV"], given["spherical_aberration_mm"], given["amplitude_contrast"])
        pool = None if given.get("drawn_from") is None else read_ctf(given["drawn_from"])
        return cls(**plain, optics=optics, pool=pool)


@dataclass(frozen=True)
class Particles:
    """What is drawn for N particles.

    rotations (N, 3, 3); shifts_A (N, 2); classes (N,), that of junk after those of the species; states (N,), 0-based in
    the particle's class; defocus; optics, shared or one a particle; evaluation (E,), particle numbers. junk_kind (N,):
    number in JUNK_KINDS, -1 for good images. stated_defocus: what the stack says, where that is not quite right.
    """

    rotations: np.ndarray
    shifts_A: np.ndarray
    classes: np.ndarray
    states: np.ndarray
    defocus: Defocus
    optics: Optics
    evaluation: np.ndarray
    junk_kind: np.ndarray
    stated_defocus: Defocus

    def members(self, k: int, state: int) -> np.ndarray:
        """Numbers of the particles of a class in a state."""
        return np.flatnonzero((self.classes == k) & (self.states == state))


def draw_particles(
    counts: list[int], imaging: Imaging, per_class: int, seed: int, species: Sequence[Species] = ()
) -> Particles:
    """Draw what sets each particle apart; classes are in random order, so that position tells nothing.

    counts: particles of each class; per_class: evaluated ones of each; species: those of the classes, none where each
    has one state.
    """
    # A stream more leaves the others as they are.
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(10)]
    troubles = imaging.troubles
    of_classes = [*counts, with_junk(sum(counts), troubles.junk_share) - sum(counts)]
    classes = streams[0].permutation(np.repeat(np.arange(len(of_classes)), of_classes))
    n = len(classes)
    shift_A = imaging.shift_px * imaging.pixel_size_A
    states = streams[5].integers(np.array([*([own.n_states for own in species] or [1] * len(counts)), 1])[classes])
    for k, own in enumerate(species):
        if own.likely is not None:
            members = np.flatnonzero(classes == k)
            states[members] = streams[6].choice(own.n_states, len(members), p=own.likely)
    chosen = [streams[4].choice(np.flatnonzero(classes == c), per_class, replace=False) for c in range(len(counts))]
    defocus, optics = _draw_ctf(n, imaging, streams[3], streams[7])
    kinds = np.array([JUNK_KINDS.index(kind) for kind in troubles.junk_kinds])
    junk_kind = np.full(n, -1)
    junk_kind[classes == len(counts)] = streams[8].choice(kinds, of_classes[-1])
    error_A = np.round(streams[9].normal(0, troubles.defocus_error_sd_A, n), 2)
    views = troubles.views
    return Particles(
        rotations=preferred_rotations(n, views, streams[1]) if views else random_rotations(n, streams[1]),
        shifts_A=streams[2].uniform(-shift_A, shift_A, (n, 2)),
        classes=classes,
        states=states,
        defocus=defocus,
        optics=optics,
        evaluation=np.sort(np.concatenate(chosen)),
        junk_kind=junk_kind,
        stated_defocus=replace(defocus, u_A=defocus.u_A + error_A, v_A=defocus.v_A + error_A),
    )


def draw_surroundings(
    particles: Particles, imaging: Imaging, species: Sequence[Species], seed: int
) -> tuple[Background, Further]:
    """What the images of particles have beside these, from streams of its own."""
    of_background, of_neighbours, of_junk = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed, spawn_key=(1000,)).spawn(3)
    )
    troubles, junk_kind = imaging.troubles, particles.junk_kind
    has_junk = bool((junk_kind >= 0).any())
    occurring = Occurring(
        counts=[int((particles.classes == k).sum()) for k in range(len(species))],
        n_states=[own.n_states for own in species],
        diameters_A=[own.diameter_A if has_junk else 0.0 for own in species],
    )
    distance_A = troubles.neighbour_distance_px * imaging.pixel_size_A
    neighbours = draw_neighbours(len(junk_kind), occurring, troubles.neighbour_share, distance_A, of_neighbours)
    further = joined([neighbours, draw_junk(junk_kind, particles.shifts_A, occurring, of_junk)])
    return draw_background(len(junk_kind), junk_kind, troubles, of_background), further


def _draw_ctf(
    n: int, imaging: Imaging, stream: np.random.Generator, of_particles: np.random.Generator
) -> tuple[Defocus, Optics]:
    """CTF parameters of n particles, independent of their classes: rounded as the STAR file writes them."""
    if imaging.pool is not None:
        rows = stream.integers(len(imaging.pool[0]), size=n)
        drawn = imaging.pool[0].take(rows)
        angles_deg = (np.round(angle, 3) for angle in (drawn.angle_deg, drawn.phase_shift_deg))
        return Defocus(np.round(drawn.u_A, 2), np.round(drawn.v_A, 2), *angles_deg), imaging.pool[1].take(rows)
    count, each = n, np.arange(n)
    height = np.zeros(n)
    if imaging.particles_per_micrograph is not None:
        count = -(-n // imaging.particles_per_micrograph)
        each = of_particles.permutation(np.arange(n) % count)
        height = of_particles.normal(0, imaging.height_sd_A, n)
    mean = stream.uniform(*imaging.defocus_A, count)
    difference = stream.uniform(*imaging.astigmatism_A, count)
    angle = np.round(stream.uniform(0, 180, count), 3)
    return Defocus(
        u_A=np.round((mean + difference / 2)[each] + height, 2),
        v_A=np.round((mean - difference / 2)[each] + height, 2),
        angle_deg=angle[each],
        phase_shift_deg=np.full(n, imaging.phase_shift_deg),
    ), imaging.optics


_CHUNK = 128
_SNR_SAMPLE = 1000
_TAIL_SAMPLE = 64


def slicing_map(full: torch.Tensor, imaging: Imaging) -> torch.Tensor:
    """The map that slices are cut from: with frequencies up to the corners of the delivered images' transforms."""
    wanted = int(np.ceil(np.sqrt(2) * imaging.delivered_box_px / 2)) * 2 + 4
    return fourier_crop(full, min(wanted, imaging.box_px), 3)


def projections(
    full: torch.Tensor, members: np.ndarray, particles: Particles, imaging: Imaging
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Noise-free images of one full-box map (D, D, D), in chunks at the delivered box d.

    Yields particle numbers (B,) and images (B, d, d), the integral of density along the view, in Å x map units.
    """
    if not len(members):  # a rare state: the transform is the costly part
        return
    box, pixel = imaging.delivered_box_px, imaging.delivered_pixel_size_A
    transform = _transform_of(full, imaging)
    plane = half_plane(box)
    frequencies = plane / (box * pixel)
    for start in range(0, len(members), _CHUNK):
        part = members[start : start + _CHUNK]
        slices = central_slices(transform, torch.from_numpy(particles.rotations[part]), plane)
        slices *= shift_factors(torch.from_numpy(particles.shifts_A[part] / pixel), plane, box)
        slices *= contrast_transfer(frequencies, particles.defocus.take(part), particles.optics.take(part))
        yield part, images_from_half_planes(slices, box)


def add_further(
    full: torch.Tensor, chosen: IntArray, further: Further, particles: Particles, imaging: Imaging, images: np.ndarray
) -> None:
    """Add to images (N, d, d) those of the chosen ones of further particles, which are of one full-box map (D, D, D).

    They are made in twice the box, so that what leaves an image does not come in on its other side.
    """
    if not len(chosen):
        return
    box, pixel = imaging.delivered_box_px, imaging.delivered_pixel_size_A
    transform = _transform_of(full, imaging)
    plane = half_plane(2 * box)
    frequencies = plane / (2 * box * pixel)
    for start in range(0, len(chosen), _CHUNK):
        part = chosen[start : start + _CHUNK]
        of = further.images[part]
        slices = central_slices(transform, torch.from_numpy(further.rotations[part]), plane / 2)
        slices *= shift_factors(torch.from_numpy(further.shifts_A[part] / pixel), plane, 2 * box)
        slices *= contrast_transfer(frequencies, particles.defocus.take(of), particles.optics.take(of))
        np.add.at(images, of, centre_crop(images_from_half_planes(slices, 2 * box), box, 2).numpy())


def _transform_of(full: torch.Tensor, imaging: Imaging) -> torch.Tensor:
    """What slices are cut from, scaled so that images are in Å x map units."""
    volume = slicing_map(full, imaging)
    voxel = imaging.box_px * imaging.pixel_size_A / volume.shape[-1]
    return slicing_transform(volume * (voxel**3 / imaging.delivered_pixel_size_A**2))


def particle_noise(numbers: np.ndarray, box: int, seed: int) -> np.ndarray:
    """White noise (B, D, D), float32, standard deviation 1; each particle has a stream of its own."""
    noise = np.empty((len(numbers), box, box), dtype=np.float32)
    for image, number in zip(noise, numbers, strict=True):
        stream = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, int(number)]))
        stream.standard_normal(out=image, dtype=np.float32)
    return noise


def signal_variances(full: torch.Tensor, members: np.ndarray, particles: Particles, imaging: Imaging) -> torch.Tensor:
    """Variances (n,) over the full image of those of a map's particles that the SNR is measured on, float64.

    These are the ones among the first 1,000 of all, which are in random order: measured on their images at the
    delivered box, to which is added what frequencies beyond it have at the full box.
    """
    members = members[members < _SNR_SAMPLE]
    beyond = variance_beyond(full, members[:_TAIL_SAMPLE], particles, imaging)
    chunks = [images.var((1, 2), correction=0) for _, images in projections(full, members, particles, imaging)]
    return torch.cat([torch.zeros(0, dtype=torch.float64), *(chunk.double() + beyond for chunk in chunks)])


def noise_deviation(variances: Sequence[torch.Tensor], snr: float) -> float:
    """Standard deviation of the full-box noise that gives the SNR, of the variances that each map's images have."""
    return float((torch.cat(list(variances)).mean() / snr).sqrt())


def variance_beyond(full: torch.Tensor, members: np.ndarray, particles: Particles, imaging: Imaging) -> float:
    """Mean variance that full-box images of a map (D, D, D) have at frequencies that the delivered box cuts off.

    Of uniformly distributed views the mean of |F|² over the slices is its mean over shells of the map's transform. So
    no image of the full box is needed, whose padded transform would be the largest thing in memory by far.
    """
    box, pixel = imaging.box_px, imaging.pixel_size_A
    if imaging.delivered_box_px == box or not len(members):
        return 0.0
    power = shell_power(full)
    plane = half_plane(box)
    kx, ky = plane[:, 0], plane[:, 1]
    outside = (kx.abs() >= imaging.delivered_box_px / 2) | (ky.abs() >= imaging.delivered_box_px / 2)
    # A half plane stands for the whole one: all but its edges kx = 0 and kx = D/2 count twice.
    weight = torch.where((kx == 0) | (kx == box / 2), 1.0, 2.0)[outside].double()
    shells = plane[outside].norm(dim=1).round().long()
    frequencies = plane[outside] / (box * pixel)
    ctf = contrast_transfer(frequencies, particles.defocus.take(members), particles.optics.take(members))
    return float((ctf.double().square() @ (weight * power[shells])).mean() * pixel**2 / box**4)


def shell_power(volume: torch.Tensor) -> torch.Tensor:
    """Mean |F|² of a map's transform, unnormalised, over the shells |k| = 0, 1, … to the corners; float64."""
    transform = torch.fft.rfftn(volume)
    k = torch.fft.fftfreq(len(volume), 1 / len(volume))
    kx = torch.arange(transform.shape[-1], dtype=torch.float32)
    shells = (k[:, None, None].square() + k[:, None].square() + kx.square()).sqrt().round().long().flatten()
    # kx = 0 is listed with k and -k, the others with one of both: of the same |F|, so the mean hardly cares.
    power = torch.bincount(shells, weights=transform.abs().square().double().flatten())
    return power / torch.bincount(shells).clamp(min=1)
