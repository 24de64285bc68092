"""An experiment's particles as a dataset, and a reconstruction judged by another program's labels and maps."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from experimental_stack import EACH, JUNK, Project, write_project

from hydra_bench.contracts.places import EVALUATION_NAME, class_volume_path
from hydra_bench.contracts.reconstruction import Assignments, Cost, Run, sample_path, write_assignments, write_run
from hydra_bench.contracts.stack import Stack, read_evaluation_list, read_stack
from hydra_bench.contracts.truth import Truth, read_truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json
from hydra_bench.core.mrc import read_map, write_map
from hydra_bench.core.star import read_star, write_star
from hydra_bench.datasets.experimental.experiment import Experiment, import_experiment
from hydra_bench.datasets.importing import Processing
from hydra_bench.metrics.evaluate import EvaluationSettings, RunFiles, evaluate
from hydra_bench.particles.cryodrgn import read_numbers
from hydra_bench.particles.particle_files import read_particles
from hydra_bench.report.figures.particle_images import write_gallery
from hydra_bench.report.tables.tables import write_tables

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"
N = 4 * EACH + JUNK


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return write_project(tmp_path_factory.mktemp("project"), STRUCTURES)


def imported(project: Project, folder: Path, **particles: Any) -> tuple[Stack, Truth]:
    definition = {"seed": 3, "evaluation_particles_per_class": 4, "particles": {**project.definition, **particles}}
    import_experiment(definition, folder / "stack", folder / "truth")
    return read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth")


@pytest.fixture(scope="module")
def folder(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    imported(project, folder)
    return folder


@pytest.fixture(scope="module")
def both(folder: Path) -> tuple[Stack, Truth]:
    return read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth")


def test_the_stack_holds_every_particle_white_and_normalised(project: Project, both: tuple[Stack, Truth]) -> None:
    stack, reference = both
    assert len(stack) == N
    assert sorted(reference.sources) == list(range(N))
    assert list(reference.sources) != sorted(reference.sources)
    images = stack.read_images(np.arange(N))
    for image, true in zip(images, project.images[reference.sources], strict=True):
        assert np.corrcoef(image.ravel(), true.ravel())[0, 1] > 0.9999
    axis = (np.arange(32) - 16) / 16
    background = images[:, np.hypot(axis[:, None], axis) > 0.75]
    np.testing.assert_allclose(background.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(background.std(1), 1, atol=1e-5)


def test_each_particle_keeps_its_optics_and_defocus(project: Project, both: tuple[Stack, Truth]) -> None:
    stack, reference = both
    np.testing.assert_array_equal(stack.optics.voltage_kV, project.voltages[reference.sources])
    own = read_particles(project.definition["file"])
    np.testing.assert_allclose(stack.defocus.u_A, own.defocus.u_A[reference.sources], atol=0.01)
    assert read_particles(stack.path).fingerprint()["ctf_sha256"] == stack.fingerprint()["ctf_sha256"]


def test_labels_are_joined_and_junk_is_unlabelled(project: Project, both: tuple[Stack, Truth], folder: Path) -> None:
    _, reference = both
    true = project.classes[reference.sources]
    assert reference.class_names == ("large", "small", "unlabelled")
    np.testing.assert_array_equal(reference.classes, np.where(true < 0, 2, true))
    assert reference.rotations is None
    assert [reference.has_map(k) for k in range(3)] == [True, True, False]
    evaluation = read_evaluation_list(folder / "stack" / EVALUATION_NAME, N)
    assert np.bincount(reference.classes[evaluation], minlength=3).tolist() == [4, 4, 0]
    provenance = read_json(folder / "truth" / "provenance.json")
    assert provenance["kind"] == "reference"
    assert len(provenance["files_sha256"]) == 4
    assert "rlnAngleRot" not in read_star(folder / "stack" / "particles.star")["particles"]


def reconstruction(folder: Path, stack: Stack, classes: np.ndarray, maps: list[np.ndarray]) -> Path:
    """A run with given classes, whose maps and samples are those given."""
    run = folder / "run"
    evaluation = read_evaluation_list(stack.path.parent / EVALUATION_NAME, len(stack))
    for k, volume in enumerate(maps):
        write_map(class_volume_path(run, k), volume, stack.pixel_size_A)
    for i in evaluation:
        write_map(sample_path(run, int(i)), maps[classes[i]], stack.pixel_size_A)
    n = len(stack)
    rotations, none = np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 0))
    write_assignments(run, Assignments(classes, np.eye(len(maps))[classes], rotations, np.zeros((n, 2)), none))
    write_run(run, Run("m", "program", "1.0", 7, {}, "cpu", "ok", "", 80, Cost(1.0, 2.0, 3.0)))
    return run


def metrics_of(folder: Path, stack: Stack, output: Path, classes: np.ndarray, maps: list[np.ndarray]) -> dict:
    run = reconstruction(output, stack, classes, maps)
    star, path = folder / "stack" / "particles.star", output / "results" / "metrics" / "d" / "m" / "7.json"
    files = RunFiles(star, folder / "truth", run, "d", "m", "M")
    return evaluate(files, path, output / "aligned", EvaluationSettings()).model_dump()


def test_a_run_is_judged_by_the_reference(both: tuple[Stack, Truth], folder: Path, tmp_path: Path) -> None:
    """Classes as the reference's, but junk among the large; maps are the references turned by a quarter."""
    stack, reference = both
    maps = [np.ascontiguousarray(np.rot90(reference.class_volume(k)[1:, 1:, 1:], axes=(1, 2))) for k in range(2)]
    maps = [np.pad(volume, ((1, 0), (1, 0), (1, 0))) for volume in maps]
    found = metrics_of(folder, stack, tmp_path, np.where(reference.classes == 2, 0, reference.classes), maps)
    assert found["judged_by"] == "reference"
    assert found["clustering"]["confusion"] == [[2 * EACH, 0], [0, 2 * EACH], [JUNK, 0]]
    assert 0.8 < found["clustering"]["ari"] < 1
    assert [one["class_name"] for one in found["fsc"]["per_class"]] == ["large", "small"]
    assert min(one["auc_mean"] for one in found["fsc"]["per_class"]) > 0.9
    assert found["pose"] is None
    assert found["conformation"] is None


