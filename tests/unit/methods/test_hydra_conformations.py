"""Latents by Newton steps against exact posteriors, their scale, and the conformations in which poses are searched."""

import numpy as np
import pytest
import torch
from hydra_cases import CPU, Case, in_double, load_batch, run, tiny

from hydra_bench.methods.hydra.data.images import Frequencies, ImageBatch, centred_images
from hydra_bench.methods.hydra.fit.conformations import (
    infer_latents,
    nearest,
    newton_step,
    representatives,
    scale_latents,
)
from hydra_bench.methods.hydra.model.model import Model
from hydra_bench.methods.hydra.model.rendering import render_map
from hydra_bench.methods.hydra.model.tables import ParticleTables
from hydra_bench.methods.hydra.settings import Settings

FREQUENCIES = Frequencies.of_box(32, 6)


class LinearField(torch.nn.Module):
    """A field that is linear in its latents, so that the posterior of these is normal: V = a(k) + Σ z_j u_j(k)."""

    def embedded(self, points: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.cos(points @ w) for w in torch.eye(3, dtype=points.dtype)], -1)

    def at_latents(self, embedded: torch.Tensor, points: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        return embedded[..., 0] + (embedded[..., 1:] * latents[:, None]).sum(-1)


@pytest.fixture
def batch(case: Case) -> ImageBatch:
    return in_double(load_batch(case.stack, FREQUENCIES, np.arange(4)))


@pytest.mark.parametrize("prior", [1.0, 0.3])
def test_a_newton_step_of_a_linear_field_gives_the_posterior(case: Case, batch: ImageBatch, prior: float) -> None:
    rotations = torch.from_numpy(case.truth.rotations[:4])
    shifts = torch.tensor([[0.5, -0.25]] * 4, dtype=torch.float64)
    images = centred_images(batch.hartley, shifts, batch.plane, batch.box_px)
    basis = LinearField().embedded(batch.plane @ rotations) * batch.ctf[..., None]
    u, rest = basis[..., 1:], images - basis[..., 0]
    precision = u.mT @ u + prior * torch.eye(2)
    expected = torch.linalg.solve(precision, (u.mT @ rest[..., None])[..., 0])  # ridge regression on two directions
    mean, log_sd = newton_step(LinearField(), batch, (rotations, shifts), expected + 0.5, len(FREQUENCIES), prior)
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close((-2 * log_sd).exp(), precision.diagonal(dim1=1, dim2=2))


def test_a_newton_step_is_not_longer_than_its_slope_holds(case: Case, batch: ImageBatch) -> None:
    rotations, shifts = torch.from_numpy(case.truth.rotations[:4]), torch.zeros(4, 2, dtype=torch.float64)
    far = torch.full((4, 2), 30.0, dtype=torch.float64)
    mean, _ = newton_step(LinearField(), batch, (rotations, shifts), far, len(FREQUENCIES))
    assert float((mean - far).abs().max()) == pytest.approx(1.0)


def test_a_part_of_the_frequencies_stands_for_all(case: Case, batch: ImageBatch) -> None:
    rotations, shifts = torch.from_numpy(case.truth.rotations[:4]), torch.zeros(4, 2, dtype=torch.float64)
    start, n = torch.zeros(4, 2, dtype=torch.float64), len(FREQUENCIES)
    whole = newton_step(LinearField(), batch, (rotations, shifts), start, n)
    twice = ImageBatch(*(torch.cat([x, x], -1) for x in (batch.hartley, batch.ctf)), batch.plane.repeat(2, 1), 32)
    for a, b in zip(whole, newton_step(LinearField(), twice, (rotations, shifts), start, n), strict=True):
        torch.testing.assert_close(a, b)


def model_of(latent_dim: int | tuple[int, ...], n: int) -> Model:
    torch.manual_seed(3)
    settings = Settings(classes=2, latent_dim=latent_dim, features=8, width=12, depth=1, spare_fields=0)
    return Model.create(settings, n, 0, torch.ones(17), CPU)


def test_latents_move_in_the_classes_that_a_particle_may_belong_to(case: Case, batch: ImageBatch) -> None:
    model = model_of((2, 0), 8)
    model.field_weights().double()
    model.tables.double()
    model.tables.posteriors[:] = torch.tensor([0.0, 1.0], dtype=torch.float64)
    model.tables.posteriors[:2] = 0.5
    before = model.tables.latents[0].weight.clone()
    belongs = model.tables.posteriors[:4] > 0.02
    infer_latents(model, Settings(latent_prior=1.0), batch, torch.arange(4), belongs, len(FREQUENCIES), 1)
    moved = (model.tables.latents[0].weight != before).any(1)
    assert moved.tolist() == [True, True, *[False] * 6]
    assert model.tables.latents[1].weight.numel() == 0


def test_scaling_changes_latents_and_no_map() -> None:
    model = model_of(2, 40)
    torch.nn.init.normal_(model.tables.latents[0].weight, std=3.0)
    model.tables.posteriors[:] = torch.tensor([1.0, 0.0])
    field, table = model.fields[0], model.tables.latents[0]
    before = render_map(field, 16, table.weight[7, :2])
    scale_latents(model)
    mean, log_sd = table.weight.detach().chunk(2, 1)
    torch.testing.assert_close((mean.square() + (2 * log_sd).exp()).mean(0), torch.ones(2))
    torch.testing.assert_close(render_map(field, 16, table.weight[7, :2]), before, rtol=1e-4, atol=1e-5)
    assert (model.tables.latents[1].weight[:, :2] == 0).all()  # nobody is in the second class


def tables_of(means: torch.Tensor, log_sd: tuple[float, ...] = (-2.0, -2.0)) -> ParticleTables:
    tables = ParticleTables(len(means), (means.shape[1], 0))
    with torch.no_grad():
        tables.latents[0].weight[:] = torch.cat([means, torch.tensor(log_sd).expand_as(means)], 1)
    tables.posteriors[:] = torch.tensor([1.0, 0.0])
    return tables


def test_poses_are_searched_where_the_conformations_are() -> None:
    distinct = torch.tensor([[-2.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    means = distinct.repeat_interleave(20, 0) + 0.01 * torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
    tables = tables_of(means)
    centres = representatives(tables, 3, np.random.default_rng(0))
    found = torch.stack(centres[0])
    torch.testing.assert_close(found[found[:, 0].argsort()], distinct, atol=0.02, rtol=0)
    active = torch.tensor([True, False]).expand(60, -1).clone()
    active[7] = False
    groups, rigid = nearest(tables, torch.arange(60), active, centres)
    rows = sorted(sorted(some.tolist()) for some in groups)
    assert rows == [[row for row in range(first, first + 20) if row != 7] for first in (0, 20, 40)]
    assert [some.tolist() for some in rigid] == [[]]


def test_directions_that_are_not_known_are_not_searched() -> None:
    means = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
    centres = torch.stack(representatives(tables_of(means, (-2.0, -0.2)), 3, np.random.default_rng(0))[0])
    assert float(centres[:, 0].std()) > 0.5
    torch.testing.assert_close(centres[:, 1], means[:, 1].mean().expand(3))
    assert len(representatives(tables_of(means, (-0.2, -0.2)), 3, np.random.default_rng(0))[0]) == 1


def test_one_conformation_where_there_is_no_more() -> None:
    rng = np.random.default_rng(0)
    alike = tables_of(torch.full((60, 2), 0.4))
    moving, rigid = representatives(alike, 3, rng)
    assert torch.stack(moving).tolist() == [pytest.approx([0.4, 0.4])]
    assert rigid == [None]
    few = tables_of(torch.randn(11, 2, generator=torch.Generator().manual_seed(1)))
    assert len(representatives(few, 3, rng)[0]) == 1
    groups = nearest(alike, torch.arange(5), torch.ones(5, 2, dtype=torch.bool), [moving, rigid])
    assert [[rows.tolist() for rows in of_class] for of_class in groups] == [[[0, 1, 2, 3, 4]]] * 2


@pytest.mark.parametrize("steps", ["newton", "gradient"])
def test_latents_are_learned_either_way(case: Case, steps: str) -> None:
    trained = run(case.stack, tiny(latent_steps=steps, l_schedule=(4, 4, 5), search_conformations=2))
    latents = trained.model.tables.latents[0].weight[:, :1].detach()
    assert latents.isfinite().all()
    assert float(latents.std()) > 0
