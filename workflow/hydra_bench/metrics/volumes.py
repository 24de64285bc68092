"""The maps that are compared: a method's, a particle's and the truth's, each aligned once and reused."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import Assignments, sample_path
from hydra_bench.contracts.stack import Stack
from hydra_bench.contracts.truth import Truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.mrc import read_map
from hydra_bench.maps.alignment import Alignment, align_map, apply, as_it_lies
from hydra_bench.maps.fsc import Agreement, compare
from hydra_bench.maps.masks import soft_mask, spherical_mask
from hydra_bench.metrics.clustering import Labels


@dataclass(frozen=True)
class JudgedRun:
    """A reconstruction beside what it is judged by.

    folder: the reconstruction's; own: the method's own labels, each of which has its own frame and latent space;
    evaluated: numbers of the particles for which the method wrote a map of their own; in_true_frame: of a bound whose
    maps lie where the true ones do, so that none is aligned.
    """

    folder: Path
    stack: Stack
    truth: Truth
    assignments: Assignments
    own: Labels
    evaluated: np.ndarray
    in_true_frame: bool = False


@dataclass(frozen=True)
class Agreements:
    """A map's agreement with its truth in the mask that is stated, without one, and in a soft mask of the truth."""

    stated: Agreement
    unmasked: Agreement
    masked: Agreement


class AlignedMaps:
    """Maps of one reconstruction, aligned to the truth per (own label, class), both 0-based.

    mask: the stated one: "none", "truth", or the radius of a soft sphere in Å.
    """

    def __init__(self, run: JudgedRun, mask: str | float) -> None:
        self._run, self._mask = run, mask
        self.alignments: dict[tuple[int, int], Alignment] = {}
        self._agreements: dict[tuple[int, int, Path, bytes], Agreements] = {}
        self._averages: dict[int, np.ndarray] = {}
        self._of_average: dict[Path, float] = {}

    def _read(self, path: Path) -> np.ndarray:
        volume = read_map(path)[0]
        if len(volume) != self._run.stack.box_px:
            raise InputError(f"{path}: box {len(volume)}; the stack has {self._run.stack.box_px}")
        if not np.isfinite(volume).all():
            raise InputError(f"{path}: holds values that are not finite numbers")
        return volume

    def label_map(self, label: int) -> np.ndarray:
        """The method's map for a label; for a k-means label that of the evaluated particle nearest its centre."""
        run = self._run
        if run.own.centres is None:
            return self._read(class_volume_path(run.folder, label))
        if not len(run.evaluated):
            raise InputError(f"{run.folder}: no evaluated particle, hence no map for a k-means label")
        distance = np.linalg.norm(run.assignments.latents[run.evaluated] - run.own.centres[label], axis=1)
        return self._read(sample_path(run.folder, int(run.evaluated[distance.argmin()])))

    def alignment(self, label: int, true_class: int) -> Alignment:
        pair = (label, true_class)
        if pair not in self.alignments:
            maps = self.label_map(label), self._run.truth.class_volume(true_class)
            self.alignments[pair] = as_it_lies(*maps) if self._run.in_true_frame else align_map(*maps)
        return self.alignments[pair]

    def aligned_label_map(self, label: int, true_class: int) -> np.ndarray:
        return apply(self.label_map(label), self.alignment(label, true_class))

    def particle_agreement(self, particle: int) -> Agreements:
        """FSC of the method's own map for a particle with the particle's true map."""
        label, true_class = int(self._run.own.labels[particle]), int(self._run.truth.classes[particle])
        path, true_path = sample_path(self._run.folder, particle), self._run.truth.particle_volume_path(particle)
        if not path.is_file():
            raise InputError(f"{path}: no such file; the evaluation list names this particle")
        # Methods without conformations write one map for all particles of a class.
        key = (label, true_class, true_path, hashlib.sha256(path.read_bytes()).digest())
        if key not in self._agreements:
            aligned = apply(self._read(path), self.alignment(label, true_class))
            self._agreements[key] = self._compared(aligned, read_map(true_path)[0])
        return self._agreements[key]

    def gain(self, particle: int) -> float | None:
        """The stated FSC-AUC of a particle of a species that moves, less that of the species' best single map."""
        truth, k = self._run.truth, int(self._run.truth.classes[particle])
        if not truth.moves(k):
            return None
        true_path = truth.particle_volume_path(particle)
        if k not in self._averages:
            self._averages[k] = truth.average_volume(k)
        if true_path not in self._of_average:
            found = self._compared(self._averages[k], read_map(true_path)[0])
            self._of_average[true_path] = found.stated.auc
        return self.particle_agreement(particle).stated.auc - self._of_average[true_path]

    def _compared(self, aligned: np.ndarray, true_map: np.ndarray) -> Agreements:
        pixel_size_A = self._run.stack.pixel_size_A
        unmasked = compare(aligned, true_map)
        masked = compare(aligned, true_map, soft_mask(true_map, pixel_size_A))
        if isinstance(self._mask, str):
            return Agreements(masked if self._mask == "truth" else unmasked, unmasked, masked)
        sphere = spherical_mask(self._run.stack.box_px, 2 * self._mask / pixel_size_A)
        return Agreements(compare(aligned, true_map, sphere), unmasked, masked)