def test_without_a_reference_nothing_is_scored(project: Project, tmp_path: Path) -> None:
    stack, reference = imported(project, tmp_path, reference=None)
    assert reference.class_names == ("unlabelled",)
    found = metrics_of(tmp_path, stack, tmp_path, np.arange(N) % 2, [np.random.default_rng(0).random((32,) * 3)] * 2)
    assert found["judged_by"] == "nothing"
    assert found["clustering"]["ari"] is None
    assert found["fsc"] is None
    write_tables([tmp_path / "results" / "metrics" / "d" / "m" / "7.json"], tmp_path / "tables")
    assert ",,," in (tmp_path / "tables" / "table1.csv").read_text()
    write_gallery(stack.path, tmp_path / "truth", tmp_path / "gallery.png")
    assert (tmp_path / "gallery.png").stat().st_size > 10000


def test_poses_of_the_reference_are_taken_if_wanted(project: Project, tmp_path: Path) -> None:
    truths, file = project.truths, Path(project.definition["file"])
    tables = read_star(file)
    names = tables["particles"]["rlnImageName"].astype(str)
    frames, stacks = names.str.split("@").str[0].astype(int) - 1, names.str.extract(r"/(.)\.mrcs")[0]
    real = np.flatnonzero(stacks != "c")
    from hydra_bench.contracts.poses import pose_table

    poses = [(truths["ab".index(stacks[i])], frames[i]) for i in real]
    rotations, shifts = (np.stack([getattr(t, key)[i] for t, i in poses]) for key in ("rotations", "shifts_A"))
    with_poses = tables["particles"].iloc[real].reset_index(drop=True).join(pose_table(rotations, shifts))
    labels = tmp_path / "poses.star"
    write_star(labels, {"optics": tables["optics"], "particles": with_poses.assign(rlnClassNumber=1)})
    np.savetxt(tmp_path / "real.txt", real, fmt="%d")
    reference = {"labels": str(labels), "passthrough": None, "classes": None, "poses": True}
    _, found = imported(project, tmp_path, subset=str(tmp_path / "real.txt"), reference=reference)
    assert found.class_names == ("class 1",)
    order = np.searchsorted(real, found.sources)
    np.testing.assert_allclose(found.rotations, rotations[order], atol=1e-5)
    np.testing.assert_allclose(found.shifts_A, shifts[order], atol=1e-4)


def test_particles_of_the_other_contrast_are_said_to_be(project: Project) -> None:
    right = project.definition["contrast"]
    wrong = {"white": "black", "black": "white"}[right]
    assert not [note for note in Experiment.open(project.definition).particles.notes if "look" in note]
    (note,) = [
        note for note in Experiment.open({**project.definition, "contrast": wrong}).particles.notes if "look" in note
    ]
    assert note.endswith(f"are expected: contrast: {right}")


def test_subsets(project: Project, tmp_path: Path) -> None:
    numbers = np.array([5, 17, 2, 99])
    np.save(tmp_path / "s.npy", numbers)
    np.savetxt(tmp_path / "s.txt", numbers, fmt="%d")
    for name in ("s.ind", "s.pkl"):  # as cryoDRGN and `hydra-bench select` write them
        (tmp_path / name).write_bytes(pickle.dumps(numbers))
    for name in ("s.npy", "s.txt", "s.ind", "s.pkl"):
        assert read_numbers(tmp_path / name).tolist() == numbers.tolist()
        experiment = Experiment.open({**project.definition, "subset": str(tmp_path / name)})
        assert sorted(experiment.chosen(0)) == sorted(numbers)
    tables = read_star(project.definition["file"])
    listed = {"optics": tables["optics"], "particles": tables["particles"].iloc[numbers]}
    write_star(tmp_path / "selected.star", listed)
    experiment = Experiment.open({**project.definition, "subset": str(tmp_path / "selected.star")})
    assert sorted(experiment.chosen(0)) == sorted(numbers)
    drawn = Experiment.open({**project.definition, "subset": 20})
    assert len(set(drawn.chosen(0))) == 20
    assert set(drawn.chosen(0)) != set(drawn.chosen(1))
    for subset, said in ((N + 1, "at most the 129 particles"), (str(tmp_path / "bad.txt"), "numbers within 0..128")):
        (tmp_path / "bad.txt").write_text("5\n400\n")
        with pytest.raises(InputError, match=said):
            Experiment.open({**project.definition, "subset": subset}).chosen(0)


