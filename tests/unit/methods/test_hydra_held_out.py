"""Images are searched in fields that did not learn from them, while each class has two."""

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

HELD_OUT: dict[str, Any] = {"held_out_epochs": 2, "l_schedule": (4, 4, 5), "latent_epoch": 2, "spare_fields": 0}


def at_the_search(case: Case, **changes: Any) -> tuple[Run, Epoch]:
    """A run before the first chunk of its search."""
    found = start(TrainingInput(case.stack, tiny(**{**HELD_OUT, **changes}), 5), CPU, Parallel())
    found.progress.epoch = 1
    begin_epoch(found, found.schedule[1])
    return found, found.schedule[1]


def weights(run: Run) -> list[torch.Tensor]:
    return [model.stack.weights.clone() for model in run.models()]


def test_every_image_is_searched_in_the_fields_of_the_other_half(case: Case) -> None:
    """Fields that are zero explain nothing: an error of exactly 0."""
    found, epoch = at_the_search(case)
    assert found.twin is not None
    with torch.no_grad():
        found.twin.stack.weights.zero_()
    particles = np.arange(60)
    chunk = Chunk.of(found, particles)
    chunks.find_poses_and_classes(found, epoch, chunk, np.zeros(60, bool))
    of_nothing = (found.model.tables.errors == 0).all(1).numpy()
    assert 15 < found.second.sum() < 45
    np.testing.assert_array_equal(of_nothing, ~found.second)


def test_a_half_learns_nothing_from_the_other(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its fields stay as they are to the last bit if the images of the other half are replaced before learning."""
    found, epoch = at_the_search(case)
    as_it_was, particles = at_the_search(case)[0], np.arange(60)
    before = weights(found)
    work_on(found, epoch, particles)
    search = chunks.find_poses_and_classes

    def replaced(run: Run, epoch: Epoch, chunk: Chunk, explored: np.ndarray) -> ImageBatch:
        batch = search(run, epoch, chunk, explored)
        batch.hartley[torch.from_numpy(run.second[chunk.own])] *= -3
        return batch

    monkeypatch.setattr(chunks, "find_poses_and_classes", replaced)
    work_on(as_it_was, epoch, particles)
    first, second = weights(found)
    first_again, second_again = weights(as_it_was)
    assert torch.equal(first, first_again)
    assert not torch.equal(second, second_again)
    assert not torch.equal(first, before[0])


def test_fields_know_the_noise_of_their_own_images_and_the_others_do_not(case: Case) -> None:
    """Of images of nothing but noise: what a field learned of one lowers the error of that one, and of no other."""
    generator = torch.Generator().manual_seed(3)

    def gained(held_out_epochs: int) -> float:
        found, epoch = at_the_search(case, held_out_epochs=held_out_epochs, classes=1, steps_per_search=3)
        load, noise = found.source.load, torch.randn(60, len(found.frequencies), generator=generator)

        def of_noise(particles: np.ndarray, kept: slice) -> ImageBatch:
            batch = load(particles, kept)
            return ImageBatch(**{**vars(batch), "hartley": noise[particles][:, kept]})

        found.source.load = of_noise  # type: ignore[method-assign]
        for _ in range(6):
            work_on(found, epoch, np.arange(60))
            found.progress.chunk += 1
        return -float(found.model.tables.errors.mean())

    assert gained(2) < gained(0) - 1


def test_halves_end_when_their_passes_have(case: Case) -> None:
    found, _ = at_the_search(case)
    for number, halves in ((2, True), (3, False), (4, False)):
        found.progress.epoch = number
        begin_epoch(found, found.schedule[number])
        assert (found.twin is not None) == halves
    assert found.model.latents_on


def test_latents_join_after_the_halves_at_the_earliest(case: Case) -> None:
    found, _ = at_the_search(case, held_out_epochs=9, latent_epoch=1)
    found.progress.epoch = 2
    begin_epoch(found, found.schedule[2])
    assert found.twin is None


@pytest.mark.parametrize("changes", [{}, {"spare_fields": 2}, {"map_schedule": (4, 4, 5)}, {"classes": 1}])
def test_a_run_with_halves_ends_as_others_do(case: Case, changes: dict[str, Any]) -> None:
    found = run(case.stack, tiny(**{**HELD_OUT, **changes}))
    assert found.twin is None
    assert found.model.tables.classes == changes.get("classes", 2)
    assert all(np.isfinite(row["loss"]) for row in found.history.rows)
