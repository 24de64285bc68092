"""What is done to one chunk of particles in each phase, and where auto-decoding starts."""

import numpy as np
import torch

from hydra_bench.core.on_device import on_device
from hydra_bench.core.types import BoolArray
from hydra_bench.methods.hydra.data.images import ImageBatch
from hydra_bench.methods.hydra.fit import first_maps, pose_search
from hydra_bench.methods.hydra.fit.conformations import nearest, representatives
from hydra_bench.methods.hydra.fit.learning import learn
from hydra_bench.methods.hydra.fit.likelihood import balancing, fading, posteriors, softening_of
from hydra_bench.methods.hydra.fit.run_state import Chunk, Run
from hydra_bench.methods.hydra.fit.training_input import Epoch
from hydra_bench.methods.hydra.model.networks import Field
from hydra_bench.methods.hydra.model.rendering import render_hartleys, slicing_grid
from hydra_bench.physics.rotations import grid_spacing_deg, random_rotations


def pretrain_chunk(run: Run, epoch: Epoch, chunk: Chunk) -> torch.Tensor:
    """Gradient steps at random poses and lowest resolution: fields that differ, of the right magnitude.

    With given poses there is nothing random in them, and it is the classes that are drawn, so that fields differ.
    """
    tables, members, n = run.model.tables, run.tensor(chunk.particles), len(chunk.particles)
    if run.settings.poses == "search":
        for k in range(tables.classes):
            rotations = torch.from_numpy(random_rotations(n, chunk.rng)).float()
            tables.rotations[members, k] = on_device(rotations, run.device)
        return learn(run, epoch, chunk)
    drawn = run.tensor(chunk.rng.integers(tables.classes, size=n))
    tables.posteriors[members] = torch.nn.functional.one_hot(drawn, tables.classes).float()
    loss = learn(run, epoch, chunk)
    tables.posteriors[members] = 1.0 / tables.classes
    return loss


def maps_chunk(run: Run, epoch: Epoch, chunk: Chunk) -> torch.Tensor:
    """A step of expectation maximisation; the first one makes the maps that it goes on from."""
    l = epoch.l
    if run.maps is None:
        run.maps = first_maps.begin(run, l, max(e.l for e in run.schedule if e.phase == "maps"), chunk)
    pull = fading(epoch.number + 1, len(run.settings.map_schedule))
    maps, base, shifts = maps_of(run, run.maps, l), base_grid(run, l, chunk), base_shifts(run, chunk.members)
    return first_maps.improve(run, run.maps, maps, base, shifts, chunk, pull)


def begin_chunk(run: Run, epoch: Epoch, chunk: Chunk) -> torch.Tensor:
    """Images go into the maps of the classes that they begin in, at the poses that they begin at; there is no loss."""
    if run.maps is None:
        run.maps = first_maps.FirstMaps.none(run.model.tables.classes, epoch.l, run.device)
    first_maps.add_known(run, run.maps, epoch.l, chunk)
    return torch.zeros((), dtype=torch.float64, device=run.device)


def maps_of(run: Run, maps: first_maps.FirstMaps, l: int) -> torch.Tensor:
    """The maps (K, D, D, D) so far, as Hartley transforms, of what the images' power says that there is to see."""
    return maps.hartleys(l, run.model.fields[0].envelope, run.settings.particle_radius / 2)


def base_grid(run: Run, l: int, chunk: Chunk) -> pose_search.BaseGrid:
    """The base grid at a resolution, turned at random, so that its gaps move."""
    turn = on_device(torch.from_numpy(random_rotations(1, chunk.rng)[0]).float(), run.device)
    return pose_search.BaseGrid(run.base @ turn, run.frequencies.count(l))


def base_shifts(run: Run, members: torch.Tensor) -> torch.Tensor:
    """Shifts of the base grid for particles (B,), (B, T, 2) in px: all, or those near where each was last seen."""
    s, tables = run.settings, run.model.tables
    seen_px = tables.shifts_px[members, tables.posteriors[members].argmax(1)]
    extent_px = s.shift_extent * run.frequencies.box_px
    near = pose_search.shifts_near(seen_px, extent_px, s.shift_points, s.shift_near, run.device)
    return near.expand(len(members), -1, -1)


