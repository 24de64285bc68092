"""The pose search by itself, as training does it, without the gradient steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hydra_bench.bench.context import Bench
from hydra_bench.bench.definitions import Case
from hydra_bench.bench.summary import Measurement
from hydra_bench.bench.training import Clock
from hydra_bench.core.threads import set_threads
from hydra_bench.core.types import IntArray
from hydra_bench.methods.hydra.fit.chunks import find_poses_and_classes
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.run_state import Chunk, Run
from hydra_bench.methods.hydra.fit.schedule import Epoch
from hydra_bench.methods.hydra.fit.train import epoch_chunks, set_epoch, start
from hydra_bench.methods.hydra.fit.training_input import TrainingInput


def pose_search(bench: Bench, case: Case) -> Iterator[Measurement]:
    """Time per image of reading, transforming, rendering the fields, CTF, search of all classes and posteriors.

    On one thread. Fields are as they begin, since the search costs the same whatever they hold.
    """
    dataset, settings = bench.dataset(case.dataset), case.settings()
    set_threads(1, bench.device.type)
    try:
        run = start(TrainingInput(dataset.stack, settings), bench.device, Parallel())
        run.progress.epoch = next(i for i, epoch in enumerate(run.schedule) if epoch.phase == "search")
        epoch = run.schedule[run.progress.epoch]
        set_epoch(run, epoch)
        chunks = epoch_chunks(run, epoch)
        search_only(run, epoch, chunks[0], 0)  # the first call allocates and sets up what later ones find
        for repeat in range(bench.repeats):
            took, images = _search_images(bench, run, epoch, chunks, case.images)
            where = {"repeat": repeat, "images": images, "classes": run.model.tables.classes, "l": epoch.l}
            yield Measurement("CPU per image", "ms", 1000 * took.cpu_s / images, where)
            yield Measurement("wall per image", "ms", 1000 * took.wall_s / images, where)
    finally:
        set_threads(bench.threads, bench.device.type)


def _search_images(bench: Bench, run: Run, epoch: Epoch, chunks: list[IntArray], wanted: int) -> tuple[Clock, int]:
    """Search whole chunks until enough images were searched; what that took, and how many they were."""
    images, began = 0, Clock.now(bench.device)
    for number, particles in enumerate(chunks):
        search_only(run, epoch, particles, number)
        images += len(particles)
        if images >= wanted:
            break
    return Clock.now(bench.device) - began, images


def search_only(run: Run, epoch: Epoch, particles: IntArray, number: int) -> None:
    """All of a chunk's search but its gradient steps, in every class."""
    run.progress.chunk = number
    find_poses_and_classes(run, epoch, Chunk.of(run, particles), explored=np.ones(len(particles), dtype=bool))
