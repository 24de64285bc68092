"""Clustering and conformation scores on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, f1_score

from hydra_bench.contracts.reconstruction import Assignments
from hydra_bench.contracts.scores import Calibration
from hydra_bench.core.errors import InputError
from hydra_bench.metrics import conformation
from hydra_bench.metrics.calibration import calibration
from hydra_bench.metrics.clustering import Labels, confusion_matrix, joined, labels_of, score
from hydra_bench.metrics.conformation import in_two_columns, recovery
from hydra_bench.metrics.resamples import Cells, ari_of_cells, macro_f1_of_cells, of_confusion, of_difference

NAMES = [f"species {k}" for k in range(100)]


def assignments(classes: np.ndarray, n_classes: int, latents: np.ndarray | None = None) -> Assignments:
    n = len(classes)
    latents = np.zeros((n, 0)) if latents is None else latents
    return Assignments(classes, np.eye(n_classes)[classes], np.stack([np.eye(3)] * n), np.zeros((n, 2)), latents)


def test_permuted_labels_are_perfect():
    true = np.repeat([0, 1, 2], 50)
    found = score(true, NAMES[:3], Labels((true + 1) % 3, 3, "classes"))
    assert (found.ari, found.accuracy) == (1, 1)
    assert found.ami == pytest.approx(1)
    assert found.matched_class == [2, 0, 1]
    assert not found.empty_labels
    assert not found.split_species
    assert not found.merged_labels


def test_split_species_and_empty_label():
    true = np.repeat([0, 1], 100)
    labels = true.copy()
    labels[100:140] = 2
    labels[0] = 3
    found = score(true, NAMES[:2], Labels(labels, 4, "classes"))
    assert found.empty_labels == [4]
    assert found.split_species == {NAMES[1]: [2, 3]}
    assert found.matched_class == [0, 1, None, None]
    assert found.majority_class == [0, 1, 1, 0]
    assert found.accuracy == pytest.approx(159 / 200)
    assert found.confusion == [[99, 0, 0, 1], [0, 60, 40, 0]]


def test_merged_species_and_unused_label():
    found = score(np.repeat([0, 1], 10), NAMES[:2], Labels(np.zeros(20, np.int64), 2, "classes"))
    assert found.ari == 0
    assert found.merged_labels == {"1": NAMES[:2]}
    assert found.empty_labels == [2]
    assert found.matched_class[1] is None
    assert found.majority_class[1] is None


def test_labels_come_from_classes_latents_or_nowhere():
    true = np.repeat([0, 1, 2], 20)
    latents = np.random.default_rng(0).normal(size=(60, 2)) * 0.1 + np.eye(3)[true][:, :2] * 5
    one = np.zeros(60, np.int64)
    assert labels_of(assignments(true, 3), 3).source == "classes"
    clustered = labels_of(assignments(one, 1, latents), 3)
    assert clustered.source == "k-means on latents, k=3"
    assert score(true, NAMES[:3], clustered).ari == 1
    assert labels_of(assignments(one, 1), 3).source == "one class"
    assert labels_of(assignments(one, 1, np.ones((60, 4))), 3).n_labels == 1


def test_joined_labels_count_as_one_and_the_others_keep_their_names():
    true = np.repeat([0, 1], 60)
    labels = np.concatenate([np.repeat([3, 1, 4], [10, 30, 20]), np.zeros(60, np.int64)])
    own = Labels(labels, 6, "classes")
    assert score(true, NAMES[:2], own).ari < 0.8
    found = joined(own, {"RyR": [4, 2, 5], "junk": [3]})
    assert [(g.name, g.labels, g.map_of) for g in found.groups] == [
        ("RyR", [4, 2, 5], 2),
        ("junk", [3], 3),
        ("class 1", [1], 1),
        ("class 6", [6], 6),
    ]
    assert found.labels.tolist() == [0] * 60 + [2] * 60
    assert score(true, NAMES[:2], found).ari == 1
    assert joined(own, None) is own


def test_clusters_of_latents_can_be_joined_too():
    own = Labels(np.array([0, 1, 2]), 3, "k-means on latents, k=3", np.zeros((3, 2)))
    found = joined(own, {"both": [1, 3]})
    assert (found.labels.tolist(), [g.name for g in found.groups]) == ([0, 1, 0], ["both", "cluster 2"])


def test_a_label_that_is_not_there_cannot_be_joined():
    with pytest.raises(InputError, match=r"merge_classes: RyR: 7 is not allowed; labels are 1 to 6 \(classes\)"):
        joined(Labels(np.zeros(4, np.int64), 6, "classes"), {"RyR": [1, 7]})


def test_monotone_latent_recovers_its_coordinate():
    coordinate = np.linspace(0, 1, 100)
    latents = np.stack([-np.exp(3 * coordinate), np.random.default_rng(0).normal(size=100) * 0.1], axis=1)
    found = recovery(latents, coordinate)
    # Latents this stretched bend the regression a little towards the noise, whatever it is fitted to.
    # And it is ranked in parts of 20.
    assert found.spearman > 0.98
    assert found.r2 > 0.98
    assert found.p == pytest.approx(1 / 40)
    assert found.first_axis_spearman > 0.99
    assert found.first_axis_r2 > 0.99


def test_a_coordinate_along_no_principal_axis_is_found_by_the_best_direction():
    generator = np.random.default_rng(0)
    coordinate, other = generator.uniform(-1, 1, (2, 400))
    found = recovery(np.stack([coordinate + 3 * other, coordinate - 3 * other], axis=1), coordinate)
    assert found.spearman > 0.99
    assert found.r2 > 0.99
    assert found.first_axis_r2 < 0.1


@pytest.mark.parametrize("columns", [1, 2, 8])
def test_unrelated_latents_score_about_zero_however_many(columns: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(conformation, "PERMUTATIONS", 9)
    generator = np.random.default_rng(columns)
    found = [recovery(generator.normal(size=(200, columns)), generator.uniform(size=200)) for _ in range(40)]
    # Each is 0 ± 0.1, so that the mean of 40 is 0 ± 0.016; and each of ten ranks of p is as likely.
    assert abs(np.mean([score.spearman for score in found])) < 0.05
    assert np.mean([score.p <= 0.1 for score in found]) <= 0.3
    # What is fitted to noise predicts worse than the mean, and so does what is fitted to permuted values.
    assert -0.2 < np.mean([score.r2 for score in found]) < 0
    assert abs(np.mean([score.r2_by_chance for score in found])) < 0.06


def test_constant_missing_or_too_few_latents_have_no_score():
    generator = np.random.default_rng(0)
    assert recovery(np.ones((50, 2)), np.arange(50.0)) is None
    assert recovery(generator.normal(size=(50, 2)), np.ones(50)) is None
    assert recovery(np.zeros((50, 0)), np.arange(50.0)) is None
    assert recovery(generator.normal(size=(9, 1)), np.arange(9.0)) is None


def test_projection_has_two_columns():
    latents = np.random.default_rng(0).normal(size=(40, 5)) * np.array([1, 9, 1, 4, 1])
    spaces = np.repeat([0, 1], 20)
    assert in_two_columns(latents, spaces).shape == (40, 2)
    assert np.array_equal(in_two_columns(latents[:, :1], spaces)[:, 0], latents[:, 0])
    projected = in_two_columns(latents, spaces)[:20]
    assert abs(np.corrcoef(projected[:, 0], latents[:20, 1])[0, 1]) > 0.95


def test_one_of_many_classes_is_not_empty_for_having_its_share():
    true = np.repeat(np.arange(100), 20)
    labels = true.copy()
    labels[20:36] = 0  # of the second class a fifth of its share is left
    assert score(true, NAMES[:100], Labels(labels, 100, "classes")).empty_labels == [2]


def test_a_lost_rare_species_shows_where_the_ari_hides_it():
    """Nineteen particles in twenty sorted without a fault, a rare third species in the second's class."""
    true = np.repeat([0, 1, 2], [475, 475, 50])
    found = score(true, NAMES[:3], Labels(np.minimum(true, 1), 2, "classes"))
    assert found.ari > 0.9
    assert found.lost_species == [NAMES[2]]
    assert found.merged_labels == {"2": [NAMES[1], NAMES[2]]}
    assert [(entry.label, entry.recall) for entry in found.per_species] == [(1, 1.0), (2, 1.0), (None, 0.0)]
    assert [entry.precision for entry in found.per_species] == pytest.approx([1, 475 / 525, 0])
    assert found.macro_f1 == pytest.approx((1 + 0.95 + 0) / 3)
    assert found.accuracy == found.majority_accuracy == pytest.approx(0.95)
    low, high = found.ari_interval.low, found.ari_interval.high
    assert low < found.ari < high
    assert high - low < 0.06


