"""Whole runs on a tiny stack: repeatable, consistent, with every choice of latents, encoders and classes."""

from typing import Any

import numpy as np
import pytest
import torch
from hydra_cases import CPU, Case, run, tiny

from hydra_bench.methods.hydra.fit.chunks import classes_to_search
from hydra_bench.methods.hydra.fit.likelihood import BY_CHANCE, most_needed
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.run_state import Run
from hydra_bench.methods.hydra.fit.train import start
from hydra_bench.methods.hydra.fit.training_input import TrainingInput
from hydra_bench.methods.hydra.output.reconstruction import assignments, settle_latents
from hydra_bench.methods.hydra.settings import PRESETS


def check_consistent(found: Run, n: int) -> None:
    """What every finished run must hold."""
    a, tables = assignments(found, 9.9), found.model.tables
    np.testing.assert_allclose(a.posteriors.sum(1), 1, atol=1e-5)
    assert (a.posteriors >= 0).all()
    np.testing.assert_array_equal(a.classes, a.posteriors.argmax(1))
    np.testing.assert_allclose(np.linalg.det(a.rotations), 1, atol=1e-4)
    assert a.latents.shape == (n, max(tables.latent_dims))
    for name in ("shifts_A", "latents"):
        assert np.isfinite(getattr(a, name)).all()
    sizes = [found.history.rows[-1][f"size_{k + 1}"] for k in range(tables.classes)]
    assert sizes == tables.class_sizes()
    assert sum(sizes) == n


