"""What is done to one chunk of particles in pre-training and in the search, and where auto-decoding starts."""

from __future__ import annotations

import numpy as np
import torch

from hydra_bench.methods.hydra.data.images import ImageBatch
from hydra_bench.methods.hydra.fit.conformations import nearest, representatives
from hydra_bench.methods.hydra.fit.gradient_steps import learn
from hydra_bench.methods.hydra.fit.likelihood import posteriors, temperature
from hydra_bench.methods.hydra.fit.pose_search import (
    Candidates,
    SearchPlan,
    pose_errors,
    search,
    search_locally,
    shift_grid,
)
from hydra_bench.methods.hydra.fit.run_state import Draws, Run
from hydra_bench.methods.hydra.fit.schedule import Epoch
from hydra_bench.methods.hydra.model.rendering import render_hartleys, slicing_grid
from hydra_bench.physics.rotations import grid_spacing_deg, random_rotations


def pretrain_chunk(run: Run, epoch: Epoch, particles: np.ndarray, draws: Draws) -> float:
    """Gradient steps at random poses and lowest resolution: fields that differ, of the right magnitude.

    With given poses there is nothing random in them, and it is the classes that are drawn, so that fields differ.
    """
    tables, members = run.model.tables, run.tensor(particles)
    if run.settings.poses == "search":
        for k in range(tables.classes):
            rotations = torch.from_numpy(random_rotations(len(particles), draws.rng)).float()
            tables.rotations[members, k] = rotations.to(run.device)
        return learn(run, particles, None, run.frequencies.count(epoch.l), epoch.sweeps, None, draws)
    drawn = torch.from_numpy(draws.rng.integers(tables.classes, size=len(particles))).to(run.device)
    tables.posteriors[members] = torch.nn.functional.one_hot(drawn, tables.classes).float()
    loss = learn(run, particles, None, run.frequencies.count(epoch.l), epoch.sweeps, None, draws)
    tables.posteriors[members] = 1.0 / tables.classes
    return loss


def search_chunk(run: Run, epoch: Epoch, particles: np.ndarray, draws: Draws) -> float:
    """Poses by search (or as given), posteriors, then gradient steps with both held."""
    s, n = run.settings, run.frequencies.count(epoch.l)
    # Refinement leaves classes alone: what its resolutions add to the errors is noise more than it is signal.
    settled = epoch.phase == "refine"
    explored = draws.rng.random(len(particles)) < (0.0 if settled else s.explore)
    local = epoch.phase == "refine" or s.poses == "refine"
    plan = local_plan(run, epoch) if local else search_plan(run, epoch, draws)
    mine = run.parallel.owns(particles)
    own, members = particles[mine], run.tensor(particles[mine])
    active = classes_to_search(run, members, explored[mine], epoch.age)
    batch = run.source.load(own, slice(None, n))
    search_poses(run, batch, members, active, epoch, plan, draws.rng)
    if not settled:
        update_posteriors(run, members, active, epoch.age)
    return learn(run, particles, batch, n, epoch.sweeps, None, draws)


def classes_to_search(run: Run, members: torch.Tensor, explored: np.ndarray, age: int) -> torch.Tensor:
    """Which classes each particle is searched in, (B, K) bool.

    At first all. Later those that are not out of the question for it, and all again for a random few: they
    keep the door open for a change of class, and show how far apart the classes are.
    """
    s, K = run.settings, run.model.tables.classes
    everywhere = torch.from_numpy(explored | (age < s.full_search_epochs)).to(run.device)
    contested = run.model.tables.posteriors[members] > s.out_of_question
    return contested | everywhere[:, None].expand(-1, K)


def local_plan(run: Run, epoch: Epoch) -> SearchPlan:
    """Around the pose a particle has: three steps, which halve, from 3/4 of the resolution l's own angle and length."""
    l, box = epoch.l, run.frequencies.box_px
    n = run.frequencies.count(l)
    return SearchPlan(run.base, run.base[:0, 0, :2], 1.5 / l, box / (4 * l), (1, 1, 1), (n,) * 4, run.batches.search)


