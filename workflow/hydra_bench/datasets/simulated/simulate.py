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

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from hydra_bench import __version__
from hydra_bench.contracts import stack, truth
from hydra_bench.contracts.places import IMAGES_NAME
from hydra_bench.core.files import atomic, sha256, write_json
from hydra_bench.core.mrc import ImageStackWriter, write_map
from hydra_bench.datasets.simulated.entries import Folders, entries_of, find_entry
from hydra_bench.datasets.simulated.imaging import Imaging, Particles, draw_particles
from hydra_bench.datasets.simulated.species import Species, StateMap, StateMaps, load_species, source_map
from hydra_bench.physics.ctf import contrast_transfer
from hydra_bench.physics.fourier import fourier_crop, shift_factors
from hydra_bench.physics.projection import (
    central_slices,
    half_plane,
    images_from_half_planes,
    slicing_transform,
)

_CHUNK = 128
_SNR_SAMPLE = 1000
_TAIL_SAMPLE = 64
_KEPT_BYTES = 400 << 20
"""Maps kept from measuring the signal to writing the images; those beyond are made a second time."""


def noise_deviation(maps: Iterable[StateMap], particles: Particles, imaging: Imaging) -> float:
    """Standard deviation of the full-box noise that gives the SNR.

    The signal's variance is that of up to 1,000 particles, which are in random order: measured on their images at the
    delivered box, to which is added what frequencies beyond it have at the full box.
    """
    sampled = min(len(particles.classes), _SNR_SAMPLE)
    variances = []
    for one in maps:
        members = particles.members(one.k, one.state)
        members = members[members < sampled]
        beyond = variance_beyond(one.volume, members[:_TAIL_SAMPLE], particles, imaging)
        for _, images in species_images(one.volume, members, particles, imaging):
            variances.append(images.var((1, 2), correction=0).double() + beyond)
    return float((torch.cat(variances).mean() / imaging.snr).sqrt())


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
        slices *= contrast_transfer(frequencies, particles.defocus.take(part), particles.optics.take(part))
        yield part, images_from_half_planes(slices, box)


def particle_noise(numbers: np.ndarray, box: int, seed: int) -> np.ndarray:
    """White noise (B, D, D), float32, standard deviation 1; each particle has a stream of its own."""
    noise = np.empty((len(numbers), box, box), dtype=np.float32)
    for image, number in zip(noise, numbers, strict=True):
        stream = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, int(number)]))
        stream.standard_normal(out=image, dtype=np.float32)
    return noise


def simulate(definition: dict[str, Any], structures: Folders, stack_folder: Path, truth_folder: Path) -> None:
    """Make the stack and the truth of a dataset definition (see the configuration schema for its keys).

    Peak memory does not grow with the number of images or, beyond _KEPT_BYTES, of states: one map is projected at a
    time, and each image is written to its place in the stack.
    """
    imaging, seed = Imaging.from_definition(definition["simulation"]), definition["seed"]
    species = {name: load_species(structures, entry) for name, entry in definition["species"].items()}
    all_species = tuple(species.values())
    maps = _KeptMaps(all_species, imaging)
    counts = [entry["images"] for entry in definition["species"].values()]
    n_states, likely = [one.n_states for one in all_species], [one.likely for one in all_species]
    per_class = definition["evaluation_particles_per_class"]
    particles = draw_particles(counts, imaging, per_class, seed, n_states, likely)
    noise_sd = noise_deviation(_written(maps.first_time(), species, imaging, truth_folder), particles, imaging)
    # Cropping to d of D px leaves noise of sd x d/D; dividing by that makes the delivered noise's sd 1.
    # Six digits: those beyond depend on the order of the sums, and so on the machine.
    scale = float(f"{imaging.box_px / imaging.delivered_box_px / noise_sd:.6g}")
    _write_stack(maps.again(), particles, imaging, seed, scale, stack_folder)
    truth.write_truth_star(truth_folder, _truth_of(species, particles, truth_folder))
    provenance = {
        "definition": definition,
        "hydra_bench_version": __version__,
        "image_scale": scale,
        "species": {
            name: {**one.facts(), **_checksums(structures, definition["species"][name])}
            for name, one in species.items()
        },
    }
    write_json(truth_folder / truth.PROVENANCE_NAME, provenance)


def _checksums(structures: Folders, definition: dict[str, Any]) -> dict[str, Any]:
    """What a species' files were: of its entry, and of those of its other states if there are any."""
    sums = {entry: sha256(find_entry(structures, entry)) for entry in entries_of(definition)}
    more = {entry: digest for entry, digest in sums.items() if entry != definition["entry"]}
    return {"sha256": sums[definition["entry"]]} | ({"sha256_of_states": more} if more else {})


class _KeptMaps:
    """Maps of all states: at the full box the first time, then just what the delivered images are cut from."""

    def __init__(self, species: tuple[Species, ...], imaging: Imaging) -> None:
        grid = imaging.box_px, imaging.pixel_size_A, imaging.b_factor_A2
        self._maps, self._imaging = StateMaps(species, lambda source: source_map(source, *grid)), imaging
        self._kept: dict[tuple[int, int], torch.Tensor] = {}
        self._bytes = 0

    def first_time(self) -> Iterator[StateMap]:
        for one in self._maps:
            small = species_map(one.volume, self._imaging)
            if self._bytes + small.nbytes <= _KEPT_BYTES:
                self._kept[one.k, one.state] = small
                self._bytes += small.nbytes
            yield one

    def again(self) -> Iterator[StateMap]:
        for k, state in self._maps.numbers():
            kept = self._kept.get((k, state))
            yield self._maps.make(k, state) if kept is None else StateMap(k, state, kept)


def _write_stack(
    maps: Iterable[StateMap], particles: Particles, imaging: Imaging, seed: int, scale: float, folder: Path
) -> None:
    box, pixel, n = imaging.delivered_box_px, imaging.delivered_pixel_size_A, len(particles.classes)
    with (
        atomic(folder / IMAGES_NAME) as temporary,
        ImageStackWriter(temporary, n, box, pixel) as writer,
        tqdm(total=n, desc="simulate", unit="image", disable=None, delay=5) as progress,
    ):
        for one in maps:
            members = particles.members(one.k, one.state)
            for part, signal in species_images(one.volume * scale, members, particles, imaging):
                writer.write(part, signal.numpy() + particle_noise(part, box, seed))
                progress.update(len(part))
    stack.write_stack_star(folder, particles.defocus, particles.optics, box, pixel, particles.evaluation)


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
