"""Bounds made of true maps alone, of which no image is looked at: the best single map, and what chance gives.

average        each species' states, averaged without noise by how many particles are in each: no single map could do
               better on a species that moves. What is not above it has denoised, and says nothing of the motion.
other_species  of the other species' true maps the one that agrees best with this one after alignment: what a wrong map
               gets, which has a particle's size and fall-off. Of one species, a fixed embedded entry stands in.
noise          Gaussian noise with the power spectrum of the true map.
"""

from functools import cache
from pathlib import Path

import numpy as np

from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import (
    FRAME,
    GIVEN,
    LABELS,
    POSES,
    TRUTH_FRAME,
    Assignments,
    sample_path,
    write_assignments,
)
from hydra_bench.contracts.truth import Truth
from hydra_bench.core.errors import NotApplicableError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.mrc import write_map
from hydra_bench.core.types import FloatArray
from hydra_bench.datasets.simulated.density import density_map
from hydra_bench.datasets.simulated.structures import load_atoms
from hydra_bench.maps.alignment import align_map, apply
from hydra_bench.maps.fsc import compare
from hydra_bench.methods.bounds.task import BoundTask
from hydra_bench.methods.cards import METHODS_FOLDER
from hydra_bench.methods.recording import Outcome
from hydra_bench.physics.rotations import random_rotations

MOST_OTHERS = 5
"""Other species that are tried, those of the most alike power spectrum first: aligning all pairs of a hundred species
would take hours."""
_EMBEDDED, _STAND_IN, _ITS_STAND_IN = METHODS_FOLDER.parents[1] / "resources" / "structures", "3jb9", "6zu5"
_STAND_IN_B_A2 = 100.0
_SAME_MAP = 0.9
"""FSC-AUC from which the stand-in is taken to be the species itself."""


def run_true_maps(task: BoundTask, folder: Path) -> Outcome:
    """Fill the folder of a reconstruction with maps that the parameters name; poses and classes are the true ones.

    Raises NotApplicableError where there are no true maps, or nothing moves.
    """
    task.check_maps()
    truth, stack, wanted = task.truth, task.stack, task.parameters["maps"]
    if wanted == "average" and not any(truth.moves(k) for k in range(truth.n_classes)):
        raise NotApplicableError("no species moves, so each has one map")
    rotations: FloatArray = random_rotations(len(truth), np.random.default_rng(task.seed))
    shifts_A: FloatArray = np.zeros((len(truth), 2))
    given = [LABELS]
    if wanted == "average" and truth.rotations is not None and truth.shifts_A is not None:
        rotations, shifts_A, given = truth.rotations, truth.shifts_A, [LABELS, POSES]
    write_assignments(folder, Assignments.of_classes(truth.classes, truth.n_classes, rotations, shifts_A))
    sources = {}
    for k in range(truth.n_classes):
        # A class without a map, as junk is, is compared with nothing.
        volume: FloatArray = np.zeros((stack.box_px,) * 3, dtype=np.float32)
        if truth.has_map(k) and (truth.classes == k).any():
            if wanted == "average":
                volume = truth.average_volume(k)
            elif wanted == "noise":
                true_map = truth.class_volume(k)
                volume = aligned(noise_like(true_map, np.random.default_rng([task.seed, k])), true_map)
            else:
                volume, source = nearest_other(truth, k, stack.pixel_size_A)
                sources[truth.class_names[k]] = source
        for path in (class_volume_path(folder, k), *(sample_path(folder, int(i)) for i in task.evaluated_of(k))):
            write_map(path, volume, stack.pixel_size_A)
    notes: JsonObject = {FRAME: TRUTH_FRAME, GIVEN: given}
    if wanted != "average":
        notes["reference"] = "chance"
    if sources:
        notes["map_of"] = sources
    return Outcome(images_seen=0, notes=notes)


def noise_like(volume: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Gaussian noise (D, D, D) whose power in each shell is that of a map (D, D, D)."""
    shells = _shells(len(volume))
    noise = np.fft.fftn(generator.standard_normal(volume.shape))
    wanted = _shell_power(np.fft.fftn(volume), shells)
    scale = np.sqrt(wanted / np.maximum(_shell_power(noise, shells), 1e-300))
    same: FloatArray = np.fft.ifftn(noise * scale[shells]).real.astype(np.float32)
    return same


def nearest_other(truth: Truth, k: int, pixel_size_A: float) -> tuple[FloatArray, str]:
    """The map of another species that agrees best with class k's, turned onto it, and whose it is."""
    reference = truth.class_volume(k)
    others = [j for j in range(truth.n_classes) if j != k and truth.has_map(j)]
    if not others:
        return _stand_in(reference, pixel_size_A)
    others.sort(key=lambda j: _spectral_distance(reference, truth.class_volume(j)))
    best, best_auc, name = reference, -np.inf, ""
    for j in others[:MOST_OTHERS]:
        moved = aligned(truth.class_volume(j), reference)
        if (auc := compare(moved, reference).auc) > best_auc:
            best, best_auc, name = moved, auc, truth.class_names[j]
    return best, name


def aligned(volume: FloatArray, reference: FloatArray) -> FloatArray:
    """A map on a reference, in the better of both hands."""
    return apply(volume, align_map(volume, reference)).astype(np.float32)


def _stand_in(reference: FloatArray, pixel_size_A: float) -> tuple[FloatArray, str]:
    """An embedded entry, and the second one where the species is the first."""
    for entry in (_STAND_IN, _ITS_STAND_IN):
        moved = aligned(_entry_map(entry, len(reference), pixel_size_A), reference)
        if compare(moved, reference).auc < _SAME_MAP:
            break
    return moved, f"entry {entry}"


@cache
def _entry_map(entry: str, box_px: int, pixel_size_A: float) -> FloatArray:
    volume: FloatArray = density_map(load_atoms(_EMBEDDED, entry), box_px, pixel_size_A, _STAND_IN_B_A2).numpy()
    return volume


def _spectral_distance(a: FloatArray, b: FloatArray) -> float:
    """How unlike two maps' power spectra are, whatever their scale: of logarithms, whose means are taken off."""
    shells = _shells(len(a))
    powers = [_shell_power(np.fft.fftn(volume), shells)[1 : len(a) // 2] for volume in (a, b)]
    logs = [np.log(power + 1e-30) for power in powers]
    difference = (logs[0] - logs[0].mean()) - (logs[1] - logs[1].mean())
    return float(np.square(difference).mean())


def _shells(box_px: int) -> np.ndarray:
    """The shell of each coefficient of fftn, (D, D, D)."""
    k = np.fft.fftfreq(box_px, 1 / box_px)
    squared = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2
    shells: np.ndarray = np.sqrt(squared).round().astype(np.int64)
    return shells


def _shell_power(transform: np.ndarray, shells: np.ndarray) -> np.ndarray:
    """Mean |F|² of each shell."""
    counts = np.maximum(np.bincount(shells.ravel()), 1)
    power: np.ndarray = np.bincount(shells.ravel(), (np.abs(transform) ** 2).ravel()) / counts
    return power
