"""Synthetic particle stacks: species in, a stack and its truth out.

A particle is ``CTF x (shifted projection of its species) + white noise`` with all noise of standard
deviation 1 in the delivered image, the normalisation that reconstruction programs expect.

The microscope's box and the delivered box may differ; delivering means Fourier-cropping. A Fourier crop
of white noise is white noise, and of a projection it holds just the lower frequencies of its slice, so
images are made at the delivered box directly, with the noise level that the SNR sets at the full box:
the same images as cropping each one, for less work. SNR = variance of the CTF-applied signal / variance of the
noise, over the full image (CryoBench's definition).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch
from tqdm import tqdm

from hydra_bench.contracts import stack, truth
from hydra_bench.contracts.places import IMAGES_NAME, class_volume_path
from hydra_bench.core.files import atomic, sha256
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.mrc import ImageStackWriter, write_map
from hydra_bench.core.types import IntArray
from hydra_bench.datasets.simulated.density import VolumeSource, density_map
from hydra_bench.datasets.simulated.entries import Folders, entries_of, find_entry
from hydra_bench.datasets.simulated.imaging import (
    Imaging,
    Particles,
    add_further,
    draw_particles,
    draw_surroundings,
    noise_deviation,
    particle_noise,
    projections,
    signal_variances,
    slicing_map,
)
from hydra_bench.datasets.simulated.species import Species, load_species
from hydra_bench.datasets.simulated.troubles import Background, Further, background_images, coloured, half_of
from hydra_bench.physics.fourier import fourier_crop

SIMULATOR_VERSION = 1
"""Rises when a definition gives other images than before, beyond the last digits: it is then another dataset."""
_JUNK_CHUNK = 128

_KEPT_BYTES = 400 << 20
"""Maps kept from measuring the signal to writing the images; those beyond are made a second time."""


@dataclass
class Mixture:
    """The species of a dataset, in the order of the true classes, and how they are imaged.

    A map takes two seconds for a ribosome at 128 px, and at 256 px 67 MB of memory. So maps are made one at a time, and
    what images are cut from is kept of as many as there is room for.
    """

    species: tuple[Species, ...]
    imaging: Imaging
    _kept: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)

    def states(self) -> Iterator[tuple[int, int]]:
        """Class and state of each map, both from 0, in order."""
        return ((k, state) for k, species in enumerate(self.species) for state in range(species.n_states))

    def state_map(self, k: int, state: int) -> torch.Tensor:
        """The map (D, D, D) of a class in a state at the full box; a given map has a fall-off of its own."""
        source = self.species[k].state_source(state)
        if isinstance(source, VolumeSource):
            return source.on_grid(self.imaging.box_px, self.imaging.pixel_size_A)
        return density_map(source, self.imaging.box_px, self.imaging.pixel_size_A, self.imaging.b_factor_A2)

    def keep(self, k: int, state: int, full: torch.Tensor) -> None:
        """Keep what images of a map are cut from, if there is room."""
        small = slicing_map(full, self.imaging)
        if sum(volume.nbytes for volume in self._kept.values()) + small.nbytes <= _KEPT_BYTES:
            self._kept[k, state] = small

    def kept_or_made(self, k: int, state: int) -> torch.Tensor:
        """What was kept of a map, else the map."""
        return self._kept[k, state] if (k, state) in self._kept else self.state_map(k, state)


def simulate(definition: JsonObject, structures: Folders, stack_folder: Path, truth_folder: Path) -> None:
    """Make the stack and the truth of a dataset definition (see the configuration schema for its keys).

    Peak memory does not grow with the number of images or, beyond _KEPT_BYTES, of states: one map is projected at a
    time, and each image is written to its place in the stack.
    """
    imaging = Imaging.from_definition(definition["simulation"])
    species = {name: load_species(structures, entry) for name, entry in definition["species"].items()}
    mixture = Mixture(tuple(species.values()), imaging)
    counts = [entry["images"] for entry in definition["species"].values()]
    per_class, seed = definition["evaluation_particles_per_class"], definition["seed"]
    particles = draw_particles(counts, imaging, per_class, seed, mixture.species)
    variances = []
    for k, state in mixture.states():
        full = mixture.state_map(k, state)
        _write_true_map(full, mixture, k, state, truth_folder)
        variances.append(signal_variances(full, particles.members(k, state), particles, imaging))
        mixture.keep(k, state, full)
    # Cropping to d of D px leaves noise of sd x d/D; dividing by that makes the delivered noise's sd 1.
    # Six digits: those beyond depend on the order of the sums, and so on the machine.
    noise_sd = noise_deviation(variances, imaging.snr)
    scale = float(f"{imaging.box_px / imaging.delivered_box_px / noise_sd:.6g}")
    _write_stack(mixture, particles, scale, seed, stack_folder)
    truth.write_truth_star(truth_folder, _truth_of(species, particles, truth_folder))
    facts = {name: own.facts() | _checksums(structures, definition["species"][name]) for name, own in species.items()}
    about = {"simulator_version": SIMULATOR_VERSION, "image_scale": scale, "species": facts}
    truth.write_provenance(truth_folder, definition, about)


def _checksums(structures: Folders, definition: JsonObject) -> JsonObject:
    """What a species' files were: of its entry, and of those of its other states if there are any."""
    sums = {entry: sha256(find_entry(structures, entry)) for entry in entries_of(definition)}
    more = {entry: digest for entry, digest in sums.items() if entry != definition["entry"]}
    return {"sha256": sums[definition["entry"]]} | ({"sha256_of_states": more} if more else {})


