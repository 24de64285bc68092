"""Images of none of the classes: their evidence, what it decides, and what is written of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra_cases import Case, run, tiny
from torch.distributions import Normal

from hydra_bench.contracts.places import PARTICLES_NAME
from hydra_bench.contracts.reconstruction import IS_JUNK, JUNK_COLUMN, Assignments, read_assignments, write_assignments
from hydra_bench.contracts.scores import JunkScores
from hydra_bench.core.errors import InputError
from hydra_bench.core.star import read_star, write_star
from hydra_bench.methods.hydra.data.images import ImageBatch
from hydra_bench.methods.hydra.fit.junk import (
    evidence_of,
    evidence_of_none,
    of_a_signal,
    particles_of_classes,
    poses_tried,
)
from hydra_bench.methods.hydra.fit.likelihood import most_needed
from hydra_bench.methods.hydra.fit.run_state import History, Run
from hydra_bench.methods.hydra.output.at_noise import expected
from hydra_bench.methods.hydra.output.reconstruction import assignments, notes
from hydra_bench.methods.hydra.output.remarks import remarks_on_junk
from hydra_bench.methods.hydra.settings import Settings
from hydra_bench.metrics.clustering import junk_scores
from hydra_bench.particles.selection import Criteria


def test_the_evidence_of_a_signal_is_that_of_a_normal_one_of_any_strength() -> None:
    generator = torch.Generator().manual_seed(0)
    hartley, ctf = (torch.randn(5, 40, generator=generator).double() for _ in range(2))
    power = torch.rand(40, generator=generator).double() * 3
    batch = ImageBatch(3 * hartley, ctf, torch.zeros(40, 3), 32)
    strengths = [0.0, 0.25, 0.5, 1.0, 2.0]
    noise = Normal(0.0, 1.0).log_prob(batch.hartley).sum(1)
    of_each = [Normal(0.0, (1 + a * ctf**2 * power).sqrt()).log_prob(batch.hartley).sum(1) - noise for a in strengths]
    expected = torch.logsumexp(torch.stack(of_each), 0) - np.log(len(strengths))
    torch.testing.assert_close(of_a_signal(batch, power, 1.0), expected)


def test_under_a_window_as_much_is_told_as_it_leaves() -> None:
    """Where every frequency is there twice, a window has left half of the noise and as many of its own."""
    generator = torch.Generator().manual_seed(0)
    hartley, ctf, power = (
        torch.randn(5, 40, generator=generator),
        torch.ones(5, 40),
        torch.rand(40, generator=generator),
    )
    once = of_a_signal(ImageBatch(hartley, ctf, torch.zeros(40, 3), 32), power, 1.0)
    half = ImageBatch(hartley.repeat(1, 2) / 2**0.5, ctf.repeat(1, 2), torch.zeros(80, 3), 32)
    torch.testing.assert_close(of_a_signal(half, power.repeat(2) / 2, 0.5), once, rtol=1e-4, atol=1e-4)


def test_more_poses_are_told_apart_at_higher_resolution() -> None:
    # Steps of a radian at the edge: three angles and two shifts, each twice as many.
    assert poses_tried(Settings(), 16) - poses_tried(Settings(), 8) == pytest.approx(5 * np.log(2))
    assert poses_tried(Settings(shift_extent=0.0), 8) == pytest.approx(np.log(8 * np.pi**2 * (0.5 * 16 * np.pi) ** 3))
    near, fixed = (poses_tried(Settings(poses=poses), 8) for poses in ("refine", "fixed"))
    assert 0 == fixed < near < poses_tried(Settings(), 8)


def test_fields_of_junk_go_first() -> None:
    # 40 particles in each of two fields; 90 images in a third, which explains them no better than nothing does.
    errors = torch.full((170, 3), 30.0)
    errors[:40, 0] = errors[40:80, 1] = 0.0
    errors[80:, 2] = 10.0
    of_none = torch.full((170,), 20.0)
    of_none[80:] = 9.0
    assert 2 in most_needed(errors, 1.0, 2)
    assert most_needed(errors, 1.0, 2, of_none=of_none) == [0, 1]


def test_fields_that_junk_fills_stay_with_the_classes_for_a_while() -> None:
    # Edges in a field of their own, which explains them far better than none; two fields share the second species.
    errors = torch.full((90, 4), 60.0)
    errors[:30, 0] = errors[60:, 2] = 0.0
    errors[30:60, 1], errors[30:60, 3] = 0.0, torch.tensor([-2.0, 2.0]).repeat(15)
    of_none = torch.full((90,), 40.0)
    assert most_needed(errors, 1.0, 2, 6.0, of_none, only_by_chance=True) in ([0, 1, 2], [0, 2, 3])
    assert len(most_needed(errors, 1.0, 2, 6.0, of_none)) == 2


def test_the_history_of_spare_fields_that_go_in_two_steps() -> None:
    history = History([{"size_1": 5, "size_2": 3, "size_3": 2, "size_4": 1}], labels=[torch.tensor([0, 1, 2, 3])])
    history.keep_classes([0, 2, 3])
    assert history.rows == [{"size_1": 5, "size_2": 2, "size_3": 1, "spare_1": 3}]
    history.keep_classes([1, 2])
    assert history.rows == [{"size_1": 2, "size_2": 1, "spare_1": 5, "spare_2": 3}]
    assert history.labels[0].tolist() == [2, 3, 0, 1]


def test_what_is_farther_from_every_class_than_its_images_are_is_junk() -> None:
    """Two classes whose maps are known up to a third of their power; images of noise alone, and of other signals."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    n, kind = 200, torch.arange(800) % 4
    power = torch.full((n,), 2.0)
    true = drawn(2, n) * power.sqrt()
    signals = torch.cat([true, torch.zeros(1, n)])[kind.clamp(max=2)]
    signals[kind == 3] = drawn(200, n) * power.sqrt()
    images = signals + drawn(800, n)
    maps = true + drawn(2, n) * (power / 3).sqrt()
    batch = ImageBatch(images, torch.ones(800, n), torch.zeros(n, 3), 32)
    of_none = of_a_signal(batch, power, 1.0) - 0.5 * images.square().sum(1)
    left = (images[:, None] - maps).square().sum(2, keepdim=True)
    of_classes, junk = expected(left, torch.tensor([n]), torch.full((800, 2), 0.5), of_none)
    assert junk is not None
    called = junk > IS_JUNK
    assert called[kind >= 2].float().mean() > 0.97
    assert called[kind < 2].float().mean() < 0.03
    assert (of_classes.argmax(1) == kind)[kind < 2].all()
    # Also those of an image that is junk beyond doubt.
    assert (junk == 1).any()
    torch.testing.assert_close(of_classes.sum(1), torch.ones(800).double())


