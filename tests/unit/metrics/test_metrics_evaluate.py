"""evaluate() end to end on a small stack, truth and reconstruction."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hydra_bench.contracts.places import IMAGES_NAME, class_volume_path
from hydra_bench.contracts.reconstruction import (
    Assignments,
    Cost,
    Run,
    read_assignments,
    read_history_labels,
    sample_path,
    write_assignments,
    write_run,
)
from hydra_bench.contracts.stack import write_stack_star
from hydra_bench.contracts.truth import Truth, write_truth_star
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic
from hydra_bench.core.mrc import ImageStackWriter, read_map, write_map
from hydra_bench.maps.fsc import compare
from hydra_bench.metrics.evaluate import EvaluationSettings, RunFiles, evaluate
from hydra_bench.physics.ctf import Defocus, Optics
from hydra_bench.physics.rotations import MIRROR, random_rotations

BOX, PIXEL, N = 20, 4.0, 40
EVALUATED = np.array([0, 1, 2, 20, 21, 22])
SETTINGS = EvaluationSettings()


def blobs(seed: int, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(seed)
    moved = generator.normal(size=(20, 3)) * np.array([3.0, 2.0, 1.3]) @ matrix.T + shift
    axis = np.arange(BOX) - BOX // 2
    x, y, z = (np.exp(-((axis - moved[:, [i]]) ** 2) / (2 * 0.9**2)) for i in range(3))
    return np.einsum("nz,ny,nx->zyx", z, y, x).astype(np.float32)


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Truth, np.ndarray, np.ndarray]:
    """Stack and truth on disk; a mirrored frame for the method: x_map = frame @ x_ref + shift."""
    generator = np.random.default_rng(0)
    defocus = Defocus(*np.full((4, N), 10000.0))
    write_stack_star(tmp_path / "stack", defocus, Optics(300, 2.7, 0.1), BOX, PIXEL, EVALUATED)
    with atomic(tmp_path / "stack" / IMAGES_NAME) as path, ImageStackWriter(path, N, BOX, PIXEL) as writer:
        writer.write(np.arange(N), generator.normal(size=(N, BOX, BOX)))
    folder = tmp_path / "truth"
    paths = tuple(folder / "volumes" / f"{name}.mrc" for name in "ab")
    for seed, path in enumerate(paths):
        write_map(path, blobs(seed, np.eye(3), np.zeros(3)), PIXEL)
    conformations = generator.uniform(size=(N, 1))
    truth = Truth(
        random_rotations(N, generator),
        generator.uniform(-4, 4, (N, 2)),
        np.repeat([0, 1], N // 2),
        conformations,
        ("a", "b"),
        paths,
    )
    write_truth_star(folder, truth)
    return tmp_path, truth, random_rotations(1, generator)[0] @ MIRROR, np.array([0.8, -0.5, 0.3])


def run_of(state: str = "ok", reason: str = "") -> Run:
    cost = Cost(1.0, 2.0, 3.0)
    return Run("m", "program", "1.0", 7, {"k": 3}, "cpu", state, reason, 80, cost)


def reconstruct(world: tuple, classes: np.ndarray, n_classes: int, latents: np.ndarray, species: list[int]) -> Path:
    """A perfect reconstruction in the method's own frame, class k holding species[k]."""
    root, truth, frame, shift = world
    folder = root / "reconstruction"
    # x_view = R x_ref = R frameᵀ (x_map - shift); the reflection goes to the view, where z is not seen.
    rotations = MIRROR @ truth.rotations @ frame.T
    shifts = truth.shifts_A - (rotations @ shift)[:, :2] * PIXEL
    for k, seed in enumerate(species):
        write_map(class_volume_path(folder, k), blobs(seed, frame, shift), PIXEL)
    for i in EVALUATED:
        write_map(sample_path(folder, int(i)), blobs(int(truth.classes[i]), frame, shift), PIXEL)
    write_assignments(folder, Assignments(classes, np.eye(n_classes)[classes], rotations, shifts, latents))
    write_run(folder, run_of())
    return folder


