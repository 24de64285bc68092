"""Images are searched in fields that did not learn from them, while each class has several."""

from typing import Any

import numpy as np
import pytest
import torch
from hydra_cases import CPU, Case, run, tiny

from hydra_bench.methods.hydra.data.images import ImageBatch
from hydra_bench.methods.hydra.fit import chunks
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.run_state import Chunk, Run
from hydra_bench.methods.hydra.fit.train import begin_epoch, start, work_on
from hydra_bench.methods.hydra.fit.training_input import Epoch, TrainingInput

HELD_OUT: dict[str, Any] = {
    "held_out_folds": 3,
    "held_out_epochs": 2,
    "l_schedule": (4, 4, 5),
    "latent_epoch": 2,
    "spare_fields": 0,
}


def at_the_search(case: Case, **changes: Any) -> tuple[Run, Epoch]:
    """A run before the first chunk of its search."""
    given = case.given() if "poses" in changes else None
    found = start(TrainingInput(case.stack, tiny(**{**HELD_OUT, **changes}), 5, given), CPU, Parallel())
    found.progress.epoch = 1
    begin_epoch(found, found.schedule[1])
    return found, found.schedule[1]


def weights(run: Run) -> list[torch.Tensor]:
    return [model.stack.weights.clone() for model in run.models()]


def test_every_image_is_searched_in_the_fields_that_its_fold_does_not_teach(case: Case) -> None:
    """Fields that are zero explain nothing: an error of exactly 0."""
    for fold in range(3):
        found, epoch = at_the_search(case)
        with torch.no_grad():
            found.models()[fold].stack.weights.zero_()
        particles = np.arange(60)
        chunks.find_poses_and_classes(found, epoch, Chunk.of(found, particles), np.zeros(60, bool))
        of_nothing = (found.model.tables.errors == 0).all(1).numpy()
        np.testing.assert_array_equal(of_nothing, found.fold == fold)
        assert of_nothing.sum() == 20


def test_fields_learn_nothing_from_the_fold_that_is_searched_in_them(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay as they are to the last bit if its images are replaced before learning; those of other folds do not."""
    found, epoch = at_the_search(case)
    as_it_was, particles = at_the_search(case)[0], np.arange(60)
    before = weights(found)
    work_on(found, epoch, particles)
    search = chunks.find_poses_and_classes

    def replaced(run: Run, epoch: Epoch, chunk: Chunk, explored: np.ndarray) -> ImageBatch:
        batch = search(run, epoch, chunk, explored)
        batch.hartley[torch.from_numpy(run.fold[chunk.own] == 1)] *= -3
        return batch

    monkeypatch.setattr(chunks, "find_poses_and_classes", replaced)
    work_on(as_it_was, epoch, particles)
    same = [torch.equal(a, b) for a, b in zip(weights(found), weights(as_it_was), strict=True)]
    assert same == [False, True, False]
    assert not any(torch.equal(a, b) for a, b in zip(weights(found), before, strict=True))


def test_fields_know_the_noise_of_their_own_images_and_the_others_do_not(case: Case) -> None:
    """Of images of nothing but noise, at given poses: fields explain those that they learned from, and no others."""
    generator = torch.Generator().manual_seed(3)

    def gained(folds: int) -> float:
        found, epoch = at_the_search(case, held_out_folds=folds, classes=1, steps_per_search=3, poses="fixed")
        load, noise = found.source.load, torch.randn(60, len(found.frequencies), generator=generator)

        def of_noise(particles: np.ndarray, kept: slice) -> ImageBatch:
            batch = load(particles, kept)
            return ImageBatch(**{**vars(batch), "hartley": noise[particles][:, kept]})

        found.source.load = of_noise  # type: ignore[method-assign]
        for _ in range(6):
            work_on(found, epoch, np.arange(60))
            found.progress.chunk += 1
        return -float(found.model.tables.errors.mean())

    assert gained(3) < 0 < gained(1)


def test_one_field_a_class_is_left_when_the_passes_with_several_are_over(case: Case) -> None:
    found, _ = at_the_search(case)
    for number, several in ((2, 3), (3, 1), (4, 1)):
        found.progress.epoch = number
        begin_epoch(found, found.schedule[number])
        assert len(found.models()) == several
    assert found.model.latents_on


@pytest.mark.parametrize(("latent_dim", "models"), [(1, 1), (0, 3)])
def test_several_fields_a_class_end_when_latents_join(case: Case, latent_dim: int, models: int) -> None:
    """Which they never do in rigid classes."""
    found, _ = at_the_search(case, held_out_epochs=9, latent_epoch=1, latent_dim=latent_dim)
    found.progress.epoch = 2
    begin_epoch(found, found.schedule[2])
    assert len(found.models()) == models


@pytest.mark.parametrize("changes", [{}, {"spare_fields": 2}, {"map_schedule": (4, 4, 5)}, {"classes": 1}])
def test_a_run_with_several_fields_a_class_ends_as_others_do(case: Case, changes: dict[str, Any]) -> None:
    found = run(case.stack, tiny(**{**HELD_OUT, **changes}))
    assert not found.others
    assert found.model.tables.classes == changes.get("classes", 2)
    assert all(np.isfinite(row["loss"]) for row in found.history.rows)