def test_a_majority_vote_allows_a_species_several_classes_and_one_to_one_does_not():
    true = np.repeat([0, 1], 100)
    labels = true.copy()
    labels[:40] = 2
    found = score(true, NAMES[:2], Labels(labels, 3, "classes"))
    assert (found.accuracy, found.majority_accuracy) == (0.8, 1.0)
    assert not found.lost_species
    assert found.split_species == {NAMES[0]: [1, 3]}


def test_scores_of_many_tables_are_those_of_scikit_learn_one_by_one():
    generator = np.random.default_rng(0)
    true, first, second = (generator.integers(k, size=200) for k in (3, 4, 2))
    first[:150] = true[:150]
    tables = np.stack([confusion_matrix(true, labels, 3, 4) for labels in (first, second, true)])
    expected = [adjusted_rand_score(true, labels) for labels in (first, second, true)]
    np.testing.assert_allclose(ari_of_cells(Cells.of_tables(tables)), expected, atol=1e-12)
    assert ari_of_cells(Cells.of_tables(np.array([[[5.0]]]))) == 1
    scores = macro_f1_of_cells([0, 1, 2])(Cells.of_tables(tables))
    wanted = [f1_score(true, labels, average="macro", labels=[0, 1, 2]) for labels in (first, second, true)]
    np.testing.assert_allclose(scores, wanted)
    apart = of_difference(true, first, second, (ari_of_cells, ari_of_cells))
    assert apart.low > 0
    assert of_difference(true, first, first, (ari_of_cells, ari_of_cells)).high == 0


