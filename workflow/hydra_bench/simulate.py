"""Synthetic particle stacks: species in, a stack and its truth out.

A particle is ``CTF x (shifted projection of its species) + white noise`` with all noise of standard
deviation 1 in the delivered image, the normalisation that reconstruction programs expect.

The microscope's box and the delivered box may differ; delivering means Fourier-cropping. A Fourier crop
of white noise is white noise, and of a projection it holds just the lower frequencies of its slice, so
images are made at the delivered box directly, with the noise level that the SNR sets at the full box:
the same images as cropping each one, for less work. SNR = variance of the CTF-applied signal / variance of the
noise, over the full image (CryoBench's definition).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from hydra_bench import __version__, stack, truth
from hydra_bench.ctf import Defocus, Optics, contrast_transfer
from hydra_bench.density import density_map
from hydra_bench.files import ImageStackWriter, atomic, sha256, write_json, write_map
from hydra_bench.fourier import fourier_crop
from hydra_bench.projection import (
    central_slices,
    half_plane,
    images_from_half_planes,
    shift_factors,
    slicing_transform,
)
from hydra_bench.rotations import random_rotations
from hydra_bench.species import Species, StateMap, StateMaps, load_species
from hydra_bench.structures import Atoms, find_entry

_CHUNK = 128
_SNR_SAMPLE = 1000


@dataclass(frozen=True)
class Imaging:
    """How particles are imaged: everything of a dataset that is not its species.

    Lengths in Å or px of the full box as named; `defocus_A` and `astigmatism_A` (U - V) are uniform ranges;
    shifts are uniform in ±shift_px along x and y.
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

    @property
    def delivered_pixel_size_A(self) -> float:
        return self.box_px * self.pixel_size_A / self.delivered_box_px

    @classmethod
    def from_definition(cls, simulation: dict[str, Any]) -> Imaging:
        """From a dataset definition's `simulation` block, as the configuration schema describes it."""
        ctf = simulation["ctf"]
        plain = {k: v for k, v in simulation.items() if k != "ctf"}
        optics = Optics(ctf["voltage_kV"], ctf["spherical_aberration_mm"], ctf["amplitude_contrast"])
        ranges = {k: tuple(ctf[k]) for k in ("defocus_A", "astigmatism_A")}
        return cls(**plain, **ranges, optics=optics, phase_shift_deg=ctf["phase_shift_deg"])


@dataclass(frozen=True)
class Particles:
    """What is drawn for N particles.

    rotations (N, 3, 3); shifts_A (N, 2); classes (N,); states (N,), 0-based in the particle's class; defocus;
    evaluation (E,), particle numbers.
    """

    rotations: np.ndarray
    shifts_A: np.ndarray
    classes: np.ndarray
    states: np.ndarray
    defocus: Defocus
    evaluation: np.ndarray

    def members(self, k: int, state: int) -> np.ndarray:
        """Numbers of the particles of a class in a state."""
        return np.flatnonzero((self.classes == k) & (self.states == state))


def draw_particles(
    counts: list[int], imaging: Imaging, per_class: int, seed: int, n_states: Sequence[int] | None = None
) -> Particles:
    """Draw what sets each particle apart; classes are in random order, so that position tells nothing.

    counts: particles of each class; per_class: evaluated ones of each; n_states: states of each class, which
    are equally likely, None for one each.
    """
    # A stream more leaves the others as they are.
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(6)]
    classes = streams[0].permutation(np.repeat(np.arange(len(counts)), counts))
    n = len(classes)
    shift_A = imaging.shift_px * imaging.pixel_size_A
    mean, difference = streams[3].uniform(*imaging.defocus_A, n), streams[3].uniform(*imaging.astigmatism_A, n)
    defocus = Defocus(
        u_A=np.round(mean + difference / 2, 2),
        v_A=np.round(mean - difference / 2, 2),
        angle_deg=np.round(streams[3].uniform(0, 180, n), 3),
        phase_shift_deg=np.full(n, imaging.phase_shift_deg),
    )
    chosen = [streams[4].choice(np.flatnonzero(classes == c), per_class, replace=False) for c in range(len(counts))]
    return Particles(
        rotations=random_rotations(n, streams[1]),
        shifts_A=streams[2].uniform(-shift_A, shift_A, (n, 2)),
        classes=classes,
        states=streams[5].integers(np.array(n_states or [1] * len(counts))[classes]),
        defocus=defocus,
        evaluation=np.sort(np.concatenate(chosen)),
    )


