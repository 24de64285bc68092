"""Hydra from a stack to a trained mixture: pre-training, search, auto-decoding.

Read `train` from top to bottom; the other modules are its words.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from hydra_bench.hydra.frequencies import Frequencies
from hydra_bench.hydra.images import ImageSource, signal_envelope
from hydra_bench.hydra.learning import Model, learning_step
from hydra_bench.hydra.mixture import posteriors, temperature
from hydra_bench.hydra.pose_search import SearchPlan, search, shift_grid
from hydra_bench.hydra.rendering import render_hartley, slicing_grid
from hydra_bench.hydra.settings import Settings
from hydra_bench.rotations import grid_spacing_deg, hopf_grid, random_rotations
from hydra_bench.stack import Stack


@dataclass
class History:
    """One row an epoch, and the number of images seen so far (searched or decoded)."""

    rows: list[dict[str, float | int | str]] = field(default_factory=list)
    images_seen: int = 0

    def keep_classes(self, keep: list[int]) -> None:
        """Renumber the sizes of all rows so far: `keep` become classes 1, 2, …, the others spare fields 1, 2, …."""
        for row in self.rows:
            sizes = [row.pop(name) for name in list(row) if name.startswith("size_")]
            spare = [k for k in range(len(sizes)) if k not in keep]
            row |= {f"size_{j + 1}": sizes[k] for j, k in enumerate(keep)}
            row |= {f"spare_{j + 1}": sizes[k] for j, k in enumerate(spare)}


@dataclass
class Trained:
    model: Model
    frequencies: Frequencies
    source: ImageSource
    history: History


class Run:
    """What the phases share."""

    def __init__(
        self, stack: Stack, settings: Settings, seed: int, device: torch.device, advance: Callable[[int], None]
    ) -> None:
        self.settings, self.stack, self.device = settings, stack, device
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self.frequencies = Frequencies.of_box(stack.box_px, stack.box_px // 2 - 1).to(device)
        self.source = ImageSource(stack, self.frequencies, device)
        envelope = signal_envelope(self.source, self.frequencies, self.rng)
        self.model = Model.create(settings, len(stack), envelope.to(device), device)
        self.base = torch.from_numpy(hopf_grid(settings.base_order)).float().to(device)
        self.history, self.start = History(), time.monotonic()
        self.softening, self.sharpness = 1.0, settings.sharpness[0]
        self.advance = advance

    def tensor(self, particles: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(particles).to(self.device)

    def learn(self, particles: np.ndarray, n: int, sweeps: int, softening: float | None = None) -> float:
        """Sweeps of gradient steps over particles on the first n frequencies; the mean loss."""
        batch, members, losses = self.source.load(particles, n), self.tensor(particles), []
        for _ in range(sweeps):
            for rows in torch.randperm(len(particles), generator=self.generator).split(self.settings.minibatch):
                rows = rows.to(self.device)
                losses.append(
                    learning_step(
                        self.model,
                        batch.take(rows),
                        members[rows],
                        self.frequencies,
                        self.settings,
                        softening,
                        self.generator,
                    )
                )
        return float(np.mean(losses))

    def seen(self, n: int) -> None:
        self.history.images_seen += n
        self.advance(n)

    def log(self, phase: str, epoch: int, l: int, loss: float, report: Callable[[dict], None]) -> None:  # noqa: E741
        sizes = {f"size_{k + 1}": size for k, size in enumerate(self.model.tables.class_sizes())}
        row = {"phase": phase, "epoch": epoch, "l": l, "loss": loss, "images_seen": self.history.images_seen}
        row |= {"wall_s": time.monotonic() - self.start, **sizes}
        self.history.rows.append(row)
        report(row)


def train(
    stack: Stack,
    settings: Settings,
    seed: int,
    device: torch.device,
    report: Callable[[dict], None] = lambda row: None,
    advance: Callable[[int], None] = lambda n: None,
) -> Trained:
    """Train on a stack.

    `report` is called with every row of the history, `advance` with the number of images just worked on.
    """
    run = Run(stack, settings, seed, device, advance)
    pretrain(run)
    for epoch, l in enumerate(settings.l_schedule):  # noqa: E741
        if run.model.tables.classes > settings.classes and epoch >= settings.spare_epochs:
            drop_spare_fields(run)
        loss = search_epoch(run, epoch, l)
        run.log("search", epoch, l, loss, report)
    if run.model.tables.classes > settings.classes:  # a schedule shorter than spare_epochs
        drop_spare_fields(run)
    start_decoding(run)
    for epoch in range(settings.decode_epochs):
        loss = decode_epoch(run, epoch)
        run.log("decode", epoch, stack.box_px // 2 - 1, loss, report)
    return Trained(run.model, run.frequencies, run.source, run.history)


def pretrain(run: Run) -> None:
    """A short pass at random poses and lowest resolution: fields that differ, of the right magnitude."""
    tables, s = run.model.tables, run.settings
    particles = np.sort(run.rng.permutation(len(run.stack))[: s.pretrain_images])
    for k in range(tables.classes):
        rotations = torch.from_numpy(random_rotations(len(particles), run.rng)).float()
        tables.rotations[run.tensor(particles), k] = rotations.to(run.device)
    run.learn(particles, run.frequencies.count(s.l_schedule[0]), 1)


def search_epoch(run: Run, epoch: int, l: int) -> float:  # noqa: E741
    """Every particle: poses by search, posteriors, then gradient steps with both held."""
    s = run.settings
    n = run.frequencies.count(l)
    # A latent that joins before the poses are roughly right learns to excuse wrong ones.
    run.model.latents_on = epoch >= s.latent_epoch
    run.sharpness = s.sharpness[0] + (s.sharpness[1] - s.sharpness[0]) * min(1.0, epoch / s.sharpen_epochs)
    losses = []
    order = run.rng.permutation(len(run.stack))
    for particles in np.array_split(order, max(1, round(len(order) / s.chunk))):
        members = run.tensor(particles)
        active = classes_to_search(run, members, epoch)
        search_chunk(run, particles, members, active, l)
        update_posteriors(run, members, active, epoch)
        losses.append(run.learn(particles, n, s.steps_per_search))
        run.seen(len(particles))
    return float(np.mean(losses))


def classes_to_search(run: Run, members: torch.Tensor, epoch: int) -> torch.Tensor:
    """Which classes each particle is searched in, (B, K) bool.

    At first all. Later those that are not out of the question for it, and all again for a random few: they
    keep the door open for a change of class, and show how far apart the classes are.
    """
    s, K = run.settings, run.model.tables.classes
    explored = torch.from_numpy(run.rng.random(len(members)) < s.explore).to(run.device)
    if epoch < s.full_search_epochs:
        explored[:] = True
    contested = run.model.tables.posteriors[members] > s.out_of_question
    return contested | explored[:, None].expand(-1, K)


def search_chunk(run: Run, particles: np.ndarray, members: torch.Tensor, active: torch.Tensor, l: int) -> None:  # noqa: E741
    """Store the best pose of every active particle in every class; errors of the others become infinite."""
    tables, plan = run.model.tables, search_plan(run, l)
    batch = run.source.load(particles, plan.n_fine)
    tables.errors[members] = torch.where(active, tables.errors[members], torch.inf)
    for k, field_k in enumerate(run.model.fields):
        rows = active[:, k].nonzero()[:, 0]
        if not len(rows):
            continue
        grid = slicing_grid(render_hartley(field_k, l, tables.mean_latent(k)))
        found = search(batch.take(rows), grid, run.frequencies, plan)
        tables.store_poses(members[rows], k, found.rotations[:, 0], found.shifts[:, 0], found.errors[:, 0])


def update_posteriors(run: Run, members: torch.Tensor, active: torch.Tensor, epoch: int) -> None:
    """Posteriors of the searched particles; the softening follows those that were searched in all classes."""
    s, tables = run.settings, run.model.tables
    if tables.classes == 1:
        return
    errors = tables.errors[members]
    everywhere = active.all(1)
    if int(everywhere.sum()) >= 8:
        run.softening = temperature(errors[everywhere], run.sharpness)
    log_prior = None
    if epoch >= s.prior_epoch:
        share = tables.posteriors.mean(0)
        log_prior = s.prior_strength * share.clamp(min=1e-6).log()
    tables.posteriors[members] = posteriors(errors, run.softening, log_prior)


def search_plan(run: Run, l: int) -> SearchPlan:  # noqa: E741
    """The grids of one search; the base grid is turned at random, so that its gaps move."""
    s = run.settings
    turn = torch.from_numpy(random_rotations(1, run.rng)[0]).float().to(run.device)
    extent = s.shift_extent * run.stack.box_px
    return SearchPlan(
        base=run.base @ turn,
        base_shifts=shift_grid(extent, s.shift_points, run.device),
        base_angle=np.radians(grid_spacing_deg(s.base_order)),
        base_shift_step=2 * extent / max(1, s.shift_points - 1),
        keep=s.keep,
        n_coarse=run.frequencies.count(min(l, s.l_coarse)),
        n_fine=run.frequencies.count(l),
    )


def drop_spare_fields(run: Run) -> None:
    """Go on with as many classes as were asked for: those that hold the most particles."""
    keep = run.model.largest_classes(run.settings.classes)
    run.model = run.model.of_classes(keep, run.settings)
    run.history.keep_classes(keep)


@torch.no_grad()
def start_decoding(run: Run) -> None:
    """Class scores start from the posteriors of the search, and latents take part."""
    tables = run.model.tables
    run.model.latents_on = True
    tables.scores.weight.copy_(tables.posteriors.clamp(min=1e-4).log())


def decode_epoch(run: Run, epoch: int) -> float:
    """Fields, latents, poses and scores by gradient at full resolution, on every particle once."""
    s = run.settings
    progress = epoch / max(1, s.decode_epochs - 1)
    run.model.set_learning_rate(s.learning_rate * (s.learning_rate_final / s.learning_rate) ** progress)
    losses = []
    order = run.rng.permutation(len(run.stack))
    for particles in np.array_split(order, max(1, round(len(order) / s.chunk))):
        losses.append(run.learn(particles, len(run.frequencies.plane), 1, run.softening))
        run.seen(len(particles))
    tables = run.model.tables
    tables.posteriors = torch.softmax(tables.scores.weight.detach(), 1)
    return float(np.mean(losses))
