"""Losses and gradients against finite differences, in double precision; minibatches in parts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra_cases import CPU, Case, in_double, load_batch
from torch import distributed

from hydra_bench.methods.hydra.data.images import Frequencies, ImageBatch, random_pairs
from hydra_bench.methods.hydra.fit.batched_steps import ChunkOfImages, Recorder, batched_sweep, places
from hydra_bench.methods.hydra.fit.gradient_steps import (
    Step,
    class_errors,
    divergence,
    learning_step,
    minibatch_loss,
    negligible,
)
from hydra_bench.methods.hydra.fit.likelihood import balancing, fading, mixture_loss, posteriors, softening_of
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.model.model import Model
from hydra_bench.methods.hydra.model.networks import Field
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.physics.rotations import rotation_from_vector

FREQUENCIES = Frequencies.of_box(32, 8)
SMALL = Settings(classes=3, latent_dim=(2, 1, 0), features=6, width=8, depth=1, spare_fields=0, encoder_width=8,
                 encoder_depth=1, decode_epochs=1, latent_steps="gradient")  # fmt: skip


def images(case: Case, n: int = 4) -> ImageBatch:
    return in_double(load_batch(case.stack, FREQUENCIES, np.arange(n)))


def model_of(settings: Settings, n: int = 4, dtype: torch.dtype = torch.float64) -> Model:
    """A model away from its start: latents, scores, corrections and posteriors drawn; in double precision by itself."""
    torch.manual_seed(2)
    model = Model.create(settings, n, FREQUENCIES.count(4), torch.linspace(4, 1, 9), CPU)
    if dtype == torch.float64:
        model.field_weights().double()
        model.tables.double()
        if model.encoder is not None:
            model.encoder.double()
    if model.encoder is not None:
        torch.nn.init.normal_(model.encoder.last.weight, std=0.1)
    for table in (model.tables.scores, model.tables.corrections, *model.tables.latents):
        torch.nn.init.normal_(table.weight, std=0.1)
    model.tables.posteriors[:] = torch.softmax(torch.randn(n, model.tables.classes, dtype=dtype), 1)
    model.latents_on = True
    return model


def step_of(settings: Settings, softening: float | None, part: int = 100) -> Step:
    return Step(settings, 500, softening, 4, part, torch.Generator().manual_seed(9), Parallel())


def parameters(model: Model) -> dict[str, torch.nn.Parameter]:
    named = {f"fields.{name}": p for name, p in model.field_weights().named_parameters()}
    named |= {f"tables.{name}": p for name, p in model.tables.named_parameters() if p.numel()}
    if model.encoder is not None:
        named |= {f"encoder.{name}": p for name, p in model.encoder.named_parameters()}
    return named


def test_pose_and_latent_gradients_against_differences(case: Case) -> None:
    torch.manual_seed(0)
    field, batch = Field(16, 24, 2, 2, 0.1, torch.ones(17)).double(), images(case, 2)
    batch, base = batch.at(torch.arange(0, 60)), torch.from_numpy(case.truth.rotations[:2])

    def loss(vector: torch.Tensor) -> torch.Tensor:
        turn, shift, latent = vector[:, :3], vector[:, 3:5], vector[:, 5:]
        return class_errors(field, batch, rotation_from_vector(turn) @ base, shift, latent)

    point = torch.randn(2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 0.1
    assert torch.autograd.gradcheck(loss, point.requires_grad_(), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("softening", [None, 300.0], ids=["search", "decode"])
@pytest.mark.parametrize("kind", ["table", "encoder"])
@pytest.mark.parametrize("variational", [False, True], ids=["point", "variational"])
def test_every_gradient_of_a_minibatch_against_differences(
    case: Case, softening: float | None, kind: str, variational: bool
) -> None:
    """The loss along a random direction of each parameter, of fields, tables and encoder alike."""
    settings = replace(SMALL, variational=variational, gating=kind, conformations=kind)
    model, batch, particles = model_of(settings), images(case), torch.arange(4)
    held = model.tables.posteriors.clone()
    some = batch.at(random_pairs(len(FREQUENCIES), 60, torch.Generator().manual_seed(1)))
    low = batch.at(slice(None, FREQUENCIES.count(4)))

    def loss() -> torch.Tensor:
        model.tables.posteriors.copy_(held)  # an encoder's step writes them
        encoded = model.encoder(low) if model.encoder is not None else None
        return minibatch_loss(model, some, encoded, particles, step_of(settings, softening))[0]

    loss().backward()
    generator, checked = torch.Generator().manual_seed(4), []
    for name, p in parameters(model).items():
        if p.grad is None:
            continue
        gradient, start = p.grad.to_dense() if p.grad.is_sparse else p.grad, p.detach().clone()
        direction = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                p.copy_(start + sign * 1e-6 * direction)
                ends.append(float(loss()))
                p.copy_(start)
        expected = float((gradient * direction).sum())
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(expected, rel=2e-4, abs=1e-5), name
        checked.append(name)
    found = {name.split(".")[1] for name in checked if name.startswith("tables")}
    wanted = set() if softening is None else {"corrections"}
    if kind == "table":
        wanted |= {"latents"} | (set() if softening is None else {"scores"})
    assert found == wanted
    assert any(name.startswith("encoder") for name in checked) == (kind == "encoder")


@pytest.mark.parametrize("variational", [False, True], ids=["point", "variational"])
def test_the_loss_is_weighted_errors_and_the_prior(case: Case, variational: bool) -> None:
    """Σ r_ik (e_ik + prior_ik / n) while posteriors are held; with them learned the likelihood of the mixture."""
    batch, particles = images(case), torch.arange(4)
    with_prior, without = (replace(SMALL, variational=variational, latent_prior=weight) for weight in (1.0, 0.0))
    model = model_of(with_prior)
    tables, found = model.tables, {}
    for name, settings in (("with", with_prior), ("without", without)):
        for softening in (None, 300.0):
            loss, data_term = minibatch_loss(model, batch, None, particles, step_of(settings, softening))
            found[name, softening] = float(loss.detach())
            assert name == "with" or float(data_term.detach()) == float(loss.detach())
    prior = torch.zeros((), dtype=torch.float64)
    for k, d in enumerate(tables.latent_dims):
        if d:
            mean, log_sd = tables.latent(particles, k)
            cost = divergence(mean, log_sd) if variational else 0.5 * mean.square().sum(1)
            prior += (tables.posteriors[:, k] * cost).sum().detach() / 500
    for softening in (None, 300.0):
        difference = found["with", softening] - found["without", softening]
        assert difference == pytest.approx(float(prior), rel=1e-5)
    if variational:  # the errors are at latents that were drawn
        return
    errors = torch.stack(
        [
            class_errors(field, batch, *tables.pose(particles, k), tables.latent(particles, k)[0] if d else None)
            for (k, field), d in zip(enumerate(model.fields), tables.latent_dims, strict=True)
        ],
        1,
    ).detach()
    assert found["without", None] == pytest.approx(float((tables.posteriors * errors).sum()))
    summed = errors * 500  # e_ik of all n frequencies
    joint = torch.softmax(tables.scores.weight.detach(), 1) * torch.exp(-summed / 300)
    assert found["without", 300.0] == pytest.approx(float(-300 / 500 * joint.sum(1).log().sum()))


@pytest.mark.parametrize("kind", ["table", "encoder"])
@pytest.mark.parametrize("softening", [None, 300.0], ids=["search", "decode"])
def test_minibatches_in_parts_have_the_same_gradients(case: Case, softening: float | None, kind: str) -> None:
    settings, found, losses = replace(SMALL, variational=False, gating=kind, conformations=kind), [], []
    for part in (100, 3, 1):
        model, batch = model_of(settings), images(case)
        model.step = lambda *_: None  # type: ignore[method-assign]
        low = batch.at(slice(None, FREQUENCIES.count(4)))
        losses.append(float(learning_step(model, batch, low, torch.arange(4), step_of(settings, softening, part))))
        grads = {name: p.grad for name, p in parameters(model).items() if p.grad is not None}
        found.append({name: grad.to_dense() if grad.is_sparse else grad for name, grad in grads.items()})
    assert losses == pytest.approx([losses[0]] * 3)
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for name, gradient in found[0].items():
            torch.testing.assert_close(other[name], gradient, msg=lambda text, name=name: f"{name}: {text}")


def test_given_poses_that_are_fixed_have_no_gradient(case: Case) -> None:
    settings = replace(SMALL, poses="fixed")
    model, batch = model_of(settings), images(case)
    minibatch_loss(model, batch, None, torch.arange(4), step_of(settings, 300.0))[0].backward()
    assert model.tables.corrections.weight.grad is None
    assert model.tables.scores.weight.grad is not None


def test_negligible_classes_are_left_out_of_a_step(case: Case) -> None:
    settings = replace(SMALL, latent_dim=(1, 1, 1), negligible=0.02)
    model = model_of(settings)
    model.tables.posteriors[:] = torch.tensor([0.99, 0.01, 0.0], dtype=torch.float64)
    minibatch_loss(model, images(case), None, torch.arange(4), step_of(settings, None))[0].backward()
    touched = [any(p.grad is not None for p in field.parameters()) for field in model.fields]
    assert touched == [True, False, False]


def test_loss_gradients_are_posteriors() -> None:
    generator = torch.Generator().manual_seed(0)
    errors = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e, s: mixture_loss(e, s, 0.7), (errors, scores))
    mixture_loss(errors, scores, 0.7).backward()
    expected = posteriors(errors.detach(), 0.7, torch.log_softmax(scores.detach(), 1))
    torch.testing.assert_close(errors.grad * 5, expected)


def test_classes_left_out_have_no_share() -> None:
    errors = torch.tensor([[1.0, torch.inf], [0.5, 0.4]])
    torch.testing.assert_close(posteriors(errors, 0.1)[0], torch.tensor([1.0, 0.0]))
    assert torch.isfinite(mixture_loss(errors, torch.zeros(2, 2), 0.1))


@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0], ids=["soft", "even", "sharp"])
def test_balanced_classes_have_equal_shares(spread: float) -> None:
    """However uneven the evidence is; what is added to all of a class is taken off again, and nothing else changes."""
    logits = spread * torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    weights = balancing(logits, Parallel())
    torch.testing.assert_close(torch.softmax(logits + weights, 1).mean(0), torch.full((4,), 0.25), atol=0.02, rtol=0)
    uneven = torch.tensor([0.0, 50.0, -20.0, 3.0])
    again = torch.softmax(logits + uneven + balancing(logits + uneven, Parallel()), 1)
    torch.testing.assert_close(again.mean(0), torch.full((4,), 0.25), atol=0.02, rtol=0)
    torch.testing.assert_close(again, torch.softmax(logits + weights, 1), atol=0.1, rtol=0)


def test_a_class_that_nobody_was_searched_in_stays_empty() -> None:
    logits = torch.tensor([[0.0, 1.0, -torch.inf], [1.0, 0.0, -torch.inf]])
    weights = balancing(logits, Parallel())
    assert torch.isfinite(weights).all()
    torch.testing.assert_close(torch.softmax(logits + weights, 1).mean(0), torch.tensor([0.5, 0.5, 0.0]))


def test_the_softening_scales_with_the_errors() -> None:
    errors, alone = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), Parallel()
    first = softening_of(errors, 2.0, alone)
    assert softening_of(10 * errors, 2.0, alone) == pytest.approx(10 * first, rel=1e-5)
    assert softening_of(errors + 7 * errors[:, :1], 2.0, alone) == pytest.approx(first, rel=1e-5)
    assert softening_of(errors, 4.0, alone) == pytest.approx(first / 2, rel=1e-5)
    assert softening_of(errors[:5], 2.0, alone) is None


def test_divergence_is_the_integral() -> None:
    """KL of N(mean, sd²) from N(0, 1) in one dimension, summed numerically; zero for the prior itself."""
    zero = torch.zeros(2, 3)
    torch.testing.assert_close(divergence(zero, zero), torch.zeros(2))
    x = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    for mean, log_sd in ((0.7, -0.5), (-1.5, 0.3)):
        q = torch.distributions.Normal(mean, float(np.exp(log_sd)))
        ratio = q.log_prob(x) - torch.distributions.Normal(0.0, 1.0).log_prob(x)
        expected = torch.trapezoid(q.log_prob(x).exp() * ratio, x)
        found = divergence(torch.tensor([[mean]], dtype=torch.float64), torch.tensor([[log_sd]], dtype=torch.float64))
        torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=0)


def test_random_frequencies_come_in_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    some = random_pairs(40, 11, generator)
    assert len(some) == 10
    assert torch.equal(some[::2] + 1, some[1::2])
    assert (some.diff() > 0).all()
    for m in (0, 40, 100):
        assert torch.equal(random_pairs(40, m, generator), torch.arange(40))


@pytest.mark.parametrize("softening", [None, 300.0], ids=["search", "decode"])
@pytest.mark.parametrize("kind", ["table", "encoder"])
def test_all_classes_at_once_make_the_step_of_one_after_the_other(
    case: Case, softening: float | None, kind: str
) -> None:
    """Weights, tables and encoder after three steps, of the batched way and of the other, in single precision."""
    settings = replace(SMALL, variational=False, gating=kind, conformations=kind, negligible=0.3)
    batch = load_batch(case.stack, FREQUENCIES, np.arange(12))
    low, particles, found = batch.at(slice(None, FREQUENCIES.count(4))), torch.arange(12), []
    for batched in (False, True):
        model = model_of(settings, 12, torch.float32)
        losses = []
        for rows in torch.arange(12).split(4):
            step = step_of(settings, softening)
            if batched:
                belongs = model.tables.posteriors > negligible(settings, 3)
                chunk = ChunkOfImages(batch, low, particles, belongs)
                assert 0 < int(belongs.sum()) < belongs.numel()
                losses.append(float(batched_sweep(model, Recorder(on=False), chunk, [(rows, 4)], step)))
            else:
                losses.append(float(learning_step(model, batch.take(rows), low.take(rows), particles[rows], step)))
        found.append({"losses": torch.tensor(losses), **{name: p.detach() for name, p in parameters(model).items()}})
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, atol=2e-5, rtol=1e-3, msg=lambda t, n=name: f"{n}: {t}")


def test_places_of_a_minibatch() -> None:
    """Every particle stands in all classes that it belongs to, and no class has one twice."""
    belongs = torch.rand(40, 5, generator=torch.Generator().manual_seed(0)) < 0.2
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(1))[:25]
    order, taken = places(belongs, rows)
    assert order.shape == taken.shape == (5, 16) or order.shape[1] in (4, 8, 25)
    for k in range(5):
        assert len(set(order[k].tolist())) == order.shape[1]
        assert sorted(order[k][taken[k]].tolist()) == belongs[rows, k].nonzero()[:, 0].tolist()


@pytest.mark.parametrize("batched", [False, True], ids=["one after the other", "at once"])
def test_bytes_exchanged_in_a_step(case: Case, batched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message a step: the fields' gradients and one number a field that says whether it has any."""
    settings, sent = replace(SMALL, variational=False), []
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: sent.append(tensor.numel() * tensor.element_size()))
    model, step = model_of(settings, 4, torch.float32), replace(step_of(settings, 300.0), parallel=Parallel(0, 2))
    batch, particles = load_batch(case.stack, FREQUENCIES, np.arange(4)), torch.arange(4)
    if batched:
        chunk = ChunkOfImages(batch, None, particles, torch.ones(4, 3, dtype=torch.bool))
        batched_sweep(model, Recorder(on=False), chunk, [(particles, 8)], step)
    else:
        learning_step(model, batch, None, particles, step)
    assert sent == [4 * (model.stack.weights.numel() + 3)]


def test_the_pull_to_equal_shares_fades() -> None:
    assert [fading(number, 4) for number in range(6)] == [1, 1, 1, 0.5, 0, 0]
    assert [fading(number, 1) for number in range(2)] == [1, 0]
    assert fading(0, 0) == 0