def evaluated(world: tuple, folder: Path, settings: EvaluationSettings = SETTINGS) -> dict:
    root = world[0]
    output = root / "metrics.json"
    files = RunFiles(root / "stack" / "particles.star", root / "truth", folder, "demo", "method", "The method")
    evaluate(files, output, root / "aligned", settings)
    return json.loads(output.read_text())


def test_perfect_mirrored_reconstruction_with_an_empty_class(world):
    root, truth = world[:2]
    latents = truth.conformations**3
    folder = reconstruct(world, 2 - truth.classes, 3, latents, [0, 1, 0])
    found = evaluated(world, folder)
    clustering = found["clustering"]
    assert clustering["ari"] == 1
    assert clustering["empty_labels"] == [1]
    assert clustering["matched_class"] == [None, 1, 0]
    assert found["fsc"]["auc_mean"] > 0.95
    assert found["fsc"]["cryobench_auc_mean"] < 0.5
    assert [len(c["curve_mean"]) for c in found["fsc"]["per_class"]] == [9, 9]
    assert [a["mirrored"] for a in found["alignments"]] == [True, True]
    assert found["pose"]["median_angular_error_deg"] < 1
    assert found["pose"]["median_shift_error_A"] < 0.5
    assert found["own_labels"] is None
    assert clustering["groups"] is None
    assert found["conformation"]["per_class"][0]["coordinates"][0]["spearman"] > 0.99
    assert found["seed"] == 7
    assert found["cost"]["wall_s"] == 1
    assert found["history_ari"] is None
    assert sorted(p.name for p in (root / "aligned").iterdir()) == ["label_2.mrc", "label_3.mrc"]
    aligned, pixel = read_map(root / "aligned" / "label_3.mrc")
    assert pixel == PIXEL
    assert compare(aligned, truth.class_volume(0)).auc > 0.95


def test_joined_classes_are_scored_as_one_and_compared_each_in_its_own_frame(world):
    """Class 1 of the method holds a's first half in the method's frame, class 3 the other half in the truth's own."""
    root, truth = world[:2]
    classes = np.where(truth.classes == 1, 1, np.where(np.arange(N) % 2, 2, 0))
    folder = reconstruct(world, classes, 3, np.zeros((N, 0)), [0, 1, 0])
    inside = np.flatnonzero(classes == 2)
    write_map(class_volume_path(folder, 2), truth.class_volume(0), PIXEL)
    for i in np.intersect1d(inside, EVALUATED):
        write_map(sample_path(folder, int(i)), truth.class_volume(0), PIXEL)
    given = read_assignments(folder, N)
    given.rotations[inside], given.shifts_A[inside] = truth.rotations[inside], truth.shifts_A[inside]
    write_assignments(folder, given)
    found = evaluated(world, folder, EvaluationSettings(merge_classes={"a": [1, 3]}))
    clustering = found["clustering"]
    assert (clustering["ari"], clustering["n_labels"], clustering["label_sizes"]) == (1, 2, [20, 20])
    assert clustering["groups"] == [
        {"name": "a", "labels": [1, 3], "map_of": 1},
        {"name": "class 2", "labels": [2], "map_of": 2},
    ]
    assert clustering["confusion"] == [[20, 0], [0, 20]]
    assert found["own_labels"] == classes.tolist()
    assert found["fsc"]["auc_mean"] > 0.95
    assert found["pose"]["median_angular_error_deg"] < 1
    assert [entry["n_particles"] for entry in found["pose"]["per_class"]] == [10, 20, 10]
    assert sorted(p.name for p in (root / "aligned").iterdir())[:2] == ["label_1.mrc", "label_2.mrc"]