def test_an_image_listed_twice_is_refused_or_taken_once(project: Project, tmp_path: Path) -> None:
    tables = read_star(project.definition["file"])
    rows = [*range(N), 4, 7]
    twice = tmp_path / "twice.star"
    write_star(twice, {"optics": tables["optics"], "particles": tables["particles"].iloc[rows]})
    definition = {**project.definition, "file": str(twice), "datadir": str(project.folder)}
    with pytest.raises(
        InputError, match=r"twice\.star: image \d+ of extract/.* is there twice, again in row 130, as are 2 in all"
    ):
        Experiment.open(definition)
    assert sorted(Experiment.open({**definition, "repeated": "first"}).chosen(0)) == list(range(N))
    assert len(Experiment.open({**definition, "repeated": "keep"}).chosen(0)) == N + 2


def test_what_a_reference_cannot_be(project: Project) -> None:
    own = project.definition["reference"]
    small = own["classes"]["small"]
    for reference, said in (
        ({**own, "labels": "no.star"}, "no.star: no such file"),
        ({**own, "classes": {"a": small, "b": {**small, "files": None}}}, "b has particles that another class"),
        ({**own, "classes": {"a": {**small, "map": "no.mrc"}}}, "no.mrc: no such file"),
        ({**own, "poses": True}, "lacks the column rlnAngleRot"),
    ):
        with pytest.raises(InputError, match=said) as error:
            Experiment.open({**project.definition, "reference": reference}).reference()
        assert "\n" not in str(error.value)


def test_classes_may_name_the_files_of_their_particles(project: Project, tmp_path: Path) -> None:
    tables = read_star(project.definition["reference"]["labels"])
    labels = tables["particles"]["rlnClassNumber"]
    for k in (2, 4):
        write_star(tmp_path / f"{k}.star", {"optics": tables["optics"], "particles": tables["particles"][labels == k]})
    classes = {
        n: {"labels": None, "files": [str(tmp_path / f"{k}.star")], "map": None} for n, k in (("s", 2), ("j", 4))
    }
    reference = {"labels": None, "passthrough": None, "classes": classes, "poses": False}
    found = Experiment.open({**project.definition, "reference": reference}).reference()
    assert found.names == ("s", "j", "unlabelled")
    assert np.bincount(found.classes).tolist() == [2 * EACH, JUNK - 2, 2 * EACH + 2]
    np.testing.assert_array_equal(found.classes == 0, project.classes == 1)


def test_images_are_cropped_before_they_are_normalised_and_windowed_after() -> None:
    images = np.random.default_rng(2).standard_normal((5, 32, 32)).astype(np.float32) * 3 + 7
    done = Processing(16, -1, "image", window_radius=0.8).apply(images)
    plain = Processing(16, 1, "image").apply(images)
    assert done.shape == (5, 16, 16)
    np.testing.assert_allclose(plain.mean((1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(plain.std((1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(done[:, 4:12, 4:12], -plain[:, 4:12, 4:12], atol=1e-6)
    assert not done[:, 0, 0].any()
    np.testing.assert_allclose(Processing(32, 1, "none").apply(images), images)


def test_images_that_were_windowed_before_are_measured_inside_their_window(capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(2).standard_normal((5, 64, 64)).astype(np.float32) * 3
    axis = (np.arange(64) - 32) / 32
    windowed = images * (np.hypot(axis[:, None], axis) < 0.7)
    done = Processing(64).apply(windowed)
    inside = np.hypot(axis[:, None], axis) < 0.6
    np.testing.assert_allclose(done[:, inside].std(1), 1, atol=0.1)
    assert "windowed already" in capsys.readouterr().err
    np.testing.assert_allclose(Processing(64).apply(images)[:, inside].std(1), 1, atol=0.1)
    spots = np.zeros((2, 64, 64), dtype=np.float32)
    spots[:, 30:34, 30:34] = images[:2, :4, :4]
    spots[1] = images[1]
    with pytest.raises(InputError, match="normalise: background is not allowed, since the background of an"):
        Processing(64).apply(spots)


def test_images_without_ctf_are_a_stack_like_others(project: Project, tmp_path: Path) -> None:
    stack, _ = imported(project, tmp_path, ctf="none", box_px=16)
    import torch

    frequencies = torch.tensor([[0.0, 0.0, 0.0], [0.01, 0.02, 0.0]])
    for one in (stack, read_particles(stack.path)):
        np.testing.assert_allclose(one.transfer(np.arange(3), frequencies), 1.0, atol=1e-6)
    assert read_map(tmp_path / "truth" / "volumes" / "class_1.mrc")[0].shape == (16, 16, 16)
