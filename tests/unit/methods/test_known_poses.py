"""Classes where every pose is known: the matrix of slices, and the expectation-maximisation on it."""

import json
from pathlib import Path

import numpy as np
import pytest
from hydra_cases import Case
from sklearn.metrics import adjusted_rand_score

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import GivenPoses, read_assignments, read_run, sample_path
from hydra_bench.core.mrc import read_map
from hydra_bench.maps.fsc import compare
from hydra_bench.methods.bounds.known_poses import Schedule, classify, read_slices

SCHEDULE = Schedule(radii=(4, 7), iterations=6, starts=4)


def given(case: Case) -> GivenPoses:
    """True poses, and nothing of the classes."""
    nothing = np.zeros(len(case.truth), dtype=np.int64)
    return GivenPoses(case.truth.rotations, case.truth.shifts_A, nothing, "truth")


def test_putting_slices_into_the_grid_is_the_adjoint_of_cutting_them(case: Case) -> None:
    slices = read_slices(case.stack, np.array([3, 1, 8]), case.truth.rotations, case.truth.shifts_A, 4)
    generator = np.random.default_rng(0)

    def random(*shape: int) -> np.ndarray:
        return generator.normal(size=shape) + 1j * generator.normal(size=shape)

    grid, samples = random(2, len(slices.grid_shells)), random(2, *slices.images.shape)
    real = grid + grid[:, ::-1].conj()  # the transform of a real map, as all are
    forwards, backwards = (slices.cut(real).conj() * samples).sum().real, (real.conj() * slices.put(samples)).sum().real
    assert forwards == pytest.approx(backwards / 2, rel=1e-5)  # each sample is there at -k, too
    assert np.abs(slices.cut(np.ones_like(real)) - 1).max() < 1e-5  # the weights of a sample add up to 1


def test_cut_slices_of_the_true_map_are_the_images(case: Case) -> None:
    """The grid is learned from many images, and an image that it has not seen is like the slice of its own class."""
    members = np.flatnonzero(case.truth.classes == 0)
    slices = read_slices(case.stack, members, case.truth.rotations, case.truth.shifts_A, 5)
    half = len(members) // 2
    ctf, images = slices.ctf.copy(), slices.images
    ctf[half:] = 0
    grid = slices.put((ctf * images)[None]) / (slices.put((ctf**2)[None]) + 1)
    predicted = slices.cut(grid)[0] * slices.ctf
    product = (predicted[half:].conj() * images[half:]).sum().real
    assert product / np.linalg.norm(predicted[half:]) / np.linalg.norm(images[half:]) > 0.8


def test_classes_are_found_whatever_the_start(case: Case) -> None:
    for seed in range(2):
        posteriors, seen = classify(case.stack, given(case), 2, seed, SCHEDULE)
        assert adjusted_rand_score(case.truth.classes, posteriors.argmax(1)) > 0.9
        np.testing.assert_allclose(posteriors.sum(1), 1)
        assert seen == len(case.truth) * 6 * (4 + 2)
    again, _ = classify(case.stack, given(case), 2, 1, SCHEDULE)
    np.testing.assert_array_equal(posteriors, again)


def test_images_that_no_map_was_learned_from_are_classified_too(case: Case) -> None:
    few = Schedule(radii=(4, 7), iterations=6, starts=4, most_images=40)
    posteriors, _ = classify(case.stack, given(case), 2, 0, few)
    assert adjusted_rand_score(case.truth.classes, posteriors.argmax(1)) > 0.6  # from 20 images a map


def reconstruct(case: Case, out: Path, *poses: str) -> None:
    parameters = {"classes": 3, "radii": [4, 7], "iterations": 6, "starts": 4, "most_images": 1000}
    definition = {"name": "known", "program": "known_poses", "parameters": parameters}
    definition |= {"poses_from": "truth", "reads_truth": True} if poses else {}
    stack = case.stack.path
    files = ["--particles", str(stack), "--evaluation-list", str(stack.parent / "evaluation_particles.txt")]
    places = ["--state", str(out.parent / "state"), "--out", str(out)]
    assert main(["reconstruct", *files, *places, *poses, "--definition", json.dumps(definition)]) == 0


def test_the_method_writes_a_map_a_class(case: Case, tmp_path: Path) -> None:
    reconstruct(case, tmp_path / "out", "--poses-from", str(case.stack.path.parents[1] / "truth" / "truth.star"))
    run, found = read_run(tmp_path / "out"), read_assignments(tmp_path / "out", len(case.truth))
    assert (run.state, run.reads_truth, run.notes["poses_from"]) == ("ok", True, "truth")
    largest = np.bincount(found.classes, minlength=3).argmax()
    species = np.bincount(case.truth.classes[found.classes == largest]).argmax()
    volume = read_map(class_volume_path(tmp_path / "out", largest))[0]
    assert compare(volume, case.truth.class_volume(species)).auc > 0.7
    for particle in map(int, (case.stack.path.parent / "evaluation_particles.txt").read_text().split()):
        own = read_map(class_volume_path(tmp_path / "out", found.classes[particle]))[0]
        np.testing.assert_array_equal(read_map(sample_path(tmp_path / "out", particle))[0], own)


@pytest.mark.parametrize("program", ["known_poses", "cryodrgn_fixed"])
def test_what_needs_poses_does_nothing_without(
    program: str, case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reconstruct", "--particles", str(case.stack.path), "--state", str(tmp_path / "state")]
    command += ["--evaluation-list", str(case.stack.path.parent / "evaluation_particles.txt")]
    definition = json.dumps({"name": "one", "program": program, "parameters": {}})
    assert main([*command, "--out", str(tmp_path / "out"), "--definition", definition]) == 2
    assert f"--poses-from: is missing; the program {program} needs poses" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