@pytest.fixture(scope="module")
def found(case: Case) -> Run:
    return run(case.stack, tiny(junk=True))


def test_every_process_has_its_part_of_the_evidence(found: Run) -> None:
    whole = evidence_of_none(found, 5)
    torch.testing.assert_close(whole[[3, 50]], evidence_of(found, np.array([3, 50]), 5))
    kept = particles_of_classes(found, 5)
    expected_ones = torch.logsumexp(-found.model.tables.errors, 1) > whole
    assert torch.equal(kept, expected_ones.nonzero()[:, 0] if expected_ones.any() else torch.arange(60))


def test_a_run_that_tells_junk_says_so_where_it_is_read(found: Run, tmp_path: Path) -> None:
    written = assignments(found, 9.9)
    assert written.junk is not None
    assert ((written.junk >= 0) & (written.junk <= 1)).all()
    assert written.at_noise is not None
    np.testing.assert_allclose(written.at_noise.sum(1), 1, atol=1e-6)
    write_assignments(tmp_path, written)
    np.testing.assert_allclose(read_assignments(tmp_path, 60).junk, written.junk, atol=1e-6)
    assert notes(found, written, found.settings)["junk_images"] == (written.junk > IS_JUNK).sum()
    assert "junk_images" not in notes(found, None, found.settings)
    star = tmp_path / PARTICLES_NAME
    tables = read_star(star)
    tables["particles"].loc[2, JUNK_COLUMN] = 1.5
    write_star(star, tables)
    with pytest.raises(InputError, match=f"{JUNK_COLUMN}: 1.5 in row 3; 0 to 1 is allowed"):
        read_assignments(tmp_path, 60)


def test_one_class_can_tell_junk_too(case: Case) -> None:
    alone = assignments(run(case.stack, tiny(classes=1, spare_fields=0, junk=True)), 9.9)
    assert alone.at_noise is None
    assert alone.junk is not None


def test_junk_is_left_out_where_that_is_asked_for() -> None:
    found = Assignments.of_classes(np.array([0, 1, 1]), 2, np.tile(np.eye(3), (3, 1, 1)), np.zeros((3, 2)))
    with pytest.raises(InputError, match="--exclude-junk: the run does not tell junk"):
        Criteria(no_junk=True).chosen(found)
    told = replace(found, junk=np.array([0.1, 0.9, 0.5]))
    assert Criteria(no_junk=True).chosen(told).tolist() == [0, 2]
    assert Criteria(no_junk=True, classes=(2,)).chosen(told).tolist() == [2]


def test_many_images_called_junk_are_a_remark() -> None:
    assert remarks_on_junk(None) == remarks_on_junk(np.full(9, 0.4)) == []
    (said,) = remarks_on_junk(np.array([0.9, 0.9, 0.1]))
    assert said.startswith("67% of the images are called junk")


def test_junk_found_and_good_ones_lost() -> None:
    junk = np.array([False, False, False, False, True])
    assert junk_scores(np.array([0.9, 0.1, 0.2, 0.0, 1.0]), junk) == JunkScores(found=1.0, good_lost=0.25)
    assert junk_scores(None, junk) is None
    assert junk_scores(np.zeros(5), ~junk & junk) is None