def search_chunk(run: Run, epoch: Epoch, chunk: Chunk) -> torch.Tensor:
    """Poses by search (or as given), posteriors, then gradient steps with both held."""
    share = 0.0 if epoch.phase == "refine" else run.settings.explore
    explored = chunk.rng.random(len(chunk.particles)) < share
    batch = find_poses_and_classes(run, epoch, chunk, explored)
    if not run.others:
        return learn(run, epoch, chunk, batch)
    loss = torch.zeros((), dtype=torch.float64, device=run.device)
    for fold, model in enumerate(run.models()):
        learnt = run.fold[chunk.particles] != fold
        rows = on_device(torch.from_numpy(np.flatnonzero(learnt[chunk.mine])), run.device)
        loss += learn(run, epoch, chunk.part(learnt), batch.take(rows), model) / len(run.others)
    return loss


def find_poses_and_classes(run: Run, epoch: Epoch, chunk: Chunk, explored: BoolArray) -> ImageBatch:
    """All of a search but the gradient steps; the images that it was made with.

    explored (B,) : particles of the chunk that are searched in every class, whatever is known of them.
    """
    search_near = epoch.phase == "refine" or run.settings.poses == "refine"
    plan = near_plan(run, epoch) if search_near else search_plan(run, epoch, chunk)
    active = classes_to_search(run, chunk.members, explored[chunk.mine], epoch.age)
    batch = run.source.load(chunk.own, slice(None, run.frequencies.count(epoch.l)))
    search_poses(run, epoch, chunk, batch, active, plan)
    # Refinement leaves classes alone: what its resolutions add to the errors is noise more than it is signal.
    if epoch.phase != "refine":
        update_posteriors(run, chunk.members, active, epoch)
    return batch


def classes_to_search(run: Run, members: torch.Tensor, explored: BoolArray, age: int) -> torch.Tensor:
    """Which classes each particle is searched in, (B, K) bool, on the host.

    At first all. Later those that are not out of the question for it, and all again for a random few, which show how
    far apart the classes are, and for those of classes of few particles: a field of a part of a species, or of nothing,
    is left by its particles as soon as they see the others.
    """
    s, K = run.settings, run.model.tables.classes
    everywhere = torch.from_numpy(explored | (age < s.full_search_epochs))[:, None].expand(-1, K)
    if everywhere.all():
        return everywhere
    posteriors = run.model.tables.posteriors
    few = posteriors.mean(0) < s.full_search_share / K
    in_question = (posteriors[members] > s.out_of_question) | few[posteriors[members].argmax(1)][:, None]
    return in_question.cpu() | everywhere


def near_plan(run: Run, epoch: Epoch) -> pose_search.SearchPlan:
    """Around the pose a particle has: three steps, which halve, from 3/4 of the resolution l's own angle and length."""
    l = epoch.l
    counts = (run.frequencies.count(l),) * 3
    shift_step = run.frequencies.box_px / (4 * l)
    return pose_search.SearchPlan(
        1.5 / l, shift_step, keep=(1, 1, 1), frequencies=counts, batch=run.search_batch, contrast=run.contrast
    )


def search_plan(run: Run, epoch: Epoch, chunk: Chunk) -> pose_search.SearchPlan:
    """The grids of one search."""
    s, l = run.settings, epoch.l
    l_coarse, levels = min(l, s.l_coarse), len(s.keep)
    rising = [round(l_coarse + (l - l_coarse) * level / levels) for level in range(1, levels + 1)]
    resolutions = rising if s.march_in_search else [l] * levels
    return pose_search.SearchPlan(
        angle=np.radians(grid_spacing_deg(s.base_order)),
        shift_step=2 * s.shift_extent * run.frequencies.box_px / max(1, s.shift_points - 1),
        keep=s.keep,
        frequencies=tuple(run.frequencies.count(r) for r in resolutions),
        batch=run.search_batch,
        coarse_batch=run.coarse_batch,
        contrast=run.contrast,
        base=base_grid(run, l_coarse, chunk),
    )


