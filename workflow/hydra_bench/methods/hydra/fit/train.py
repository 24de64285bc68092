"""Hydra from a stack to a trained mixture: pre-training, search, auto-decoding.

Read `train` from top to bottom; the other modules are its words.
"""

import math
import time
from collections.abc import Callable

import numpy as np
import torch

from hydra_bench.core.errors import RunFailedError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.types import IntArray
from hydra_bench.methods.hydra.data.images import Frequencies, ImageSource, largest_l
from hydra_bench.methods.hydra.fit.checkpoint import Checkpointer, Stopped
from hydra_bench.methods.hydra.fit.chunks import (
    begin_chunk,
    maps_chunk,
    maps_of,
    pretrain_chunk,
    search_chunk,
    start_decoding,
)
from hydra_bench.methods.hydra.fit.conformations import scale_latents
from hydra_bench.methods.hydra.fit.first_maps import centred, teach
from hydra_bench.methods.hydra.fit.gradient_steps import DIVERGED
from hydra_bench.methods.hydra.fit.junk import evidence_of_none, particles_of_classes
from hydra_bench.methods.hydra.fit.learning import learn
from hydra_bench.methods.hydra.fit.likelihood import BY_CHANCE, most_needed
from hydra_bench.methods.hydra.fit.parallel import Parallel, prepare_device
from hydra_bench.methods.hydra.fit.run_state import Chunk, Progress, Run
from hydra_bench.methods.hydra.fit.training_input import IMAGES_A_MAP, Epoch, TrainingInput, images_of
from hydra_bench.methods.hydra.model.model import Model
from hydra_bench.methods.hydra.model.tables import ParticleTables

Report = Callable[[JsonObject, ParticleTables], None]
Advance = Callable[[int], object]


def train(
    start_from: TrainingInput,
    device: torch.device,
    *,
    checkpointer: Checkpointer | None = None,
    parallel: Parallel | None = None,
    report: Report = lambda row, tables: None,
    advance: Advance = lambda n: None,
) -> Run:
    """Train on a stack; a state that the checkpointer holds is taken up where it stopped.

    `report` is called with every row of the history, `advance` with the number of images just worked on.
    Raises InputError for settings that do not fit the stack, or for a checkpoint of another run; Stopped when the
    checkpointer was asked to stop.
    """
    checkpointer = checkpointer or Checkpointer(None)
    run = start(start_from, device, parallel or Parallel())
    state = checkpointer.load()
    if state is not None:
        run.restore(state)
        advance(run.history.images_seen)
    run.started = time.monotonic()
    while run.progress.epoch < len(run.schedule):
        epoch = run.schedule[run.progress.epoch]
        begin_epoch(run, epoch)
        chunks = epoch_chunks(run, epoch)
        while run.progress.chunk < len(chunks):
            particles = chunks[run.progress.chunk]
            for upcoming in chunks[run.progress.chunk + 1 : run.progress.chunk + 2]:
                run.source.expect(upcoming[run.parallel.owns(upcoming)], run.frequencies.count(epoch.l))
            run.progress.loss += work_on(run, epoch, particles)
            run.progress.chunk += 1
            run.history.images_seen += len(particles)
            advance(len(particles))
            save_if_due(run, checkpointer)
        end_epoch(run, epoch, len(np.concatenate(chunks)), report)
    return run


def start(start_from: TrainingInput, device: torch.device, parallel: Parallel) -> Run:
    """Everything before the first epoch: frequencies, images, fields and tables."""
    settings, stack, seed, box = start_from.in_boxes, start_from.stack, start_from.seed, start_from.box_px
    prepare_device(device)
    torch.manual_seed(seed)  # of the fields' and the encoder's first weights
    frequencies = Frequencies.of_box(box).to(device)
    schedule = start_from.schedule()
    # Only the search comes back to the same images often enough, at few enough frequencies, to keep them.
    n_low = max(frequencies.count(epoch.l) for epoch in schedule if epoch.before_search or epoch.phase == "search")
    source = ImageSource(stack, frequencies, settings, n_low, device, seed)
    n_encoder = frequencies.count(min(settings.l_encoder, largest_l(box)))
    model = Model.create(settings, len(stack), n_encoder, source.signal_envelope(), device)
    given, beginning = start_from.given, start_from.beginning
    known = given or beginning
    begin_in = None if beginning is None else beginning.classes
    if known is not None:
        rotations = torch.from_numpy(known.rotations).float().to(device)
        shifts_px = torch.from_numpy(known.shifts_A / start_from.pixel_size_A).float().to(device)
        classes = None if begin_in is None else torch.from_numpy(begin_in).to(device)
        model.tables.begin_at(rotations, shifts_px, classes)
    return Run(settings, seed, device, parallel, schedule, frequencies, source, model, begin_in)


def begin_epoch(run: Run, epoch: Epoch) -> None:
    """At its first chunk spare fields go, or auto-decoding begins; what is set then is set again when a run resumes."""
    s = run.settings
    run.recorder.forget()
    if run.progress.chunk == 0:
        run.progress.loss = 0.0
        if spare_fields_go(run, epoch):
            keep = fields_to_keep(run, epoch)
            run.keep_classes(keep)
            run.history.keep_classes(keep)
        if epoch.phase == "search" and epoch.number == 0 and held_out(run, epoch):
            run.hold_out()
        if not held_out(run, epoch):
            run.others = []
        if epoch.phase == "grow" and epoch.number == 0:
            run.model = run.model.with_larger_fields(s)
        if epoch.phase == "decode" and epoch.number == 0:
            start_decoding(run)
    # A latent that joins before the poses are roughly right learns to excuse wrong ones.
    for model in run.models():
        model.latents_on = epoch.after(s.latent_epoch)
    rate = s.stage(run.model.grown).learning_rate
    if epoch.phase == "decode":
        rate *= (s.learning_rate_final / rate) ** (epoch.number / max(1, s.decode_epochs - 1))
    for model in run.models():
        model.set_learning_rate(rate)
    run.plan_memory(epoch)


