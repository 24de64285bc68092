"""Learning from a chunk of particles: Newton steps of latents, then sweeps of gradient steps."""

from dataclasses import replace

import numpy as np
import torch

from hydra_bench.core.errors import RunFailedError
from hydra_bench.core.on_device import on_device
from hydra_bench.methods.hydra.data.images import ImageBatch, random_pairs
from hydra_bench.methods.hydra.fit.batched_steps import ChunkOfImages, batched_sweep
from hydra_bench.methods.hydra.fit.conformations import infer_latents
from hydra_bench.methods.hydra.fit.gradient_steps import DIVERGED, Step, learning_step, negligible
from hydra_bench.methods.hydra.fit.run_state import Chunk, Run
from hydra_bench.methods.hydra.fit.training_input import Epoch
from hydra_bench.methods.hydra.model.model import Model
from hydra_bench.methods.hydra.model.precision import Precision
from hydra_bench.methods.hydra.settings import Settings


def learn(
    run: Run, epoch: Epoch, chunk: Chunk, batch: ImageBatch | None = None, model: Model | None = None
) -> torch.Tensor:
    """Sweeps of gradient steps over a chunk on random ones of the epoch's frequencies; the summed loss, on the device.

    Where latents are found by Newton steps, one is made first. `batch` holds this process's particles of the chunk on
    all of the epoch's frequencies, if they were loaded already. `model` is what learns, if it is not the run's.
    Raises RunFailedError where fields diverged.
    """
    s, model = run.settings, model or run.model
    n, stage = run.frequencies.count(epoch.l), s.stage(model.grown)
    drawn = random_pairs(n, stage.frequencies_per_step, chunk.generator)
    used = drawn if len(drawn) < n else slice(None, n)
    batch = run.source.load(chunk.own, used) if batch is None else batch.at(used)
    low = None if model.encoder is None else run.source.load(chunk.own, slice(None, model.encoder.n_inputs))
    # The only thing that is waited for: which classes each particle may belong to, (B, K).
    belongs = (model.tables.posteriors[chunk.members] > negligible(s, model.tables.classes)).cpu()
    if not belongs.any(1).all():
        raise RunFailedError(DIVERGED)
    if model.latents_on and s.newton and infers_latents(s, epoch):
        infer_latents(model, s, batch, chunk.members, belongs, n, run.learn_batch)
    softening = run.softening if epoch.phase == "decode" else None
    step = Step(s, n, softening, stage.minibatch, run.learn_batch, chunk.noise, run.parallel)
    row_among_own, mine = torch.from_numpy(np.cumsum(chunk.mine) - 1), torch.from_numpy(chunk.mine)
    total = torch.zeros((), dtype=torch.float64, device=run.device)
    for _ in range(epoch.sweeps):
        drawn_rows = torch.randperm(len(chunk.particles), generator=chunk.generator).split(stage.minibatch)
        minibatches = [(row_among_own[rows[mine[rows]]], len(rows)) for rows in drawn_rows]
        if works_on_all_classes(run.device) and run.learn_batch >= stage.minibatch:
            images = ChunkOfImages(batch, low, chunk.members, belongs)
            total += batched_sweep(model, run.recorder, images, minibatches, step)
            continue
        for rows, n_particles in minibatches:
            here = on_device(rows, run.device)
            seen = None if low is None else low.take(here)
            of_all = replace(step, n_particles=n_particles)
            total += learning_step(model, batch.take(here), seen, chunk.members[here], of_all)
    return total


def infers_latents(settings: Settings, epoch: Epoch) -> bool:
    """In auto-decoding every other epoch, the last one among them, since a Newton step adds much to a sweep's time."""
    return epoch.phase != "decode" or (settings.decode_epochs - epoch.number) % 2 == 1


def works_on_all_classes(device: torch.device) -> bool:
    """Whether a step takes all classes at once: a GPU's does, and a CPU's that stands for one."""
    return device.type != "cpu" or Precision.emulated