def search_poses(
    run: Run, epoch: Epoch, chunk: Chunk, batch: ImageBatch, active: torch.Tensor, plan: pose_search.SearchPlan
) -> None:
    """Store the best pose of every active particle in every class; errors of the others become infinite.

    A particle is searched in that one of a few conformations of the class which is nearest to its own.
    active : (B, K) bool, on the host, for this process's particles of the chunk, as the batch.
    """
    tables, members = run.model.tables, chunk.members
    tables.errors[members] = torch.where(on_device(active, run.device), tables.errors[members], torch.inf)
    count = run.settings.search_conformations if run.model.latents_on else 1
    centres = representatives(tables, count, chunk.rng)
    shifts = base_shifts(run, members)
    for fields, judged in judges(run, chunk):
        groups = nearest(tables, members, active & judged[:, None], centres)
        for k, field in enumerate(fields):
            if not any(len(rows) for rows in groups[k]):
                continue
            for rows, rendered in zip(groups[k], render_hartleys(field, epoch.l, centres[k]), strict=True):
                if len(rows):
                    part = batch if len(rows) == len(batch) else batch.take(rows)
                    found = best_poses(run, part, members[rows], k, plan, slicing_grid(rendered), shifts[rows])
                    tables.store_poses(members[rows], k, *(part[:, 0] for part in vars(found).values()))


def judges(run: Run, chunk: Chunk) -> list[tuple[list[Field], torch.Tensor]]:
    """The classes' fields, and which of this process's particles (B,), bool and on the host, are searched in them.

    While there are several fields a class each image is searched in those that its fold does not teach: fields know the
    noise of their own images, by which an image in a wrong class is held there.
    """
    if not run.others:
        return [(run.model.fields, torch.ones(len(chunk.own), dtype=torch.bool))]
    folds = torch.from_numpy(run.fold[chunk.own])
    return [(model.fields, folds == fold) for fold, model in enumerate(run.models())]


def best_poses(
    run: Run,
    batch: ImageBatch,
    members: torch.Tensor,
    k: int,
    plan: pose_search.SearchPlan,
    grid: torch.Tensor,
    shifts: torch.Tensor,
) -> pose_search.Candidates:
    """The pose (one candidate) of a batch's particles in one conformation of class k, whose slicing grid is given.

    It is the best of all, the best near the one that each has, or with fixed poses just that.
    shifts (B, T, 2) : those of each particle on the base grid, in px.
    """
    if run.settings.poses != "fixed" and plan.base is not None:
        return pose_search.search(batch, grid, shifts, plan)
    rotations, shifts = run.model.tables.pose(members, k)
    here = pose_search.Candidates.at(rotations.detach(), shifts.detach())
    choose = pose_search.pose_errors if run.settings.poses == "fixed" else pose_search.search_locally
    return choose(batch, grid, here, plan)


def update_posteriors(run: Run, members: torch.Tensor, active: torch.Tensor, epoch: Epoch) -> None:
    """Posteriors of the searched particles.

    The softening is σ²n where σ is set; with a sharpness it follows the errors of those that were searched in all
    classes; else it is 1, and posteriors are those of the likelihood. active (B, K) : as in `search_poses`.
    """
    s, tables = run.settings, run.model.tables
    if tables.classes == 1:
        return
    errors = tables.errors[members]
    if s.sigma is not None:
        run.softening = s.sigma**2 * run.frequencies.count(epoch.l)
    elif s.sharpness is not None:
        sharpened = min(1.0, epoch.age / max(1, s.sharpen_epochs))
        sharpness = s.sharpness[0] + (s.sharpness[1] - s.sharpness[0]) * sharpened
        # Among more classes most are plainly wrong and make the spread: the few that compete need more than that.
        sharpness *= max(1.0, s.classes / 3)
        searched_in_all = on_device(active.all(1).nonzero()[:, 0], run.device)
        run.softening = softening_of(errors[searched_in_all], sharpness, run.parallel) or run.softening
    log_prior = None
    if epoch.age >= s.prior_epoch:
        log_prior = s.prior_strength * tables.posteriors.mean(0).clamp(min=1e-6).log()
    pull = fading(epoch.age, s.balance_epochs)
    if pull:
        weights = pull * balancing(-errors / run.softening, run.parallel)
        log_prior = weights if log_prior is None else log_prior + weights
    tables.posteriors[members] = posteriors(errors, run.softening, log_prior)


@torch.no_grad()
def start_decoding(run: Run) -> None:
    """Class scores start from the posteriors of the search; a set σ now counts all frequencies."""
    tables, s = run.model.tables, run.settings
    if s.sigma is not None:
        run.softening = s.sigma**2 * len(run.frequencies)
    tables.scores.weight.copy_(tables.posteriors.clamp(min=1e-4).log())