def test_one_class_method_is_clustered_by_its_latents_and_repeats_itself(world):
    root, truth = world[:2]
    latents = np.random.default_rng(1).normal(size=(N, 3)) * 0.1 + truth.classes[:, None] * 4
    folder = reconstruct(world, np.zeros(N, np.int64), 1, latents, [0])
    found = evaluated(world, folder)
    first = (root / "metrics.json").read_bytes()
    assert found["clustering"]["labels_from"] == "k-means on latents, k=2"
    assert found["clustering"]["accuracy"] == 1
    assert found["fsc"]["auc_mean"] > 0.95
    assert np.shape(found["latents"]["projection"]) == (N, 2)
    evaluated(world, folder)
    assert (root / "metrics.json").read_bytes() == first


def test_failed_run_keeps_identity_and_has_no_numbers(world):
    write_run(world[0] / "failed", run_of("failed", "out of memory"))
    found = evaluated(world, world[0] / "failed")
    assert (found["state"], found["reason"], found["label"]) == ("failed", "out of memory", "The method")
    assert all(found[key] is None for key in ("clustering", "fsc", "alignments", "pose", "conformation", "latents"))


def test_what_a_bound_was_given_of_the_truth_has_no_score(world):
    """Its maps have; and so has all of a method that says the same of itself, or has the same poses by chance."""
    truth = world[1]
    folder = reconstruct(world, truth.classes, 2, np.zeros((N, 0)), [0, 1])
    own = read_assignments(folder, N)

    def found(reads_truth: bool, given: list[str], true_poses: bool, **notes: str) -> dict:
        poses = (truth.rotations, truth.shifts_A) if true_poses else (own.rotations, own.shifts_A)
        write_assignments(folder, Assignments.of_classes(truth.classes, 2, *poses))
        write_run(folder, replace(run_of(), reads_truth=reads_truth, notes={"given": given, **notes}))
        return evaluated(world, folder)

    bound = found(True, ["labels", "poses"], True)
    assert (bound["given"], bound["pose"], bound["calibration"]) == (["labels", "poses"], None, None)
    scores = ("ari", "ari_good", "ari_interval", "ami", "macro_f1", "accuracy", "majority_accuracy", "per_species")
    assert all(bound["clustering"][key] is None for key in scores)
    assert bound["clustering"]["matched_class"] == [0, 1]
    assert bound["fsc"]["auc_mean"] > 0.95
    # Poses that were given and kept, as with poses_from: truth; and given, but searched anew.
    kept, searched = (found(True, [], true_poses, frame="no maps") for true_poses in (True, False))
    assert (kept["given"], searched["given"]) == (["poses"], [])
    method = found(False, ["labels", "poses"], True)
    assert (method["given"], method["clustering"]["ari"]) == ([], 1)
    assert method["pose"] is not None


def test_labels_of_the_history_are_judged_epoch_by_epoch(world):
    truth = world[1]
    folder = reconstruct(world, truth.classes, 2, np.zeros((N, 0)), [0, 1])
    assert read_history_labels(folder, N) is None
    # All alike; halves that cross the species; the species, with their names changed.
    labels = np.stack([np.zeros(N), np.arange(N) % 2, 1 - truth.classes]).astype(np.uint8)
    np.save(folder / "history_labels.npy", labels)
    found = evaluated(world, folder)["history_ari"]
    assert (found[0], found[2]) == (0, 1)
    assert abs(found[1]) < 0.1
    np.save(folder / "history_labels.npy", labels[:, 1:])
    with pytest.raises(InputError, match=r"history_labels.npy: uint8 \(3, 39\); integers \(rows, 40\) are expected"):
        read_history_labels(folder, N)
    (folder / "history_labels.npy").write_bytes(b"broken off")
    with pytest.raises(InputError, match=r"history_labels.npy: not a NumPy file"):
        read_history_labels(folder, N)


def test_missing_sample_is_named(world):
    truth = world[1]
    folder = reconstruct(world, truth.classes, 2, np.zeros((N, 0)), [0, 1])
    sample_path(folder, 21).unlink()
    with pytest.raises(InputError, match=r"000021\.mrc"):
        evaluated(world, folder)
