"""Posteriors at the noise's own level: as often right as they say, whatever a run learned with."""

import numpy as np
import torch
from hydra_cases import Case, run, tiny

from hydra_bench.contracts.reconstruction import Assignments, read_assignments, write_assignments
from hydra_bench.contracts.scores import CalibrationAtNoise
from hydra_bench.methods.hydra.fit.gradient_steps import class_errors
from hydra_bench.methods.hydra.output.at_noise import expected, finest_searched, left_unexplained
from hydra_bench.methods.hydra.output.reconstruction import assignments
from hydra_bench.metrics.calibration import calibration
from hydra_bench.metrics.clustering import Labels, score


def test_posteriors_are_as_often_right_as_they_say_whatever_they_start_from() -> None:
    """Three classes of unequal shares on rings of unequal noise, which nobody is told."""
    generator = np.random.default_rng(0)
    counts, power, shares = np.array([0, 8, 16, 40]), np.array([1, 5.0, 0.3, 2.0]), np.array([0.6, 0.3, 0.1])
    rings = np.repeat(np.arange(4), counts)
    maps = 0.2 * generator.normal(size=(3, len(rings))) * np.sqrt(power[rings])
    true = generator.choice(3, 6000, p=shares)
    images = maps[true] + generator.normal(size=(6000, len(rings))) * np.sqrt(power[rings])
    misses = np.square(images[:, None] - maps)
    left = torch.from_numpy(np.stack([misses[..., rings == ring].sum(2) for ring in range(4)], 2)).float()
    sharp = np.eye(3)[misses.sum(2).argmin(1)]
    for start in (sharp, np.full((6000, 3), 1 / 3)):
        found = expected(left, torch.from_numpy(counts), torch.from_numpy(start))[0].numpy()
        clustering = score(true, ["a", "b", "c"], Labels(found.argmax(1), 3, "classes"))
        said = calibration(CalibrationAtNoise, found, {k: k for k in range(3)}, clustering, true)
        assert said is not None
        assert said.ece < 0.02
        assert 0.7 < said.accuracy < 0.97
        np.testing.assert_allclose(found.mean(0), shares, atol=0.02)


def test_what_is_left_is_what_the_fields_do_not_explain_and_is_written(case: Case, tmp_path) -> None:
    trained = run(case.stack, tiny())
    n = trained.frequencies.count(finest_searched(trained))
    assert finest_searched(trained) == 5
    with torch.no_grad():
        left, tables = left_unexplained(trained, n).of_classes, trained.model.tables
    everyone = np.arange(tables.n)
    batch = trained.source.load(everyone, slice(None, n))
    for k, field in enumerate(trained.model.fields):
        rotations, shifts = tables.pose(torch.from_numpy(everyone), k)
        latents, _ = tables.latent(torch.from_numpy(everyone), k)
        errors = class_errors(field, batch, rotations, shifts, latents)
        np.testing.assert_allclose(left[:, k].sum(1), 2 * n * errors.detach(), rtol=1e-4)
    found = assignments(trained, 1.0)
    assert found.at_noise is not None
    np.testing.assert_allclose(found.at_noise.sum(1), 1)
    np.testing.assert_array_equal(found.posteriors, tables.posteriors.double())
    write_assignments(tmp_path, found)
    np.testing.assert_allclose(read_assignments(tmp_path, len(found)).at_noise, found.at_noise, atol=1e-6)
    assert isinstance(found.take(everyone[:3]), Assignments)


def test_one_class_has_none(case: Case) -> None:
    assert assignments(run(case.stack, tiny(classes=1, spare_fields=0)), 1.0).at_noise is None
