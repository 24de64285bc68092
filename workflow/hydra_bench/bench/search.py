"""What an image's pose search costs, beside the products of matrices that it rests on, and a gradient step."""

import statistics
from collections.abc import Callable, Iterator

import numpy as np
import torch

from hydra_bench.bench.data import Bench, Dataset
from hydra_bench.bench.definitions import Case
from hydra_bench.bench.summary import Measurement
from hydra_bench.bench.training import Clock
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.threads import set_threads
from hydra_bench.core.types import IntArray
from hydra_bench.methods.hydra.fit.chunks import find_poses_and_classes
from hydra_bench.methods.hydra.fit.learning import learn
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.run_state import Chunk, Run
from hydra_bench.methods.hydra.fit.train import begin_epoch, epoch_chunks, start
from hydra_bench.methods.hydra.fit.training_input import Epoch, TrainingInput
from hydra_bench.physics.rotations import hopf_grid

CPU = torch.device("cpu")
_PRODUCT_IMAGES = 40
"""Images whose overlaps with the base grid are one product of matrices: 19 MB at order 2."""


def pose_search(bench: Bench, case: Case) -> Iterator[Measurement]:
    """Time per image of reading, transforming, rendering the fields, CTF, search of all classes and posteriors.

    On one thread of a CPU, and on a GPU if that is measured; the products of the base grid alone are timed in the same
    run. Fields are as they begin, since the search costs the same whatever they hold.
    """
    dataset = bench.dataset(case.dataset)
    set_threads(1, bench.device.type)
    try:
        yield from searched(bench, case, dataset, bench.device, "")
        if bench.device.type != "cpu":
            yield from searched(bench, case, dataset, CPU, "CPU of this machine: ")
    finally:
        set_threads(bench.threads, bench.device.type)


def searched(bench: Bench, case: Case, dataset: Dataset, device: torch.device, prefix: str) -> Iterator[Measurement]:
    """The same on one device."""
    run = start(TrainingInput(dataset.stack, case.settings()), device, Parallel())
    epoch = begun(run, "search")
    chunks = epoch_chunks(run, epoch)
    search_only(run, epoch, chunks[0], 0)  # the first call allocates and sets up what later ones find
    for repeat in range(bench.repeats):
        took, images = searched_images(run, epoch, chunks, case.images)
        alone = coarse_products(run, epoch)
        where = {"repeat": repeat, "images": images, "classes": run.model.tables.classes, "l": epoch.l}
        yield Measurement(f"{prefix}CPU per image", "ms", 1000 * took.cpu_s / images, where)
        yield Measurement(f"{prefix}wall per image", "ms", 1000 * took.wall_s / images, where)
        yield Measurement(f"{prefix}wall per image, coarse products alone", "ms", 1000 * alone, where)


def begun(run: Run, phase: str) -> Epoch:
    """The first epoch of a phase, begun."""
    run.progress.epoch = next(i for i, epoch in enumerate(run.schedule) if epoch.phase == phase)
    run.progress.chunk = 0
    epoch = run.schedule[run.progress.epoch]
    begin_epoch(run, epoch)
    return epoch


def searched_images(run: Run, epoch: Epoch, chunks: list[IntArray], wanted: int) -> tuple[Clock, int]:
    """Search whole chunks until enough images were searched; what that took, and how many they were."""
    images, began = 0, Clock.now(run.device)
    for number, particles in enumerate(chunks):
        search_only(run, epoch, particles, number)
        images += len(particles)
        if images >= wanted:
            break
    return Clock.now(run.device) - began, images


def search_only(run: Run, epoch: Epoch, particles: IntArray, number: int) -> None:
    """All of a chunk's search but its gradient steps, in every class."""
    run.progress.chunk = number
    find_poses_and_classes(run, epoch, Chunk.of(run, particles), explored=np.ones(len(particles), dtype=bool))


def coarse_products(run: Run, epoch: Epoch) -> float:
    """Seconds an image of all shifts times all base rotations on all coarse frequencies, in every class, as it stands.

    A product of random matrices of these sizes and nothing else: T x n by n x Q for each image and class.
    """
    s = run.settings
    n, shifts = run.frequencies.count(min(epoch.l, s.l_coarse)), s.shift_points**2
    images = torch.randn(_PRODUCT_IMAGES * shifts, n, device=run.device)
    slices = torch.randn(len(hopf_grid(s.base_order)), n, device=run.device)
    return run.model.tables.classes * median_s(lambda: images @ slices.T, run.device) / _PRODUCT_IMAGES


def median_s(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """The median time of some work, after a first time that is not counted."""
    work()
    walls = []
    for _ in range(repeats):
        began = Clock.now(device)
        work()
        walls.append((Clock.now(device) - began).wall_s)
    return statistics.median(walls)


def gradient_step_s(case: Case, stack: Stack, device: torch.device) -> float:
    """Seconds of one gradient step of auto-decoding, on the particles of one chunk."""
    run = start(TrainingInput(stack, case.settings()), device, Parallel())
    epoch = begun(run, "decode")
    chunk = Chunk.of(run, epoch_chunks(run, epoch)[0])
    steps = -(-len(chunk.particles) // run.settings.stage(run.model.grown).minibatch)
    return median_s(lambda: learn(run, epoch, chunk), device, 3) / steps