@pytest.mark.parametrize("empty", [False, True])
def test_an_interval_needs_only_the_cells_that_hold_particles(empty):
    """And is, to the bit, that of the whole table; of a hundred species a whole one is a hundred times as large."""
    table = np.diag(np.arange(20, 60)) + np.eye(40, k=1, dtype=int) * 3
    if empty:
        table[-1] = 0
    drawn = np.random.default_rng(0).multinomial(table.sum(), table.ravel() / table.sum(), 2000)
    found = of_confusion(table)
    scores = ari_of_cells(Cells.of_tables(drawn.reshape(2000, 40, 40)))
    assert [found.low, found.high] == np.percentile(scores, [2.5, 97.5]).tolist()


@pytest.mark.parametrize("sharpness", [1.0, 4.0])
def test_posteriors_that_are_too_sure_have_an_error_of_calibration(sharpness):
    generator = np.random.default_rng(1)
    honest = generator.dirichlet([0.5, 0.5, 0.5], 20000)
    true = (generator.random(20000)[:, None] > honest.cumsum(1)).sum(1)
    said = honest**sharpness / (honest**sharpness).sum(1, keepdims=True)
    order = [2, 0, 1]  # classes in another order than the species
    clustering = score(true, NAMES[:3], Labels(said[:, order].argmax(1), 3, "classes"))
    found = calibration(Calibration, said[:, order], {k: k for k in range(3)}, clustering, true)
    assert [entry.n_particles for entry in found.bins] == [2000] * 10
    assert found.brier == pytest.approx(np.square(said - np.eye(3)[true]).sum(1).mean())
    assert found.accuracy == pytest.approx((said.argmax(1) == true).mean())
    if sharpness == 1:
        assert found.ece < 0.015
    else:
        assert found.ece > 0.05
        assert found.confidence > found.accuracy + 0.05
    assert calibration(Calibration, np.eye(3)[true], {k: k for k in range(3)}, clustering, true) is None


def test_junk_is_left_out_of_calibration_whatever_is_said_of_it():
    """Posteriors of classes are as if every particle were of one, so that none of what is said of junk can be right."""
    generator = np.random.default_rng(2)
    said = generator.dirichlet([0.5, 0.5], 400)
    true = (generator.random(400) > said[:, 0]).astype(int)
    junk = np.repeat([False, True], [300, 100])
    classes = np.where(junk, 2, true)
    labels_of_classes = {0: 0, 1: 1}

    def found(posteriors, classes, junk):
        clustering = score(classes, [*NAMES[:2], "junk"], Labels(posteriors.argmax(1), 2, "classes"), True, junk)
        return calibration(Calibration, posteriors, labels_of_classes, clustering, classes, junk)

    with_junk = found(said, classes, junk)
    assert with_junk.model_dump() == found(said[~junk], true[~junk], None).model_dump()
    assert sum(entry.n_particles for entry in with_junk.bins) == 300
    assert found(said, np.full(400, 2), np.full(400, True)) is None
    # A label that more junk is in than particles of its species still stands for these.
    much = np.repeat([False, True], [100, 300])
    assert found(said, np.where(much, 2, true), much).model_dump() == found(said[~much], true[~much], None).model_dump()


def test_junk_is_a_species_and_the_ari_without_it_stands_beside():
    true = np.repeat([0, 1, 2], [50, 50, 20])
    labels = true.copy()
    labels[100:] = np.arange(20) % 2  # junk in the classes of both species
    junk = true == 2
    found = score(true, [*NAMES[:2], "junk"], Labels(labels, 2, "classes"), junk=junk)
    assert found.ari_good == 1
    assert found.ari == pytest.approx(adjusted_rand_score(true, labels))
    assert found.ari < 0.9
    assert score(true, NAMES[:3], Labels(labels, 2, "classes"), junk=~junk & junk).ari_good is None