def noise_deviation(maps: Iterable[StateMap], particles: Particles, imaging: Imaging) -> float:
    """Standard deviation of the full-box noise that gives the SNR.

    The signal's variance is measured on the full-box images of up to 1,000 particles, which are in random order.
    """
    at_full_box = replace(imaging, delivered_box_px=imaging.box_px)
    sampled = min(len(particles.classes), _SNR_SAMPLE)
    variances = []
    for one in maps:
        members = particles.members(one.k, one.state)
        for _, images in species_images(one.volume, members[members < sampled], particles, at_full_box):
            variances.append(images.var((1, 2), correction=0))
    return float((torch.cat(variances).double().mean() / imaging.snr).sqrt())


def species_map(full: torch.Tensor, imaging: Imaging) -> torch.Tensor:
    """The map that slices are cut from: with frequencies up to the corners of the delivered images' transforms."""
    wanted = int(np.ceil(np.sqrt(2) * imaging.delivered_box_px / 2)) * 2 + 4
    return fourier_crop(full, min(wanted, imaging.box_px), 3)


def species_images(
    full: torch.Tensor, members: np.ndarray, particles: Particles, imaging: Imaging
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Noise-free images of one full-box map (D, D, D), in chunks at the delivered box d.

    Yields particle numbers (B,) and images (B, d, d), the integral of density along the view, in Å x map units.
    """
    if not len(members):  # a rare state: the transform is the costly part
        return
    box, pixel = imaging.delivered_box_px, imaging.delivered_pixel_size_A
    volume = species_map(full, imaging)
    voxel = imaging.box_px * imaging.pixel_size_A / volume.shape[-1]
    transform = slicing_transform(volume * (voxel**3 / pixel**2))
    plane = half_plane(box)
    frequencies = plane / (box * pixel)
    for start in range(0, len(members), _CHUNK):
        part = members[start : start + _CHUNK]
        slices = central_slices(transform, torch.from_numpy(particles.rotations[part]), plane)
        slices *= shift_factors(torch.from_numpy(particles.shifts_A[part] / pixel), plane, box)
        slices *= contrast_transfer(frequencies, particles.defocus.take(part), imaging.optics)
        yield part, images_from_half_planes(slices, box)


def particle_noise(numbers: np.ndarray, box: int, seed: int) -> np.ndarray:
    """White noise (B, D, D), float32, standard deviation 1; each particle has a stream of its own."""
    noise = np.empty((len(numbers), box, box), dtype=np.float32)
    for image, number in zip(noise, numbers, strict=True):
        stream = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, int(number)]))
        stream.standard_normal(out=image, dtype=np.float32)
    return noise


def simulate(definition: dict[str, Any], structures: Path, stack_folder: Path, truth_folder: Path) -> None:
    """Make the stack and the truth of a dataset definition (see the configuration schema for its keys).

    Peak memory does not grow with the number of images or of states: one map is projected at a time, and
    each image is written to its place in the stack.
    """
    imaging, seed = Imaging.from_definition(definition["simulation"]), definition["seed"]
    species = {name: load_species(structures, entry) for name, entry in definition["species"].items()}
    maps = StateMaps(tuple(species.values()), lambda atoms: _full_map(atoms, imaging))
    counts = [entry["images"] for entry in definition["species"].values()]
    n_states = [one.n_states for one in species.values()]
    particles = draw_particles(counts, imaging, definition["evaluation_particles_per_class"], seed, n_states)
    noise_sd = noise_deviation(_written(maps, species, imaging, truth_folder), particles, imaging)
    # Cropping to d of D px leaves noise of sd x d/D; dividing by that makes the delivered noise's sd 1.
    # Six digits: those beyond depend on the order of the sums, and so on the machine.
    scale = float(f"{imaging.box_px / imaging.delivered_box_px / noise_sd:.6g}")
    _write_stack(maps, particles, imaging, seed, scale, stack_folder)
    truth.write_truth_star(truth_folder, _truth_of(species, particles, truth_folder))
    provenance = {
        "definition": definition,
        "hydra_bench_version": __version__,
        "image_scale": scale,
        "species": {
            name: {**one.facts(), "sha256": sha256(find_entry(structures, definition["species"][name]["entry"]))}
            for name, one in species.items()
        },
    }
    write_json(truth_folder / truth.PROVENANCE_NAME, provenance)


def _full_map(atoms: Atoms, imaging: Imaging) -> torch.Tensor:
    return density_map(atoms, imaging.box_px, imaging.pixel_size_A, imaging.b_factor_A2)


def _write_stack(
    maps: Iterable[StateMap], particles: Particles, imaging: Imaging, seed: int, scale: float, folder: Path
) -> None:
    box, pixel, n = imaging.delivered_box_px, imaging.delivered_pixel_size_A, len(particles.classes)
    with (
        atomic(folder / stack.IMAGES_NAME) as temporary,
        ImageStackWriter(temporary, n, box, pixel) as writer,
        tqdm(total=n, desc="simulate", unit="image", disable=None, delay=5) as progress,
    ):
        for one in maps:
            members = particles.members(one.k, one.state)
            for part, signal in species_images(one.volume * scale, members, particles, imaging):
                writer.write(part, signal.numpy() + particle_noise(part, box, seed))
                progress.update(len(part))
    stack.write_stack_star(folder, particles.defocus, imaging.optics, box, pixel, particles.evaluation)


def _written(
    maps: Iterable[StateMap], species: dict[str, Species], imaging: Imaging, folder: Path
) -> Iterator[StateMap]:
    """The same maps, each written to the truth at the delivered box on its way."""
    all_species = tuple(species.values())
    for one in maps:
        delivered = fourier_crop(one.volume, imaging.delivered_box_px, 3).numpy()
        own = all_species[one.k]
        if one.state == own.central_state:
            write_map(truth.class_volume_path(folder, one.k), delivered, imaging.delivered_pixel_size_A)
        if own.n_states > 1:
            path = truth.state_volume_path(folder, one.k, one.state)
            write_map(path, delivered, imaging.delivered_pixel_size_A)
        yield one


def _truth_of(species: dict[str, Species], particles: Particles, folder: Path) -> truth.Truth:
    all_species = tuple(species.values())
    moving = any(one.n_states > 1 for one in all_species)
    conformations = np.full((len(particles.classes), max(one.coordinates.shape[1] for one in all_species)), np.nan)
    for k, one in enumerate(all_species):
        own = particles.classes == k
        conformations[own, : one.coordinates.shape[1]] = one.coordinates[particles.states[own]]
    state_paths = tuple(
        tuple(truth.state_volume_path(folder, k, s) for s in range(one.n_states)) if one.n_states > 1 else ()
        for k, one in enumerate(all_species)
    )
    return truth.Truth(
        rotations=particles.rotations,
        shifts_A=particles.shifts_A,
        classes=particles.classes,
        conformations=conformations,
        class_names=tuple(species),
        volume_paths=tuple(truth.class_volume_path(folder, k) for k in range(len(all_species))),
        states=particles.states if moving else None,
        state_paths=state_paths if moving else (),
    )
