"""What may be computed in a GPU's reduced precision, and what that costs, by rounding operands on the CPU."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hydra_cases import CPU, Case, grid_of, load_batch, run, tiny
from torch.utils._python_dispatch import TorchDispatchMode

from hydra_bench.methods.hydra.data.images import Frequencies
from hydra_bench.methods.hydra.fit.pose_search import BaseGrid, SearchPlan, search, shift_grid
from hydra_bench.methods.hydra.model.precision import Precision, product, rounded_to_tf32
from hydra_bench.physics.rotations import angular_distance_deg, half_hopf_grid


@pytest.fixture
def emulated_precision() -> Iterator[None]:
    Precision.emulated = True
    yield
    Precision.emulated = False


def test_rounding_keeps_ten_bits_of_the_mantissa() -> None:
    x = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11, 1 + 2**-12, -3.0 - 2**-9 - 2**-12, 0.0, -0.0, 1e-20])
    expected = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-10, 1.0, -3.0 - 2**-9, 0.0, -0.0, 1e-20])
    torch.testing.assert_close(rounded_to_tf32(x), expected, rtol=2**-11, atol=0)
    assert torch.equal(rounded_to_tf32(x)[:7], expected[:7])


def test_gradients_of_a_product_are_made_in_its_precision(emulated_precision: None) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 5, 5, generator=generator, requires_grad=True) for _ in range(2))
    weights = torch.randn(2, 5, 5, generator=generator)
    (product(a, b) * weights).sum().backward()
    exact = (weights.double() @ b.detach().double().mT).float()
    assert a.grad is not None
    error = (a.grad - exact).norm() / exact.norm()
    assert 1e-5 < float(error) < 2e-3


def test_a_search_with_rounded_operands_finds_the_same_poses(case: Case, emulated_precision: None) -> None:
    """Poses of 30 images in the true map: rounding moves few of them by one step of the last subdivision."""
    frequencies, particles = Frequencies.of_box(32, 10), np.arange(30)
    batch, grid = load_batch(case.stack, frequencies, particles), grid_of(case.volume(0), 10)
    counts = tuple(frequencies.count(l) for l in (7, 8, 10))
    base = BaseGrid(torch.from_numpy(half_hopf_grid(1)).float(), frequencies.count(6))
    shifts = shift_grid(2.0, 3, CPU)[None]
    plan = SearchPlan(np.radians(30), 2.0, (8, 4, 2), counts, 100, 10, base)
    rounded = search(batch, grid, shifts, plan)
    Precision.emulated = False
    exact = search(batch, grid, shifts, plan)
    apart = angular_distance_deg(*(found.rotations[:, 0].double().numpy() for found in (rounded, exact)))
    same = apart < 0.1
    assert np.mean(same) >= 0.9
    assert (rounded.errors - exact.errors)[same].abs().max() < 2e-3 * exact.errors.abs().max()


def test_a_run_with_rounded_operands_learns_as_well(case: Case, emulated_precision: None) -> None:
    rounded = run(case.stack, tiny())
    Precision.emulated = False
    exact = run(case.stack, tiny())
    last = [found.history.rows[-1]["loss"] for found in (rounded, exact)]
    assert last[0] == pytest.approx(last[1], rel=0.02)


PRODUCTS = {"mm", "bmm", "addmm", "baddbmm"}


class RoundsAsAGpu(TorchDispatchMode):
    """Rounds the operands of products of matrices where a GPU would, at the precision that is set at the time."""

    def __init__(self) -> None:
        super().__init__()
        self.met = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function.name().split("::")[1].split(".")[0] in PRODUCTS:
            self.met += 1
            if torch.backends.cuda.matmul.allow_tf32:
                args = [*args[:-2], *(rounded_to_tf32(x) for x in args[-2:])]
        return function(*args, **(kwargs or {}))


def test_only_what_is_named_is_computed_in_reduced_precision(case: Case) -> None:
    """Rotations, coordinates and phases are full float32 in a run, whatever the process has set before."""
    exact = run(case.stack, tiny())
    torch.set_float32_matmul_precision("high")
    try:
        with RoundsAsAGpu() as rounds:
            third = torch.full((2, 2), 1 / 3) @ torch.eye(2)
            found = run(case.stack, tiny())
    finally:
        torch.set_float32_matmul_precision("highest")
    assert third[0, 0] != torch.tensor(1 / 3)  # what is not a run's is rounded
    assert rounds.met > 100
    for weights, as_exact in zip(
        found.model.field_weights().parameters(), exact.model.field_weights().parameters(), strict=True
    ):
        assert torch.equal(weights, as_exact)
    assert torch.equal(found.model.tables.rotations, exact.model.tables.rotations)
