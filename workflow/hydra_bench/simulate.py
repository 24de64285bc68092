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

from collections.abc import Iterator
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
from hydra_bench.structures import Atoms, find_entry, load_atoms

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
    """The drawn state of N particles: poses (N, 3, 3), shifts_A (N, 2), classes (N,), defocus, evaluation list."""

    rotations: np.ndarray
    shifts_A: np.ndarray
    classes: np.ndarray
    defocus: Defocus
    evaluation: np.ndarray


def draw_particles(counts: list[int], imaging: Imaging, per_class: int, seed: int) -> Particles:
    """Draw every particle's state; classes are in random order, so that position tells nothing."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]
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
        defocus=defocus,
        evaluation=np.sort(np.concatenate(chosen)),
    )


def noise_deviation(full: list[torch.Tensor], particles: Particles, imaging: Imaging) -> float:
    """Standard deviation of the full-box noise that gives the SNR.

    The signal's variance is measured on the full-box images of up to 1,000 particles, which are in random order.
    """
    at_full_box = replace(imaging, delivered_box_px=imaging.box_px)
    sample = np.arange(min(len(particles.classes), _SNR_SAMPLE))
    variances = [
        images.var((1, 2), correction=0)
        for c, volume in enumerate(full)
        for _, images in species_images(volume, sample[particles.classes[sample] == c], particles, at_full_box)
    ]
    return float((torch.cat(variances).double().mean() / imaging.snr).sqrt())


def species_map(full: torch.Tensor, imaging: Imaging) -> torch.Tensor:
    """The map that slices are cut from: with frequencies up to the corners of the delivered images' transforms."""
    wanted = int(np.ceil(np.sqrt(2) * imaging.delivered_box_px / 2)) * 2 + 4
    return fourier_crop(full, min(wanted, imaging.box_px), 3)


def species_images(
    full: torch.Tensor, members: np.ndarray, particles: Particles, imaging: Imaging
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Noise-free images of one species, given its full-box map (D, D, D), in chunks at the delivered box d.

    Yields particle numbers (B,) and images (B, d, d), the integral of density along the view, in Å x map units.
    """
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

    Peak memory does not grow with the number of images: one species is projected at a time, and each
    image is written to its place in the stack.
    """
    imaging, species, seed = (
        Imaging.from_definition(definition["simulation"]),
        definition["species"],
        definition["seed"],
    )
    atoms = {name: load_atoms(structures, **_selection(entry)) for name, entry in species.items()}
    full = [density_map(a, imaging.box_px, imaging.pixel_size_A, imaging.b_factor_A2) for a in atoms.values()]
    counts = [entry["images"] for entry in species.values()]
    particles = draw_particles(counts, imaging, definition["evaluation_particles_per_class"], seed)
    noise_sd = noise_deviation(full, particles, imaging)
    # Cropping to d of D px leaves noise of sd x d/D; dividing by that makes the delivered noise's sd 1.
    scale = imaging.box_px / imaging.delivered_box_px / noise_sd
    _write_stack(full, particles, imaging, seed, scale, stack_folder)
    _write_truth(full, list(species), particles, imaging, truth_folder)
    provenance = {
        "definition": definition,
        "hydra_bench_version": __version__,
        "image_scale": scale,
        "species": {
            name: {**_facts(a), "sha256": sha256(find_entry(structures, species[name]["entry"]))}
            for name, a in atoms.items()
        },
    }
    write_json(truth_folder / truth.PROVENANCE_NAME, provenance)


def _selection(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("entry", "chains", "assembly", "model")}


def _facts(atoms: Atoms) -> dict[str, Any]:
    return {
        "atoms": len(atoms.positions_A),
        "mass_kDa": round(atoms.mass_kDa, 1),
        "diameter_A": round(atoms.diameter_A, 1),
    }


def _write_stack(
    maps: list[torch.Tensor], particles: Particles, imaging: Imaging, seed: int, scale: float, folder: Path
) -> None:
    box, pixel, n = imaging.delivered_box_px, imaging.delivered_pixel_size_A, len(particles.classes)
    with (
        atomic(folder / stack.IMAGES_NAME) as temporary,
        ImageStackWriter(temporary, n, box, pixel) as writer,
        tqdm(total=n, desc="simulate", unit="image", disable=None, delay=5) as progress,
    ):
        for c, volume in enumerate(maps):
            members = np.flatnonzero(particles.classes == c)
            for part, signal in species_images(volume * scale, members, particles, imaging):
                writer.write(part, signal.numpy() + particle_noise(part, box, seed))
                progress.update(len(part))
    stack.write_stack_star(folder, particles.defocus, imaging.optics, box, pixel, particles.evaluation)


def _write_truth(
    maps: list[torch.Tensor], names: list[str], particles: Particles, imaging: Imaging, folder: Path
) -> None:
    paths = tuple(folder / "volumes" / f"class_{c + 1}.mrc" for c in range(len(maps)))
    for path, volume in zip(paths, maps, strict=True):
        delivered = fourier_crop(volume, imaging.delivered_box_px, 3)
        write_map(path, delivered.numpy(), imaging.delivered_pixel_size_A)
    no_conformations = np.zeros((len(particles.classes), 0))
    state = truth.Truth(
        particles.rotations, particles.shifts_A, particles.classes, no_conformations, tuple(names), paths
    )
    truth.write_truth_star(folder, state)
