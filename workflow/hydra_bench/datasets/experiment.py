"""An experiment's particles as a dataset: anybody's stack in, the stack of the contract and a reference out.

There is no truth. What another program found, its labels, maps and poses, can stand in the truth's place; it is called
a reference then, in the provenance and on the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from hydra_bench import __version__
from hydra_bench.contracts import stack, truth
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic, sha256, write_json
from hydra_bench.core.mrc import ImageStackWriter, write_map
from hydra_bench.datasets.image_processing import Processing
from hydra_bench.datasets.simulated.volume_source import VolumeSource, load_volume
from hydra_bench.particles import is_listed, read_labels, read_particles, read_poses
from hydra_bench.particles.cryodrgn import read_numbers
from hydra_bench.physics.ctf import Defocus, Optics

_CHUNK = 256
UNLABELLED = "unlabelled"
NO_CTF = Optics(300.0, 0.0, 1.0)
"""With no defocus the CTF of these is 1 everywhere: images without CTF, or corrected for it."""


@dataclass(frozen=True)
class Reference:
    """What another program found of N particles.

    classes (N,), 0-based; names and maps, one a class, None for a class without; poses, rotations (N, 3, 3) and
    displacements (N, 2) in Å, if there are any.
    """

    classes: np.ndarray
    names: tuple[str, ...]
    maps: tuple[VolumeSource | None, ...]
    poses: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def says_nothing(self) -> bool:
        return self.names == (UNLABELLED,)


@dataclass(frozen=True)
class Experiment:
    """A checked definition, and its particles as they lie in their file."""

    definition: dict[str, Any]
    particles: Stack

    @classmethod
    def open(cls, definition: dict[str, Any]) -> Experiment:
        """Raises InputError if the particles are not usable, or an image is listed twice and must not be."""
        file = definition["file"]
        particles = read_particles(
            file,
            definition["datadir"],
            ctf=definition["ctf"],
            pixel_size_A=definition["pixel_size_A"],
            passthrough=definition["passthrough"],
        )
        repeated = _repeated(particles)
        if repeated.any() and definition["repeated"] == "refuse":
            i = int(np.argmax(repeated))
            path = particles.images.paths[particles.images.file_index[i]]
            raise InputError(
                f"{file}: particle {i + 1}, image {particles.images.frame_index[i] + 1} of {path}, is there twice, as "
                f"are {int(repeated.sum())} in all; remove them, or set repeated: first"
            )
        return cls(definition, particles)

    def check_box(self) -> None:
        """Raises InputError if images would have to grow."""
        box = self.definition["box_px"]
        if box is not None and box > self.particles.box_px:
            raise InputError(f"{box} is not allowed; at most the images' own {self.particles.box_px} px is expected")

    @property
    def processing(self) -> Processing:
        return Processing.from_definition(self.definition, self.particles.box_px)

    @property
    def delivered_pixel_size_A(self) -> float:
        return self.particles.pixel_size_A * self.particles.box_px / self.processing.box_px

    def chosen(self, seed: int) -> np.ndarray:
        """Numbers (n,) of the particles to take, in random order. Raises InputError if the subset is none of them."""
        subset, n = self.definition["subset"], len(self.particles)
        stream = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
        first = np.flatnonzero(~_repeated(self.particles))
        if isinstance(subset, str):
            wanted = read_numbers(Path(subset))
            if not len(wanted) or wanted.min() < 0 or wanted.max() >= n:
                raise InputError(f"{subset}: numbers within 0..{n - 1}, one at least, are expected")
            if len(np.unique(wanted)) < len(wanted):
                raise InputError(f"{subset}: a particle is there twice")
            first = np.intersect1d(first, wanted)
        elif subset is not None:
            if subset > len(first):
                raise InputError(
                    f"{subset} is not allowed; at most the {len(first)} particles of the file are expected"
                )
            first = stream.choice(first, subset, replace=False)
        return stream.permutation(first)

    def reference(self, chosen: np.ndarray | None = None) -> Reference:
        """What is known of the chosen particles (n,), all if None. Raises InputError if files are not usable."""
        particles = self.particles if chosen is None else self.particles.take(chosen)
        definition, n = self.definition["reference"], len(particles)
        if definition is None:
            return Reference(np.zeros(n, dtype=np.int64), (UNLABELLED,), (None,))
        labels = np.full(n, -1) if definition["labels"] is None else read_labels(definition["labels"], particles)
        wanted = definition["classes"]
        if wanted is None:
            wanted = {f"class {k}": {"labels": [k], "files": None, "map": None} for k in np.unique(labels[labels >= 0])}
        classes = np.full(n, len(wanted))
        for k, (name, one) in enumerate(wanted.items()):
            own = np.isin(labels, one["labels"] or [])
            for file in one["files"] or []:
                own |= is_listed(file, particles)
            if (classes[own] < len(wanted)).any():
                raise InputError(f"classes: {name} has particles that another class before it has, too")
            classes[own] = k
        names, maps = list(wanted), [None if c["map"] is None else load_volume(".", c["map"]) for c in wanted.values()]
        if (classes == len(wanted)).any():
            names, maps = [*names, UNLABELLED], [*maps, None]
        poses = read_poses(definition["labels"], particles) if definition["poses"] else None
        return Reference(classes, tuple(names), tuple(maps), poses)


def _repeated(particles: Stack) -> np.ndarray:
    """Which particles (N,) have the image of one before them."""
    images = particles.images
    files = pd.factorize(np.array([str(path.resolve()) for path in images.paths], dtype=object))[0]
    return pd.DataFrame({"file": files[images.file_index], "frame": images.frame_index}).duplicated().to_numpy()


def import_particles(definition: dict[str, Any], stack_folder: Path, truth_folder: Path) -> None:
    """Make the stack and the reference of a dataset definition with `particles`. Raises InputError."""
    experiment = Experiment.open(definition["particles"])
    experiment.check_box()
    chosen = experiment.chosen(definition["seed"])
    reference = experiment.reference(chosen)
    evaluation = evaluated(reference.classes, [m is not None for m in reference.maps], definition)
    pixel, box = experiment.delivered_pixel_size_A, experiment.processing.box_px
    write_prepared(experiment.particles.take(chosen), experiment.processing, pixel, evaluation, stack_folder)
    paths = []
    for k, source in enumerate(reference.maps):
        paths.append(None if source is None else truth.class_volume_path(truth_folder, k))
        if source is not None:
            write_map(paths[-1], source.on_grid(box, pixel).numpy(), pixel)
    rotations, shifts = reference.poses or (None, None)
    none = np.zeros((len(chosen), 0))
    content = truth.Truth(rotations, shifts, reference.classes, none, reference.names, tuple(paths), sources=chosen)
    truth.write_truth_star(truth_folder, content)
    files = [experiment.particles.path, *reference_files(experiment.definition["reference"])]
    provenance = {
        "definition": definition,
        "hydra_bench_version": __version__,
        "kind": "nothing" if reference.says_nothing else "reference",
        "files_sha256": {str(path): sha256(path) for path in files if path not in experiment.particles.images.paths},
        "particles_in_file": len(experiment.particles),
    }
    write_json(truth_folder / truth.PROVENANCE_NAME, provenance)


def reference_files(reference: dict[str, Any] | None) -> list[Path]:
    """Every file that a reference names."""
    if reference is None:
        return []
    classes = (reference["classes"] or {}).values()
    named = [reference["labels"], *(one["map"] for one in classes), *(f for one in classes for f in one["files"] or [])]
    return [Path(name) for name in dict.fromkeys(named) if name is not None]


def evaluated(classes: np.ndarray, has_map: list[bool], definition: dict[str, Any]) -> np.ndarray:
    """Numbers of the particles whose own volume is wanted: of each class with a map, as many as there are of them."""
    stream, most = np.random.default_rng([definition["seed"], 1]), definition["evaluation_particles_per_class"]
    own = [np.flatnonzero(classes == k) for k, there in enumerate(has_map) if there]
    drawn = [stream.choice(numbers, min(most, len(numbers)), replace=False) for numbers in own]
    return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *drawn]))


def write_prepared(
    particles: Stack, processing: Processing, pixel_size_A: float, evaluation: np.ndarray, folder: Path
) -> None:
    """Write particles, processed, as the stack of the contract, in their order."""
    n = len(particles)
    with (
        atomic(folder / stack.IMAGES_NAME) as temporary,
        ImageStackWriter(temporary, n, processing.box_px, pixel_size_A) as writer,
        tqdm(total=n, desc="particles", unit="image", disable=None, delay=5) as progress,
    ):
        # In the order in which they lie on disk, which is much quicker than in the random one of the stack.
        on_disk = np.lexsort((particles.images.frame_index, particles.images.file_index))
        for start in range(0, n, _CHUNK):
            part = on_disk[start : start + _CHUNK]
            writer.write(part, processing.apply(particles.read_images(part)))
            progress.update(len(part))
    defocus, optics = particles.defocus, particles.optics
    if defocus is None or optics is None:
        defocus, optics = Defocus(*np.zeros((4, n))), NO_CTF
    stack.write_stack_star(folder, defocus, optics, processing.box_px, pixel_size_A, evaluation)