def test_training_is_repeatable_and_consistent(case: Case) -> None:
    rows: list[dict[str, Any]] = []
    seen: list[int] = []
    first = run(case.stack, tiny(), report=lambda row, tables: rows.append(row), advance=seen.append)
    second = run(case.stack, tiny())
    a, b = (assignments(r, case.stack.pixel_size_A) for r in (first, second))
    for name in ("classes", "posteriors", "rotations", "shifts_A", "latents"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    check_consistent(first, 60)
    assert [(row["phase"], row["epoch"], row["l"]) for row in rows] == [("search", 0, 4), ("search", 1, 5),
                                                                        ("decode", 0, 15)]  # fmt: skip
    assert rows[-1]["images_seen"] == first.history.images_seen == sum(seen) == 20 + 3 * 60
    assert run(case.stack, tiny(), 6).history.rows[-1]["loss"] != rows[-1]["loss"]


def test_learning_lowers_the_loss(case: Case) -> None:
    rows = run(case.stack, tiny(l_schedule=(4,) * 4, decode_epochs=3)).history.rows
    assert rows[3]["loss"] < rows[0]["loss"]
    assert rows[6]["loss"] < rows[4]["loss"]


@pytest.mark.parametrize(
    ("changes", "dims"),
    [
        ({"classes": 3, "latent_dim": (2, 2, 0), "negligible": 0.0}, (2, 2, 0)),
        ({"latent_dim": 0}, (0, 0)),
        ({"classes": 1, "latent_dim": 2}, (2,)),
        ({"classes": 1, "latent_dim": 0}, (0,)),
        ({"variational": False}, (1, 1)),
        ({"sigma": 3.0}, (1, 1)),
        ({"pretrain_images": 0, "spare_fields": 0, "full_search_epochs": 0}, (1, 1)),
        ({"l_schedule": (5,), "l_coarse": 3, "march_in_search": True}, (1, 1)),
        ({"frequencies_per_step": 0}, (1, 1)),
        ({"search_images": 150, "l_schedule": (3, 6)}, (1, 1)),
        ({"memory_gb": 1e-9}, (1, 1)),
        ({"classes": 2, "decode_epochs": 0}, (1, 1)),
        (PRESETS["field"] | {"negligible": 0.0, "map_schedule": (4, 5), "l_schedule": (4, 5)}, (1, 1)),
        ({"invert": True, "normalise": "image", "window": 0.9, "downsample_px": 25}, (1, 1)),
    ],
)
def test_every_kind_of_run_ends_consistent(case: Case, changes: dict[str, Any], dims: tuple[int, ...]) -> None:
    found = run(case.stack, tiny(**changes))
    assert found.model.tables.latent_dims == dims
    check_consistent(found, 60)
    assert all(torch.isfinite(p).all() for p in found.model.field_weights().parameters())
    moved = [bool(table.weight.abs().max() > 0) for table, d in zip(found.model.tables.latents, dims, strict=True) if d]
    assert all(moved)


def test_latents_of_smaller_classes_end_in_zeros(case: Case) -> None:
    found = run(case.stack, tiny(classes=3, latent_dim=(2, 1, 0), negligible=0.0, sigma=10.0))
    a = assignments(found, 9.9)
    assert (a.latents[a.classes == 2] == 0).all()
    assert (a.latents[a.classes == 1, 1] == 0).all()


def test_a_rigid_class_ignores_when_latents_begin(case: Case) -> None:
    a, b = (run(case.stack, tiny(latent_dim=0, latent_epoch=e)).history.rows for e in (0, 99))
    assert [row["loss"] for row in a] == [row["loss"] for row in b]


def test_small_parts_learn_what_whole_minibatches_do(case: Case) -> None:
    """The memory limit changes sums in their last digits only."""
    whole, parts = (run(case.stack, tiny(variational=False, memory_gb=gb)) for gb in (None, 1e-4))
    assert parts.learn_batch < 15
    a, b = ([row["loss"] for row in r.history.rows] for r in (whole, parts))
    np.testing.assert_allclose(a, b, rtol=1e-3)


def test_a_set_sigma_sets_the_softening(case: Case) -> None:
    found = run(case.stack, tiny(sigma=1.5))
    assert found.softening == pytest.approx(1.5**2 * len(found.frequencies))


def test_a_broad_sigma_leaves_posteriors_even(case: Case) -> None:
    found = run(case.stack, tiny(sigma=100.0, decode_epochs=0))
    assert (found.model.tables.posteriors - 0.5).abs().max() < 0.05


@pytest.mark.parametrize(
    ("conformations", "gating"), [("encoder", "table"), ("table", "encoder"), ("encoder", "encoder")]
)
@pytest.mark.parametrize("variational", [True, False], ids=["variational", "point"])
def test_an_encoder_learns(case: Case, conformations: str, gating: str, variational: bool) -> None:
    s = tiny(conformations=conformations, gating=gating, variational=variational, l_schedule=(4,) * 4, decode_epochs=3)
    found = run(case.stack, s)
    rows, tables, encoder = found.history.rows, found.model.tables, found.model.encoder
    assert encoder is not None
    assert rows[3]["loss"] < rows[0]["loss"]
    assert rows[-1]["loss"] < rows[4]["loss"]
    check_consistent(found, 60)
    settle_latents(found)
    particles = np.arange(60)
    with torch.no_grad():
        encoded = encoder(found.source.load(particles, slice(None, encoder.n_inputs)))
    learned = any((mean != 0).any() for mean, _ in encoded.latents)
    assert learned == (conformations == "encoder")
    if conformations == "encoder":
        for k in range(2):
            mean, log_sd = tables.latent(torch.arange(60), k)
            torch.testing.assert_close(mean, encoded.latents[k][0], atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(log_sd, encoded.latents[k][1], atol=1e-6, rtol=1e-5)
    assert bool((encoded.scores != 0).any()) == (gating == "encoder")


def test_an_encoder_of_classes_of_different_dimensions(case: Case) -> None:
    s = tiny(classes=3, latent_dim=(2, 1, 0), conformations="encoder", gating="encoder")
    check_consistent(run(case.stack, s), 60)


def test_spare_fields_go_and_their_history_stays(case: Case) -> None:
    found = run(case.stack, tiny(spare_fields=2))
    rows = found.history.rows
    assert found.model.tables.classes == 2
    first = [rows[0][name] for name in ("size_1", "size_2", "spare_1", "spare_2")]
    assert sum(first) == 60
    assert not any(name.startswith("spare") for row in rows[1:] for name in row)
    assert "size_3" not in rows[0]


def test_halves_of_a_common_species_are_missed_less_than_a_rare_one() -> None:
    # Fields 0 and 1 share a species of 500, one of them better by 0 to 4 nats; 17 of another are field 2's, by 15.
    better = 4 * torch.rand(500, generator=torch.Generator().manual_seed(1))
    first = torch.stack([torch.zeros(500), better, torch.full((500,), 30.0)], 1)
    first[::2] = first[::2, [1, 0, 2]]
    errors = torch.cat([first, torch.tensor([[15.0, 15.0, 0.0]] * 17)])
    assert most_needed(errors, 1.0, 2) == [0, 1]
    assert 2 in most_needed(errors, 1.0, 2, BY_CHANCE)
    assert most_needed(errors, 1.0, 1, BY_CHANCE) != [2]
    nobodys = torch.cat([errors, torch.full((len(errors), 1), 40.0)], 1)
    assert most_needed(nobodys, 1.0, 3, BY_CHANCE) == [0, 1, 2]


def test_the_fields_that_are_missed_most_stay() -> None:
    # 60 particles of one species that fields 0 and 2 describe alike, 5 of another that is field 1's; 3 is nobody's.
    errors = torch.tensor([[1.0, 9.0, 1.1, 5.0]] * 60 + [[9.0, 1.0, 9.0, 5.0]] * 5)
    assert most_needed(errors, 0.5, 4) == [0, 1, 2, 3]
    assert most_needed(errors, 0.5, 3) == [0, 1, 2]
    assert most_needed(errors, 0.5, 2) == [0, 1]
    errors[60:, 2:] = torch.inf  # not searched
    assert most_needed(errors, 0.5, 2) == [0, 1]


def test_a_model_of_some_classes(case: Case) -> None:
    found = run(case.stack, tiny(classes=3, spare_fields=0, decode_epochs=0))
    found.model.tables.posteriors[:] = torch.tensor([0.1, 0.5, 0.4])
    errors = found.model.tables.errors.clone()
    kept = found.model.of_classes([1, 2], tiny())
    torch.testing.assert_close(kept.tables.posteriors, torch.tensor([5 / 9, 4 / 9]).expand(60, -1), atol=1e-5, rtol=0)
    assert torch.equal(kept.tables.errors, errors[:, 1:])
    assert kept.fields[0] is found.model.fields[1]


def test_classes_out_of_the_question_are_not_searched(case: Case) -> None:
    s = tiny(spare_fields=0, l_schedule=(4, 4, 4), full_search_epochs=1, explore=0.0, sigma=0.3, decode_epochs=0)
    found = run(case.stack, s)
    left_out = found.model.tables.errors.isinf()
    assert left_out.any()
    assert not left_out.all(1).any()
    assert (found.model.tables.posteriors[left_out] == 0).all()


def test_particles_of_classes_of_few_are_searched_everywhere(case: Case) -> None:
    """Of three classes with 40, 15 and 5 of 60 particles, 15 being three quarters of an even share."""
    settings = tiny(classes=3, spare_fields=0, sharpness=None, full_search_share=0.5)
    found = start(TrainingInput(case.stack, settings, 5), CPU, Parallel())
    labels = torch.tensor([0] * 40 + [1] * 15 + [2] * 5)
    found.model.tables.posteriors[:] = torch.nn.functional.one_hot(labels, 3).float()
    active = classes_to_search(found, torch.arange(60), np.zeros(60, bool), age=9)
    assert active[labels == 2].all()
    assert torch.equal(active[labels < 2], torch.nn.functional.one_hot(labels[labels < 2], 3).bool())


def test_one_particle_is_enough_for_one_class(case: Case) -> None:
    one = type(case.stack)(case.stack.path, type(case.stack.images)(
        case.stack.images.files, case.stack.images.file_index[:1], case.stack.images.frame_index[:1], 32,
    ), 9.9, None, None)  # fmt: skip
    check_consistent(run(one, tiny(classes=1)), 1)