def held_out(run: Run, epoch: Epoch) -> bool:
    """Whether images are searched in fields that their own fold does not teach."""
    s = run.settings
    passes = min(s.held_out_epochs, s.latent_epoch) if any(run.model.tables.latent_dims) else s.held_out_epochs
    return epoch.phase == "search" and not epoch.after(passes)


def spare_fields_go(run: Run, epoch: Epoch) -> bool:
    """Whether there are any, and it is time: the search's last pass is without, for the particles of those that go."""
    if run.model.tables.classes <= run.settings.classes:
        return False
    return epoch.after(min(run.settings.spare_epochs, passes_with_spare(run)))


def fields_to_keep(run: Run, epoch: Epoch) -> list[int]:
    """The classes, rising, that stay when spare fields go.

    Where junk is told apart, one of the spare fields, and what others it fills, stay as long as may be, and keep it out
    of the classes.
    """
    s = run.settings
    by_chance = BY_CHANCE if s.sharpness is None and s.sigma is None else math.inf
    of_none = -evidence_of_none(run, run.schedule[run.progress.epoch - 1].l) if s.junk else None
    still_one = s.junk and not epoch.after(passes_with_spare(run))
    return most_needed(run.model.tables.errors, run.softening, s.classes + still_one, by_chance, of_none, still_one)


def passes_with_spare(run: Run) -> int:
    """The most passes of the search that there can be spare fields in."""
    searches = sum(epoch.phase == "search" for epoch in run.schedule)
    return max(1, searches - 1)


def epoch_chunks(run: Run, epoch: Epoch) -> list[IntArray]:
    """The particles of an epoch in random order, in parts."""
    order = np.random.default_rng([run.seed, 2, run.progress.epoch]).permutation(len(run.source))
    order = order[: images_of(epoch, run.settings, len(order))]
    chunk = run.sizes.refine_chunk if epoch.phase == "refine" else run.sizes.chunk
    if epoch.phase == "maps":
        chunk = IMAGES_A_MAP * run.model.tables.classes
    return np.array_split(order, max(1, round(len(order) / chunk)))


def work_on(run: Run, epoch: Epoch, particles: IntArray) -> torch.Tensor:
    """One chunk of an epoch; the summed loss of this process's particles, on the device."""
    chunk = Chunk.of(run, particles)
    if epoch.phase == "pretrain":
        return pretrain_chunk(run, epoch, chunk)
    if epoch.phase == "maps":
        return maps_chunk(run, epoch, chunk)
    if epoch.phase == "begin":
        return begin_chunk(run, epoch, chunk)
    if epoch.phase in ("search", "refine"):
        return search_chunk(run, epoch, chunk)
    return learn(run, epoch, chunk)


def end_epoch(run: Run, epoch: Epoch, n: int, report: Report) -> None:
    """Bring the tables together and write the history's row."""
    tables = run.model.tables
    if run.maps is not None and run.schedule[run.progress.epoch + 1].phase != "maps":
        maps = maps_of(run, run.maps, epoch.l)
        # Maps of given poses stay in their frame. Shifts at which images were last seen are followed to the new one.
        teach(run, epoch.l, maps if epoch.phase == "begin" else centred(maps))
        run.maps = None
    if epoch.phase == "decode" and run.settings.gating == "table":
        tables.posteriors = torch.softmax(tables.scores.weight.detach(), 1)
    run.gather()
    loss = checked_loss(run)  # of all processes in the first one, which writes the history
    if epoch.phase in ("search", "refine") and epoch.after(run.settings.contrast_epoch):
        run.measure_contrast(particles_of_classes(run, epoch.l))
    if run.model.latents_on and run.settings.newton:
        scale_latents(run.model)
    run.progress = Progress(epoch=run.progress.epoch + 1)
    if epoch.before_search:
        return
    p = tables.posteriors
    row = {
        "phase": epoch.phase,
        "epoch": epoch.number,
        "l": epoch.l,
        "loss": loss / n / epoch.sweeps,
        "contrast_sd": run.contrast.deviation,
        "entropy": float(-(p * p.clamp(min=1e-12).log()).sum(1).mean()),
        "images_seen": run.history.images_seen,
        "wall_s": run.wall_s(),
    }
    row |= {f"size_{k + 1}": size for k, size in enumerate(tables.class_sizes())}
    run.history.rows.append(row)
    if tables.classes > 1:
        compact = torch.uint8 if tables.classes <= 256 else torch.int16
        run.history.labels.append(torch.from_numpy(tables.hard_classes()).to(compact))
    report(row, tables)


def checked_loss(run: Run) -> float:
    """The epoch's summed loss so far. Raises RunFailedError if it is no number, as that of fields that diverged."""
    loss = float(run.progress.loss)
    if not math.isfinite(loss):
        raise RunFailedError(DIVERGED)
    return loss


def save(run: Run, checkpointer: Checkpointer) -> None:
    """Write a checkpoint; the first process does."""
    run.gather()
    checked_loss(run)
    state = run.state()
    if run.parallel.rank == 0:
        checkpointer.save(state)


def save_if_due(run: Run, checkpointer: Checkpointer) -> None:
    """Write a checkpoint if it is time for one; leave by Stopped if that was asked for."""
    if run.parallel.any(checkpointer.due):
        save(run, checkpointer)
    if run.parallel.any(checkpointer.asked_to_stop):
        raise Stopped
