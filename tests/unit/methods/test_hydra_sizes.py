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
from hydra_bench.methods.hydra.fit.train import start
from hydra_bench.methods.hydra.fit.training_input import TrainingInput
from hydra_bench.methods.hydra.settings import PRESETS, Settings

GPU = torch.device("cuda")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("n", [60, 100_000])
def test_a_cpu_has_what_is_set(preset: str, n: int) -> None:
    settings = Settings.from_parameters({"preset": preset})
    found = Sizes.of(settings, n, 128, CPU)
    assert (found.chunk, found.refine_chunk) == (settings.chunk, settings.refine_chunk)


@pytest.mark.parametrize(
    ("changes", "n", "box_px", "chunk"),
    [
        ({}, 1_500, 48, 125),  # the demo: twelve chunks a pass
        ({}, 3_000, 128, 250),
        ({}, 20_000, 128, 1_650),
        ({}, 100_000, 128, 2_000),
        ({"classes": 16}, 100_000, 128, 8_325),  # of each class as many
        ({"classes": 16}, 100_000, 256, 4_075),  # whose images fit
        ({"larger_on_gpu": False}, 100_000, 128, 125),
        ({"preset": "paper"}, 100_000, 128, 500),
    ],
)
def test_a_gpu_has_larger_chunks_where_the_stack_is_large(
    changes: dict[str, Any], n: int, box_px: int, chunk: int
) -> None:
    settings = Settings.from_parameters({"preset": "fast", **changes})
    found = Sizes.of(settings, n, box_px, GPU)
    assert found == Sizes(chunk, settings.refine_chunk, max(chunk, settings.refine_chunk))


def begun(case: Case, **changes: Any) -> Run:
    return start(TrainingInput(case.stack, tiny(refine_schedule=(5,), grow_epochs=1, **changes)), CPU, Parallel())


def test_a_run_keeps_its_sizes(case: Case) -> None:
    """Also where it goes on with other hardware."""
    run = begun(case)
    run.sizes = Sizes(60, 1000, 60)
    state, elsewhere = copy.deepcopy(run.state()), begun(case)
    assert elsewhere.sizes != run.sizes
    elsewhere.restore(state)
    assert elsewhere.sizes == run.sizes
    elsewhere.plan_memory(elsewhere.schedule[0])
    assert elsewhere.coarse_batch == 60
