"""CryoBench's datasets in their published layout: stack and truth of the contracts out.

An archive such as Tomotwin-100 (Zenodo record 12528292, with Ribosembly) unpacks to a folder of

    images/snr0.01/*.mrcs, sorted_particles.128.txt   the stacks, and a list of them in order
    combined_ctfs.pkl, combined_poses.pkl             cryoDRGN's tables, in the order of that list
    gt_latents.pkl                                    class or conformation of each image
    vols/128_org/<number>_<entry>.mrc                 true maps

Source: CryoBench's documentation (cryosim/README.md, metrics/fsc/README.md); for the tables, see
`particles.cryodrgn`. Poses, shifts and labels are tried on some images before anything is written, which also tells
whether particles are white or black: whatever is out of order does not fit, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hydra_bench.contracts import truth
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import sha256
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.mrc_header import read_mrc_header
from hydra_bench.core.reading import read_text
from hydra_bench.core.types import FloatArray, IntArray
from hydra_bench.datasets.cryobench.kind import archive_folder
from hydra_bench.datasets.importing import Delivery, Processing, evaluated
from hydra_bench.datasets.kind import Definition, size_text
from hydra_bench.datasets.simulated.density import VolumeSource, load_volume
from hydra_bench.datasets.simulated.entries import MAP_SUFFIXES
from hydra_bench.particles.cryodrgn import read_ctf_table, read_numbers, read_pose_table
from hydra_bench.physics.fourier import shift_factors
from hydra_bench.physics.projection import central_slices, half_plane, images_from_half_planes, slicing_transform
from hydra_bench.physics.rotations import random_rotations

_TRIED = 200
_LEAST_FIT = 4.0
"""Mean correlation of tried images with their true projections, in standard errors, above none and above that at other
poses; by chance one case in thirty thousand comes to this."""


@dataclass(frozen=True)
class Archive:
    """An archive's particles (N) with their poses, labels (N,), 0-based, and the maps of the classes by name."""

    definition: Definition
    particles: Stack
    rotations: np.ndarray
    shifts_A: np.ndarray
    labels: np.ndarray
    volumes: tuple[Path, ...]

    @classmethod
    def open(cls, definition: Definition) -> Archive:
        """Raises InputError if a file is missing or they do not belong together."""
        folder = archive_folder(definition)
        images = _open_images(_images_path(folder, definition["images"]))
        n = len(images)
        optics, defocus, pixel_A, size_px = read_ctf_table(folder / definition["ctf"])
        rotations, displaced = read_pose_table(folder / definition["poses"])
        for name, count in (("ctf", len(defocus)), ("poses", len(rotations))):
            if count != n:
                raise InputError(f"{folder / definition[name]}: {count} particles; there are {n} images")
        maps = folder / definition["volumes"]
        volumes = tuple(path for path in sorted(maps.glob("*")) if path.suffix in MAP_SUFFIXES)
        if not volumes:
            raise InputError(f"{maps}: holds no maps (.mrc); those of the classes are expected")
        # Parameters are those of the box that was simulated; the images may have been cropped since.
        particles = Stack(images.paths[0], images, pixel_A * size_px / images.box_px, optics, defocus)
        shifts_A = displaced * images.box_px * particles.pixel_size_A
        return cls(definition, particles, rotations, shifts_A, _labels(folder, definition, n, len(volumes)), volumes)

    @property
    def box_px(self) -> int:
        return self.definition["box_px"] or self.particles.box_px

    def wanted(self) -> list[int]:
        """Numbers of the classes to take. Raises InputError for a name that is none or several."""
        names = [path.stem for path in self.volumes]
        if self.definition["classes"] is None:
            return list(range(len(names)))
        found = []
        for name in self.definition["classes"]:
            same = [k for k, own in enumerate(names) if name.lower() in (own.lower(), own.partition("_")[2].lower())]
            if len(same) != 1:
                problem = "is there twice" if same else "is not there"
                raise InputError(f"classes: {name} {problem}; there are {', '.join(names)}")
            found += same
        return found

    def chosen(self, seed: int) -> np.ndarray:
        """Numbers (n,) of the particles to take, in random order, for the archive's is by class. Raises InputError."""
        if self.box_px > self.particles.box_px:
            raise InputError(f"box_px: {self.box_px}; at most the images' own {self.particles.box_px} px is expected")
        stream = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
        parts = []
        for k in self.wanted():
            own, most = np.flatnonzero(self.labels == k), self.definition["images_per_class"]
            if most is not None and most > len(own):
                raise InputError(f"images_per_class: {most}; class {self.volumes[k].stem} has {len(own)} images")
            parts.append(own if most is None else stream.choice(own, most, replace=False))
        if not sum(map(len, parts)):
            raise InputError("classes: they have no images")
        return stream.permutation(np.concatenate(parts))

    def volume(self, k: int) -> VolumeSource:
        """The map of a class. Its pixel size is the images', which archives' headers do not always say."""
        source = load_volume(".", str(self.volumes[k]))
        extent_A = self.particles.box_px * self.particles.pixel_size_A
        return VolumeSource(source.path, source.volume, extent_A / len(source.volume))

    def sign(self, chosen: np.ndarray) -> int:
        """+1 if particles are white, -1 if black, as their correlation with projections of their maps says.

        Raises
        ------
        InputError
            If they do not correlate, or no better at their own rotations and shifts than at others.
        """
        tried = np.sort(chosen[:_TRIED])
        stream = np.random.default_rng(0)
        rotations, shifts = self.rotations[tried], self.shifts_A[tried]
        own = self._correlations(tried, rotations, shifts)
        sign = 1 if own.mean() > 0 else -1
        checks = {
            "at all": own,
            "rotations": own - self._correlations(tried, random_rotations(len(own), stream), shifts),
        }
        if shifts.std() > self.particles.pixel_size_A:
            checks["shifts"] = own - self._correlations(tried, rotations, stream.permutation(shifts))
        for what, fits in checks.items():
            if sign * fits.mean() < _LEAST_FIT * fits.std() / np.sqrt(len(fits)):
                others = "" if what == "at all" else f", no better than at other {what}"
                raise InputError(
                    f"{self.definition['folder']}: images do not look like projections of their maps at their poses"
                    f"{others} (mean correlation {own.mean():.3f} of {len(own)} images); poses, labels, CTF or maps "
                    "are not theirs"
                )
        return sign

    def _correlations(self, numbers: IntArray, rotations: FloatArray, shifts_A: FloatArray) -> FloatArray:
        """Correlation (B,) of images with projections of their classes' maps at the given poses, CTF applied."""
        box, pixel, particles = self.particles.box_px, self.particles.pixel_size_A, self.particles
        plane = half_plane(box)
        views = np.empty((len(numbers), box**2), dtype=np.float32)
        for k in np.unique(self.labels[numbers]):
            own = self.labels[numbers] == k
            transform = slicing_transform(self.volume(int(k)).on_grid(box, pixel))
            slices = central_slices(transform, torch.from_numpy(rotations[own]), plane)
            slices *= shift_factors(torch.from_numpy(shifts_A[own] / pixel), plane, box)
            slices *= particles.transfer(numbers[own], plane / (box * pixel))
            views[own] = images_from_half_planes(slices, box).flatten(1).numpy()
        images = particles.read_images(numbers).reshape(len(numbers), -1)
        views, images = (x - x.mean(1, keepdims=True) for x in (views, images))
        correlations: FloatArray = (views * images).sum(1) / np.sqrt((views**2).sum(1) * (images**2).sum(1))
        return correlations


