"""How many particles are worked on at a time: as set on a CPU, more on a GPU, and the same to a run's end."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hydra_cases import CPU, Case, tiny

from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.run_state import Run
from hydra_bench.methods.hydra.fit.sizes import Sizes
from hydra_bench.methods.hydra.fit.train import begin_epoch, start
from hydra_bench.methods.hydra.fit.training_input import TrainingInput
from hydra_bench.methods.hydra.settings import PRESETS, Settings

GPU = torch.device("cuda")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("n", [60, 100_000])
def test_a_cpu_has_what_is_set(preset: str, n: int) -> None:
    settings = Settings.from_parameters({"preset": preset})
    found = Sizes.of(settings, n, 128, CPU)
    assert (found.chunk, found.refine_chunk, found.minibatch) == (
        settings.chunk,
        settings.refine_chunk,
        settings.minibatch,
    )


@pytest.mark.parametrize(
    ("changes", "n", "box_px", "chunk", "minibatch"),
    [
        ({}, 1_500, 48, 125, 25),  # the demo: sixty steps and twelve chunks an epoch
        ({}, 3_000, 128, 250, 50),
        ({}, 20_000, 128, 1_600, 100),
        ({}, 100_000, 128, 2_000, 100),
        ({"classes": 16}, 100_000, 128, 8_300, 100),  # of each class as many
        ({"classes": 16}, 100_000, 256, 4_000, 100),  # whose images fit
        ({"larger_on_gpu": False}, 100_000, 128, 125, 25),
        ({"gating": "encoder"}, 100_000, 128, 2_000, 25),
        ({"minibatch": 200, "chunk": 400}, 100_000, 128, 1_600, 800),
        ({"preset": "paper"}, 100_000, 128, 500, 32),
    ],
)
def test_a_gpu_has_more_where_the_stack_is_large(
    changes: dict[str, Any], n: int, box_px: int, chunk: int, minibatch: int
) -> None:
    settings = Settings.from_parameters({"preset": "fast", **changes})
    found = Sizes.of(settings, n, box_px, GPU)
    assert (found.chunk, found.minibatch) == (chunk, minibatch)
    assert found.search_batch == max(chunk, settings.refine_chunk)


def begun(case: Case, **changes: Any) -> Run:
    return start(TrainingInput(case.stack, tiny(refine_schedule=(5,), grow_epochs=1, **changes)), CPU, Parallel())


def test_minibatches_grow_where_images_do(case: Case) -> None:
    """In the search and in auto-decoding; not in pre-training, whose images are few, nor of the larger fields."""
    run = begun(case)
    run.sizes = Sizes(60, 1000, 60, 8)
    found = {}
    for number, epoch in enumerate(run.schedule):
        run.progress.epoch = number
        begin_epoch(run, epoch)
        found[epoch.phase] = run.minibatch(epoch)
    s = run.settings
    assert found == {"pretrain": s.minibatch, "search": 60} | dict.fromkeys(
        ("grow", "refine", "decode"), s.fine_minibatch
    )


def test_a_run_keeps_its_sizes(case: Case) -> None:
    """Also where it goes on with other hardware."""
    run = begun(case)
    run.sizes = Sizes(60, 1000, 30, 60)
    state, elsewhere = copy.deepcopy(run.state()), begun(case)
    assert elsewhere.sizes != run.sizes
    elsewhere.restore(state)
    assert elsewhere.sizes == run.sizes
    elsewhere.plan_memory(elsewhere.schedule[0])
    assert elsewhere.coarse_batch == 60