def search_poses(
    run: Run,
    batch: ImageBatch,
    members: torch.Tensor,
    active: torch.Tensor,
    epoch: Epoch,
    plan: SearchPlan,
    rng: np.random.Generator,
) -> None:
    """Store the best pose of every active particle in every class; errors of the others become infinite.

    A particle is searched in that one of a few conformations of the class which is nearest to its own.
    """
    tables = run.model.tables
    tables.errors[members] = torch.where(active, tables.errors[members], torch.inf)
    for k, field in enumerate(run.model.fields):
        rows = active[:, k].nonzero()[:, 0]
        if not len(rows):
            continue
        count = run.settings.search_conformations if run.model.latents_on else 1
        centres = representatives(tables, k, count, rng)
        group = nearest(tables, k, members[rows], centres)
        for g, rendered in enumerate(render_hartleys(field, epoch.l, centres)):
            some = rows[group == g] if len(centres) > 1 else rows
            if len(some):
                found = search_one(run, batch, members, some, k, epoch, plan, slicing_grid(rendered))
                poses = (found.rotations[:, 0], found.shifts[:, 0], found.errors[:, 0])
                tables.store_poses(members[some], k, *poses)


def search_one(
    run: Run,
    batch: ImageBatch,
    members: torch.Tensor,
    rows: torch.Tensor,
    k: int,
    epoch: Epoch,
    plan: SearchPlan,
    grid: torch.Tensor,
) -> Candidates:
    """The pose of some rows of a batch in one conformation of class k: the best of all, or near the known, or that."""
    part = batch if len(rows) == len(batch) else batch.take(rows)
    if run.settings.poses == "search" and epoch.phase == "search":
        return search(part, grid, plan)
    rotations, shifts = run.model.tables.pose(members[rows], k)
    unknown = batch.hartley.new_zeros(len(rows), 1)
    here = Candidates(rotations.detach()[:, None], shifts.detach()[:, None], unknown)
    return (pose_errors if run.settings.poses == "fixed" else search_locally)(part, grid, here, plan)


def update_posteriors(run: Run, members: torch.Tensor, active: torch.Tensor, age: int) -> None:
    """Posteriors of the searched particles.

    The softening is σ²n where σ is set; otherwise it follows the errors of those that were searched in all classes.
    """
    s, tables = run.settings, run.model.tables
    if tables.classes == 1:
        return
    errors = tables.errors[members]
    if s.sigma is not None:
        run.softening = s.sigma**2 * run.frequencies.count(run.schedule[run.place.epoch].l)
    else:
        sharpness = s.sharpness[0] + (s.sharpness[1] - s.sharpness[0]) * min(1.0, age / max(1, s.sharpen_epochs))
        # Among more classes most are plainly wrong and make the spread: the few that compete need more than that.
        sharpness *= max(1.0, s.classes / 3)
        run.softening = temperature(errors[active.all(1)], sharpness, run.parallel) or run.softening
    log_prior = None
    if age >= s.prior_epoch:
        log_prior = s.prior_strength * tables.posteriors.mean(0).clamp(min=1e-6).log()
    tables.posteriors[members] = posteriors(errors, run.softening, log_prior)


def search_plan(run: Run, epoch: Epoch, draws: Draws) -> SearchPlan:
    """The grids of one search; the base grid is turned at random, so that its gaps move."""
    s, l = run.settings, epoch.l
    turn = torch.from_numpy(random_rotations(1, draws.rng)[0]).float().to(run.device)
    extent = s.shift_extent * run.frequencies.box_px
    l_coarse, levels = min(l, s.l_coarse), len(s.keep)
    rising = [round(l_coarse + (l - l_coarse) * level / levels) for level in range(levels + 1)]
    resolutions = rising if s.march_in_search else [l_coarse] + [l] * levels
    return SearchPlan(
        base=run.base @ turn,
        base_shifts=shift_grid(extent, s.shift_points, run.device),
        base_angle=np.radians(grid_spacing_deg(s.base_order)),
        base_shift_step=2 * extent / max(1, s.shift_points - 1),
        keep=s.keep,
        frequencies=tuple(run.frequencies.count(r) for r in resolutions),
        batch=run.batches.search,
    )


@torch.no_grad()
def start_decoding(run: Run) -> None:
    """Class scores start from the posteriors of the search; a set σ now counts all frequencies."""
    tables, s = run.model.tables, run.settings
    if s.sigma is not None:
        run.softening = s.sigma**2 * len(run.frequencies)
    tables.scores.weight.copy_(tables.posteriors.clamp(min=1e-4).log())