def import_archive(definition: Definition, stack_folder: Path, truth_folder: Path) -> None:
    """Make the stack and the truth of a dataset definition with `cryobench`. Raises InputError."""
    archive = Archive.open(definition["cryobench"])
    chosen = archive.chosen(definition["seed"])
    wanted = archive.wanted()
    sign = archive.sign(chosen)
    number = np.full(len(archive.volumes), -1)
    number[wanted] = np.arange(len(wanted))
    classes = number[archive.labels[chosen]]
    delivery = Delivery(
        particles=archive.particles.take(chosen),
        processing=Processing(archive.box_px, sign),
        sources=chosen,
        classes=classes,
        class_names=tuple(archive.volumes[k].stem for k in wanted),
        maps=map(archive.volume, wanted),
        evaluation=evaluated(classes, [True] * len(wanted), definition),
        poses=(archive.rotations[chosen], archive.shifts_A[chosen]),
    )
    delivery.write(stack_folder, truth_folder)
    folder, names = Path(archive.definition["folder"]), [archive.definition[key] for key in ("ctf", "poses", "labels")]
    facts = {
        "kind": "truth",
        "particles_in_archive": len(archive.particles),
        "particles_were": "white" if sign > 0 else "black",
        "files_sha256": {name: sha256(folder / name) for name in names if name is not None},
    }
    truth.write_provenance(truth_folder, definition, facts)


def _images_path(folder: Path, name: str | None) -> Path:
    if name is not None:
        return folder / name
    lists = sorted(folder.glob("images/**/*.txt")) or sorted(folder.glob("**/*.mrcs"))
    if len(lists) != 1:
        found = ", ".join(str(path.relative_to(folder)) for path in lists) or "none"
        raise InputError(f"{folder}: images: one list or stack is expected, there are {found}; name one")
    return lists[0]


def _open_images(path: Path) -> ImageFiles:
    """All images of a stack, or of the stacks that a list names from its own folder, in order."""
    paths = [path]
    if path.suffix == ".txt":
        names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        paths = [path.parent / name for name in names]
    counts = [read_mrc_header(file, str(path)).n_images for file in paths]
    file_index = np.repeat(np.arange(len(paths)), counts)
    frames = np.concatenate([np.arange(count) for count in counts]) if counts else np.zeros(0, dtype=np.int64)
    return ImageFiles.open(paths, file_index, frames, str(path))


def _labels(folder: Path, definition: Definition, n: int, n_classes: int) -> np.ndarray:
    if definition["labels"] is None:
        if n % n_classes:
            raise InputError(f"labels: null is not allowed; {n} images are no equal shares of {n_classes} maps")
        return np.repeat(np.arange(n_classes), n // n_classes)
    path = folder / definition["labels"]
    labels = read_numbers(path)
    if len(labels) != n:
        raise InputError(f"{path}: {len(labels)} labels; there are {n} images")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise InputError(f"{path}: labels {labels.min()}..{labels.max()}; 0..{n_classes - 1}, one a map, are expected")
    return labels


def describe_archive(dataset: Definition) -> Iterator[str]:
    """Lines about a checked dataset. Raises InputError if its files are not usable."""
    archive = Archive.open(dataset["cryobench"])
    chosen = archive.chosen(dataset["seed"])
    particles = archive.particles
    for k in archive.wanted():
        yield f"{archive.volumes[k].stem}: {int((archive.labels[chosen] == k).sum()):,} images"
    pixel = particles.pixel_size_A * particles.box_px / archive.box_px
    yield f"images: {len(chosen):,} of {len(particles):,}, delivered as {archive.box_px} px of {pixel:g} Å"
    yield f"particles are {'white' if archive.sign(chosen) > 0 else 'black'} in the archive, and fit their maps"
    yield f"disk: {size_text(4 * archive.box_px**2 * len(chosen))}"
