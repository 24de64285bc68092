"""The bound that is given every pose and must find the classes: K maps by expectation-maximisation.

The model is that of maximum-likelihood classification (Sigworth, J. Struct. Biol. 122 (1998) 328; Scheres, J. Mol.
Biol. 415 (2012) 406) with the poses left out: image = CTF · slice of map k + Gaussian noise whose power depends on the
shell. Maps have a Gaussian prior whose power is that of the map of all images. Resolution rises in stages, since
a map that knows few images explains just those, the more so the finer it is; of several random starts the likelier
half goes on to the next stage. Nothing of the truth but its poses is looked at.

Images at known poses are rows of one sparse matrix. Row (i, p) holds the trilinear weights with which sample p of image
i is cut from a Fourier grid; the transpose puts samples into the grid. Only half of each image's samples (kx >= 0) are
kept, since images are real. The grid (G, G, G), z, y, x, has its origin at G//2 and G odd, so that turning all three
axes round is k -> -k.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix

from hydra_bench.contracts.poses import most_probable_class
from hydra_bench.contracts.reconstruction import Assignments, GivenPoses, write_assignments, write_class_map
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.types import ComplexArray, FloatArray, IntArray
from hydra_bench.methods.bounds.backprojection import back_project
from hydra_bench.methods.programs.task import Task
from hydra_bench.methods.recording import Outcome
from hydra_bench.physics.fourier import fft_centred, frequency_plane, frequency_radius, shift_factors
from hydra_bench.physics.projection import PADDING

_READ_TOGETHER, _JUDGED_TOGETHER = 256, 2000
"""Images of one batch."""


@dataclass(frozen=True)
class Schedule:
    """radii: cycles per box of each stage; iterations of each; random starts; images that maps are learned from."""

    radii: tuple[int, ...] = (4, 6, 9, 14)
    iterations: int = 10
    starts: int = 8
    most_images: int = 6000


@dataclass
class Model:
    """K maps on the grid of a stage and what is known of images beside them.

    posteriors (n, K); noise (L,), power of each shell; shares (K,), of each class; maps (K, G³).
    """

    posteriors: FloatArray
    noise: FloatArray
    shares: FloatArray
    maps: ComplexArray
    log_likelihood: float = -np.inf


@dataclass(frozen=True)
class Slices:
    """n images, P samples each, up to l cycles per box.

    matrix (n·P, G³) and its transpose; images (n, P) complex, centred; ctf (n, P); shells (P,), each sample's |k|
    rounded; grid_shells (G³,), in the same unit.
    """

    matrix: csr_matrix
    transposed: csr_matrix
    images: ComplexArray
    ctf: FloatArray
    shells: IntArray
    grid_shells: IntArray

    def __len__(self) -> int:
        return len(self.images)

    def cut(self, maps: ComplexArray) -> ComplexArray:
        """Slices (K, n, P) of maps (K, G³) complex, at the images' poses."""
        columns = np.concatenate([maps.real, maps.imag]).astype(np.float32).T
        real, imaginary = np.split((self.matrix @ np.ascontiguousarray(columns)).T, 2)
        return (real + 1j * imaginary).reshape(len(maps), *self.images.shape)

    def put(self, samples: FloatArray | ComplexArray) -> FloatArray | ComplexArray:
        """Grids (K, G³) of real or complex samples (K, n, P), each sample also at -k as its conjugate."""
        parts = [samples.real, samples.imag] if np.iscomplexobj(samples) else [samples]
        columns = np.concatenate(parts).reshape(len(parts) * len(samples), -1).astype(np.float32).T
        summed: FloatArray = (self.transposed @ np.ascontiguousarray(columns)).T
        if not np.iscomplexobj(samples):
            return summed + summed[:, ::-1]
        real, imaginary = np.split(summed, 2)
        return real + real[:, ::-1] + 1j * (imaginary - imaginary[:, ::-1])