def _write_true_map(full: torch.Tensor, mixture: Mixture, k: int, state: int, folder: Path) -> None:
    """Write a map to the truth at the delivered box: as the state's, and as the class's if it stands for that."""
    imaging, species = mixture.imaging, mixture.species[k]
    delivered = fourier_crop(full, imaging.delivered_box_px, 3).numpy()
    paths = [class_volume_path(folder, k)] if state == species.central_state else []
    if species.n_states > 1:
        paths.append(truth.state_volume_path(folder, k, state))
    for path in paths:
        write_map(path, delivered, imaging.delivered_pixel_size_A)


def _write_stack(mixture: Mixture, particles: Particles, scale: float, seed: int, folder: Path) -> None:
    """Write the images of all particles, each of which is its projection times the scale, and noise."""
    imaging, n = mixture.imaging, len(particles.classes)
    box, pixel = imaging.delivered_box_px, imaging.delivered_pixel_size_A
    background, further = draw_surroundings(particles, imaging, mixture.species, seed)
    with (
        atomic(folder / IMAGES_NAME) as temporary,
        _images_of_further(mixture, particles, further, scale, folder) as others,
        ImageStackWriter(temporary, n, box, pixel) as writer,
        tqdm(total=n, desc="simulate", unit="image", disable=None, delay=5) as progress,
    ):
        for k, state in mixture.states():
            volume = mixture.kept_or_made(k, state) * scale
            members = particles.members(k, state)
            for part, signal in projections(volume, members, particles, imaging):
                seen = _with_contrast(signal.numpy(), others, part, background)
                writer.write(part, seen + _noise(part, background, imaging, seed))
                progress.update(len(part))
        junk = np.flatnonzero(particles.junk_kind >= 0)
        for part in np.array_split(junk, -(-len(junk) // _JUNK_CHUNK)) if len(junk) else ():
            seen = _with_contrast(np.zeros((len(part), box, box), np.float32), others, part, background)
            writer.write(part, seen + _noise(part, background, imaging, seed))
            progress.update(len(part))
    stack.write_stack_star(folder, particles.stated_defocus, particles.optics, box, pixel, particles.evaluation)


@contextmanager
def _images_of_further(
    mixture: Mixture, particles: Particles, further: Further, scale: float, folder: Path
) -> Iterator[np.ndarray | None]:
    """Images (N, d, d) of all further particles on disk, in a file that is gone afterwards; None if there are none."""
    if not len(further.images):
        yield None
        return
    box = mixture.imaging.delivered_box_px
    with TemporaryFile(dir=folder) as file:
        shape = (len(particles.classes), box, box)
        images = np.memmap(file, np.float32, "w+", shape=shape)
        for k, state in mixture.states():
            of_map = (further.classes == k) & (further.states == state)
            if of_map.any():
                volume = mixture.kept_or_made(k, state) * scale
                whole = np.flatnonzero(of_map & ~further.halves)
                halves = np.flatnonzero(of_map & further.halves)
                add_further(volume, whole, further, particles, mixture.imaging, images)
                add_further(half_of(volume), halves, further, particles, mixture.imaging, images)
        yield images


def _with_contrast(signal: np.ndarray, others: np.ndarray | None, part: IntArray, background: Background) -> np.ndarray:
    """Images (B, d, d) of some particles and of the further ones beside them, at the contrast that each image has."""
    contrast = background.contrasts[part, None, None].astype(np.float32)
    result: np.ndarray = (signal if others is None else signal + others[part]) * contrast
    return result


def _noise(part: IntArray, background: Background, imaging: Imaging, seed: int) -> np.ndarray:
    """Noise (B, d, d) of some particles' images, of deviation 1 where it is white, and their backgrounds."""
    box, troubles = imaging.delivered_box_px, imaging.troubles
    noise = particle_noise(part, box, seed)
    noise = coloured(noise, imaging.delivered_pixel_size_A, troubles.noise_excess, troubles.noise_corner_A)
    # The full box's noise has a deviation that cropping divides by D/d, which slopes and steps are not.
    return noise + background_images(background, part, box) * np.float32(imaging.box_px / box)


def _truth_of(species: dict[str, Species], particles: Particles, folder: Path) -> truth.Truth:
    moving = any(own.n_states > 1 for own in species.values())
    dimensions = max(own.coordinates.shape[1] for own in species.values())
    conformations, state_paths = np.full((len(particles.classes), dimensions), np.nan), []
    for k, own in enumerate(species.values()):
        members = particles.classes == k
        conformations[members, : own.coordinates.shape[1]] = own.coordinates[particles.states[members]]
        of_states = range(own.n_states if own.n_states > 1 else 0)
        state_paths.append(tuple(truth.state_volume_path(folder, k, state) for state in of_states))
    junk = [truth.JUNK_NAME] if (particles.junk_kind >= 0).any() else []
    state_paths += [() for _ in junk]
    return truth.Truth(
        rotations=particles.rotations,
        shifts_A=particles.shifts_A,
        classes=particles.classes,
        conformations=conformations,
        class_names=(*species, *junk),
        volume_paths=(*(class_volume_path(folder, k) for k in range(len(species))), *(None for _ in junk)),
        states=particles.states if moving else None,
        state_paths=tuple(state_paths) if moving else (),
    )