def run(task: Task, folder: Path) -> Outcome:
    """The adapter: posteriors at the given poses, and the back-projection of each class's particles."""
    given, n_classes = task.poses, task.parameters["classes"]
    assert given is not None, "the card says that poses are needed"
    schedule = Schedule(
        tuple(task.parameters["radii"]), *(task.parameters[key] for key in ("iterations", "starts", "most_images"))
    )
    posteriors, seen = classify(task.stack, given, n_classes, task.seed, schedule)
    classes = most_probable_class(posteriors)
    none = np.zeros((len(classes), 0))
    write_assignments(folder, Assignments(classes, posteriors, given.rotations, given.shifts_A, none))
    for k in range(n_classes):
        members = np.flatnonzero(classes == k)
        volume: FloatArray = np.zeros((task.stack.box_px,) * 3)
        if len(members) > 1:  # the two halves, of which the noise is told
            volume = back_project(task.stack, members, given.rotations, given.shifts_A)
        write_class_map(folder, k, volume, task.stack.pixel_size_A, np.intersect1d(members, task.evaluation))
    return Outcome(seen)


def classify(stack: Stack, poses: GivenPoses, n_classes: int, seed: int, schedule: Schedule) -> tuple[FloatArray, int]:
    """Posteriors (N, K) of a stack's particles at given poses, and how many images were looked at on the way."""
    rotations, shifts_A = poses.rotations, poses.shifts_A
    generator = np.random.default_rng(seed)
    members = np.sort(generator.permutation(len(stack))[: schedule.most_images])
    radii = [min(radius, stack.box_px // 2 - 1) for radius in schedule.radii]
    starts: list[FloatArray] = [
        np.eye(n_classes)[generator.integers(n_classes, size=len(members))] for _ in range(schedule.starts)
    ]
    seen = 0
    for radius in radii:
        slices = read_slices(stack, members, rotations, shifts_A, radius)
        prior, noise = _all_in_one(slices)
        models = [_learned(slices, posteriors, prior, noise, schedule.iterations) for posteriors in starts]
        seen += len(members) * schedule.iterations * len(models)
        models.sort(key=lambda model: -model.log_likelihood)
        best = models[0]
        print(f"l={radius}: {len(models)} starts, classes {np.round(best.shares, 3).tolist()}", flush=True)
        starts = [model.posteriors for model in models[: max(len(models) // 2, 1)]]
    posteriors = np.empty((len(stack), n_classes))
    posteriors[members] = best.posteriors
    others = np.setdiff1d(np.arange(len(stack)), members)
    for start in range(0, len(others), _JUDGED_TOGETHER):
        part = others[start : start + _JUDGED_TOGETHER]
        slices = read_slices(stack, part, rotations, shifts_A, radii[-1])
        posteriors[part] = _expected(slices, best)[0]
    return posteriors, seen + len(others)


def _all_in_one(slices: Slices) -> tuple[FloatArray, FloatArray]:
    """Power (L,) in each shell of the one map of all images, and of what it does not explain of them."""
    ones = np.ones((len(slices), 1))
    power = np.bincount(slices.shells, (np.abs(slices.images) ** 2).mean(0)) / _counts(slices.shells)
    maps = _maximised(slices, ones, power, np.full(len(power), np.inf))
    prior = np.bincount(slices.grid_shells, np.abs(maps[0]) ** 2) / _counts(slices.grid_shells)
    return prior[: len(power)], _residual(slices, ones, slices.cut(maps) * slices.ctf)


def _learned(slices: Slices, posteriors: FloatArray, prior: FloatArray, noise: FloatArray, iterations: int) -> Model:
    model = Model(posteriors, noise, posteriors.mean(0), np.zeros(0, dtype=complex))
    for _ in range(iterations):
        model.maps = _maximised(slices, model.posteriors, model.noise, prior)
        model.posteriors, model.log_likelihood, predicted = _expected(slices, model)
        model.noise = _residual(slices, model.posteriors, predicted)
        model.shares = np.maximum(model.posteriors.mean(0), 1 / len(slices))
    return model


def _maximised(slices: Slices, posteriors: FloatArray, noise: FloatArray, prior: FloatArray) -> ComplexArray:
    """Maps (K, G³) of images (n, P) that belong to them with posteriors (n, K)."""
    weights = posteriors.T[:, :, None] / noise[slices.shells]
    data = slices.put(weights * (slices.ctf * slices.images))
    counts = slices.put(weights * slices.ctf**2)
    # Beyond the last shell the grid's corners hold nothing.
    inverse = 1 / np.maximum(np.append(prior, 0), 1e-30)[np.minimum(slices.grid_shells, len(prior))]
    maps: ComplexArray = data / (counts + inverse + 1e-30)
    return maps


def _expected(slices: Slices, model: Model) -> tuple[FloatArray, float, ComplexArray]:
    """Posteriors (n, K), the log-likelihood of all images, and the images (K, n, P) that the maps predict."""
    predicted = slices.cut(model.maps) * slices.ctf
    noise = model.noise[slices.shells]
    errors = (np.abs(slices.images - predicted) ** 2 / noise).sum(2).T
    scores = np.log(model.shares) - errors
    largest = scores.max(1, keepdims=True)
    exponentials = np.exp(scores - largest)
    sums = exponentials.sum(1, keepdims=True)
    log_likelihood = float((largest + np.log(sums)).sum() - len(slices) * np.log(noise).sum())
    return exponentials / sums, log_likelihood, predicted


def _residual(slices: Slices, posteriors: FloatArray, predicted: ComplexArray) -> FloatArray:
    """Power (L,) of what predictions (K, n, P) leave of the images, in each shell."""
    left = (posteriors.T[:, :, None] * np.abs(slices.images - predicted) ** 2).sum(0).mean(0)
    return np.bincount(slices.shells, left) / _counts(slices.shells)


def _counts(shells: IntArray) -> FloatArray:
    return np.maximum(np.bincount(shells), 1)


def read_slices(stack: Stack, members: IntArray, rotations: FloatArray, shifts_A: FloatArray, l_max: int) -> Slices:
    """The given particles (n,) of a stack; rotations (N, 3, 3) and shifts (N, 2) are of the whole stack."""
    box = stack.box_px
    plane = frequency_plane(box)
    radius = plane.norm(dim=1)
    half = (plane[:, 0] > 0) | ((plane[:, 0] == 0) & (plane[:, 1] > 0))
    plane = plane[half & (radius <= l_max)]
    images, ctfs = [], []
    for start in range(0, len(members), _READ_TOGETHER):
        part = members[start : start + _READ_TOGETHER]
        transforms = fft_centred(torch.from_numpy(stack.read_images(part)), 2).flatten(1)
        centring = shift_factors(torch.from_numpy(-shifts_A[part] / stack.pixel_size_A), plane, box)
        images.append((transforms[:, half & (radius <= l_max)] * centring).numpy())
        ctfs.append(stack.transfer(part, plane / (box * stack.pixel_size_A)).numpy())
    size = 2 * (PADDING * l_max + 1) + 1
    matrix = _trilinear_weights(PADDING * plane.numpy() @ rotations[members].astype(np.float32), size)
    return Slices(
        matrix=matrix,
        transposed=matrix.T.tocsr(),
        images=np.concatenate(images),
        ctf=np.concatenate(ctfs),
        shells=plane.norm(dim=1).round().long().numpy(),
        grid_shells=(frequency_radius(size, 3).flatten() / PADDING).round().long().numpy(),
    )


def _trilinear_weights(points: FloatArray, size: int) -> csr_matrix:
    """Trilinear weights (n·P, size³) of points (n, P, 3), (x, y, z) in voxels from the origin."""
    position = points.reshape(-1, 3) + size // 2
    corner = np.floor(position).astype(np.int32)
    fraction = (position - corner).astype(np.float32)
    columns = np.empty((len(position), 8), dtype=np.int32)
    weights = np.empty((len(position), 8), dtype=np.float32)
    for j, offset in enumerate(np.ndindex(2, 2, 2)):
        x, y, z = (corner + np.array(offset, dtype=np.int32)).T
        columns[:, j] = (z * size + y) * size + x
        weights[:, j] = np.where(offset, fraction, 1 - fraction).prod(1)
    starts = np.arange(0, 8 * len(position) + 1, 8)
    return csr_matrix((weights.ravel(), columns.ravel(), starts), shape=(len(position), size**3))
