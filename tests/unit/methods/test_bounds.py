"""The bounds: what they bound, and that they say so where they have no meaning."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from definitions import dataset, moving_dataset
from sklearn.metrics import adjusted_rand_score

from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import read_assignments, sample_path
from hydra_bench.contracts.stack import read_stack
from hydra_bench.contracts.truth import Truth, read_truth
from hydra_bench.core.errors import NotApplicableError
from hydra_bench.core.files import read_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.mrc import read_map
from hydra_bench.datasets.simulated.simulate import simulate
from hydra_bench.maps.fsc import compare
from hydra_bench.methods.bounds import class_bound
from hydra_bench.methods.bounds.backprojection import nearness, run_backprojection
from hydra_bench.methods.bounds.class_bound import run_class_bound
from hydra_bench.methods.bounds.task import BoundTask
from hydra_bench.methods.bounds.true_maps import noise_like, run_true_maps
from hydra_bench.methods.cards import filled_parameters
from hydra_bench.physics.fourier import shift_factors
from hydra_bench.physics.projection import central_slices
from hydra_bench.physics.rotations import random_rotations

STRUCTURES = Path(__file__).parents[3] / "resources" / "structures"


def task_of(folder: Path, definition: JsonObject, program: str = "backprojection", **parameters: Any) -> BoundTask:
    if not folder.exists():
        simulate(definition, STRUCTURES, folder / "stack", folder / "truth")
    stack, truth = read_stack(folder / "stack" / "particles.star"), read_truth(folder / "truth")
    evaluation = np.array([int(np.flatnonzero(truth.classes == k)[n]) for k in (0, 1) for n in (0, 1)])
    return BoundTask(stack, truth, np.sort(evaluation), filled_parameters(program, parameters), seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bounds") / "rigid"
    task_of(folder, dataset(images=120))
    return folder


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bounds") / "moving"
    task_of(folder, moving_dataset(images=120, states=5))
    return folder


def of_particles(folder: Path, task: BoundTask) -> list[float]:
    """The FSC-AUC of each evaluated particle's own map, as it lies."""
    maps = [(sample_path(folder, int(i)), task.truth.particle_volume_path(int(i))) for i in task.evaluation]
    return [compare(read_map(own)[0], read_map(true)[0]).auc for own, true in maps]


def test_a_mask_of_its_own_makes_back_projection_a_ceiling_and_shuffled_labels_are_chance(
    folder: Path, tmp_path: Path
) -> None:
    auc = {}
    for name, parameters in {"ceiling": {"mask": "own"}, "oracle": {}, "shuffled": {"labels": "shuffled"}}.items():
        task = task_of(folder, {}, **parameters)
        outcome = run_backprojection(task, tmp_path / name)
        auc[name] = np.mean(of_particles(tmp_path / name, task))
        assert outcome.notes.get("reference") == ("ceiling" if name == "ceiling" else None)
        assert outcome.notes["given"] == (["poses"] if name == "shuffled" else ["labels", "poses"])
        found = read_assignments(tmp_path / name, len(task.stack))
        assert (found.classes == task.truth.classes).all() == (name != "shuffled")
    assert auc["ceiling"] > auc["oracle"] + 0.03
    assert auc["oracle"] > max(0.7, auc["shuffled"] + 0.1)


def test_a_species_that_moves_has_a_map_of_particles_that_are_near(moving: Path, tmp_path: Path) -> None:
    task = task_of(moving, {}, mask="own", coordinates="true")
    run_backprojection(task, tmp_path)
    first, second = (read_map(class_volume_path(tmp_path, k))[0] for k in (0, 1))
    for i in task.evaluation:
        own = read_map(sample_path(tmp_path, int(i)))[0]
        moves = task.truth.classes[i] == 1
        assert np.array_equal(own, second if moves else first) != moves
    members = np.flatnonzero(task.truth.classes == 1)
    particle = int(members[0])
    counts = nearness(task.truth, members, particle)
    angles = task.truth.conformations[:, 0]
    assert counts[particle] == 1
    assert (counts[np.abs(angles - angles[particle]) > 0.25 * np.ptp(angles[members])] == 0).all()
    assert nearness(task.truth, np.flatnonzero(task.truth.classes == 0), 0 if task.truth.classes[0] == 0 else 1) is None


def test_the_best_single_map_is_nearer_to_all_states_than_any_of_them(moving: Path, tmp_path: Path) -> None:
    task = task_of(moving, {}, "true_maps", maps="average")
    assert run_true_maps(task, tmp_path).notes["given"] == ["labels", "poses"]
    average = read_map(class_volume_path(tmp_path, 1))[0]
    np.testing.assert_allclose(average, task.truth.average_volume(1), atol=1e-6)
    states = [read_map(path)[0] for path in task.truth.state_paths[1]]
    counts = np.bincount(task.truth.states[task.truth.classes == 1])
    error = [
        sum(n * np.square(state - of).sum() for n, state in zip(counts, states, strict=True))
        for of in [average, *states]
    ]
    assert min(error) == error[0]
    np.testing.assert_array_equal(read_map(class_volume_path(tmp_path, 0))[0], task.truth.class_volume(0))


def test_chance_maps_are_of_another_species_or_have_the_same_power(folder: Path, tmp_path: Path) -> None:
    task = task_of(folder, {}, "true_maps", maps="other_species")
    outcome = run_true_maps(task, tmp_path / "other")
    assert outcome.notes["map_of"] == {"large": "small", "small": "large"}
    assert outcome.notes["reference"] == "chance"
    assert outcome.notes["given"] == ["labels"]
    wrong = np.mean(of_particles(tmp_path / "other", task))
    run_true_maps(task_of(folder, {}, "true_maps", maps="noise"), tmp_path / "noise")
    noise = np.mean(of_particles(tmp_path / "noise", task))
    assert 0 < noise < wrong < 0.6
    true_map = task.truth.class_volume(0)
    alike = noise_like(true_map, np.random.default_rng(1))
    k = np.fft.fftfreq(32, 1 / 32)
    shells = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2).round().astype(int).ravel()
    power = [np.bincount(shells, (np.abs(np.fft.fftn(v)) ** 2).ravel())[1:16] for v in (true_map, alike)]
    np.testing.assert_allclose(power[0], power[1], rtol=0.02)


def test_one_species_has_an_embedded_entry_for_its_chance(folder: Path, tmp_path: Path) -> None:
    task = task_of(folder, {}, "true_maps", maps="other_species")
    alone = replace(
        task.truth, class_names=("large",), volume_paths=task.truth.volume_paths[:1], classes=0 * task.truth.classes
    )
    outcome = run_true_maps(replace(task, truth=alone), tmp_path)
    assert outcome.notes["map_of"] == {"large": "entry 3jb9"}


def test_the_class_bound_is_sure_where_images_are_clear_and_unsure_where_they_are_not(tmp_path: Path) -> None:
    ari, confidence = {}, {}
    for snr in (0.5, 0.01):
        task = task_of(tmp_path / f"snr{snr}", dataset(images=60, snr=snr), "class_bound", radius=10)
        outcome = run_class_bound(task, tmp_path / f"bound{snr}")
        assert outcome.notes["given"] == ["poses", "maps"]
        found = read_assignments(tmp_path / f"bound{snr}", len(task.stack))
        np.testing.assert_allclose(found.posteriors.sum(1), 1, atol=1e-5)
        ari[snr] = adjusted_rand_score(task.truth.classes, found.classes)
        confidence[snr] = found.posteriors.max(1).mean()
        # Posteriors are those of Bayes' rule: as often right as they say.
        right = (found.classes == task.truth.classes).mean()
        assert abs(right - confidence[snr]) < 4 * np.sqrt(0.25 / len(task.stack))
    assert ari[0.5] == 1
    assert ari[0.01] < 0.9
    assert confidence[0.01] < 0.97


def test_the_scale_of_maps_in_images_and_the_noise_are_measured(folder: Path, moving: Path) -> None:
    """Images have noise of variance 1; their maps have other units, which the simulation knows."""
    for where in (folder, moving):
        task = task_of(where, {}, "class_bound")
        found = class_bound.brightness(task, class_bound.half_disc(10))
        known = read_json(where / "truth" / "provenance.json")["image_scale"] * task.stack.pixel_size_A
        assert found.scale == pytest.approx(known, rel=0.03)
        np.testing.assert_allclose(found.noise / task.stack.box_px**2, 1, atol=0.15)


def test_no_search_with_true_maps_tells_classes_better_than_the_class_bound(tmp_path: Path) -> None:
    """At low SNR, where no pose stands out. Rotations by the thousand, at every shift of a grid, at all frequencies.

    Whatever is made of a search's likelihoods, its best poses or all, it gives the true class no greater probability
    than the bound does, by more than chance; and no assignment is likelier.
    """
    radius = 8
    task = task_of(tmp_path / "faint", dataset(images=75, snr=0.03), "class_bound", radius=radius)
    run_class_bound(task, tmp_path / "bound")
    bound = read_assignments(tmp_path / "bound", len(task.stack)).posteriors
    plane = class_bound.half_disc(radius)
    extent_px = float(np.abs(task.truth.shifts_A).max() / task.stack.pixel_size_A)
    of_images = class_bound.brightness(task, plane)
    everyone, noise, box = np.arange(len(task.stack)), of_images.noise, task.stack.box_px
    coefficients, ctf = class_bound.read(task, everyone, plane)
    rotations = torch.from_numpy(random_rotations(4000, np.random.default_rng(0))).float()
    line = torch.linspace(-extent_px, extent_px, 5)
    back = shift_factors(-torch.cartesian_prod(line, line), plane, box)
    found: dict[str, list[torch.Tensor]] = {"best": [], "sum": []}
    for known in class_bound.true_maps(task, of_images.scale):
        slices = central_slices(class_bound.transform_of(known.volume, plane), rotations, plane)
        power = (ctf.square() / noise) @ slices.abs().square().T
        overlaps = [((coefficients * ctf / noise * moved) @ slices.conj().T).real for moved in back]
        likelihoods = torch.stack([2 * overlap - power for overlap in overlaps], 1).double().flatten(1)
        found["best"].append(known.log_share + likelihoods.amax(1))
        found["sum"].append(known.log_share + torch.logsumexp(likelihoods, 1))
    truly = everyone, task.truth.classes
    ours = np.log(np.clip(bound[truly], 1e-6, 1))
    for kind, logs in found.items():
        theirs = torch.log_softmax(torch.stack(logs, 1), 1)[truly].numpy()
        gain = ours - theirs
        assert gain.mean() > (0 if kind == "best" else -2 * gain.std() / np.sqrt(len(gain))), kind
        right = (torch.stack(logs, 1).argmax(1).numpy() == task.truth.classes).mean()
        assert right <= (bound.argmax(1) == task.truth.classes).mean() + 0.04, kind
    # As often right as it says.
    right = (bound.argmax(1) == task.truth.classes).mean()
    assert 0.7 < right < 1
    assert abs(bound.max(1).mean() - right) < 0.08


def test_the_class_bound_of_the_stack_leaves_each_image_out_of_its_own_map(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of(folder, {}, "class_bound", maps="stack", radius=8)
    judged: list[tuple[np.ndarray, np.ndarray]] = []
    made = class_bound.maps_of_stack

    def watched(task: BoundTask, members: np.ndarray) -> list[class_bound.KnownMap]:
        judged.append((members, np.zeros(0)))
        return made(task, members)

    def posteriors(task: BoundTask, members: np.ndarray, known: list[class_bound.KnownMap], search: Any) -> np.ndarray:
        judged[-1] = judged[-1][0], members
        return np.eye(2)[task.truth.classes[members]]

    monkeypatch.setattr(class_bound, "maps_of_stack", watched)
    monkeypatch.setattr(class_bound, "class_posteriors", posteriors)
    run_class_bound(task, tmp_path)
    assert all(not set(seen) & set(own) for seen, own in judged)
    np.testing.assert_array_equal(np.sort(np.concatenate([own for _, own in judged])), np.arange(len(task.stack)))


def without(truth: Truth, what: str) -> Truth:
    if what == "poses":
        return replace(truth, rotations=None, shifts_A=None)
    return truth if what == "motion" else replace(truth, volume_paths=(None, None))


@pytest.mark.parametrize(
    ("program", "parameters", "what", "said"),
    [
        ("backprojection", {"mask": "own"}, "poses", "has no poses"),
        ("class_bound", {}, "poses", "has no poses"),
        ("class_bound", {}, "maps", "no true maps"),
        ("true_maps", {"maps": "other_species"}, "maps", "no true maps"),
        ("true_maps", {"maps": "average"}, "motion", "no species moves"),
    ],
)
def test_a_bound_without_meaning_says_why(
    folder: Path, tmp_path: Path, program: str, parameters: JsonObject, what: str, said: str
) -> None:
    run = {"backprojection": run_backprojection, "class_bound": run_class_bound, "true_maps": run_true_maps}[program]
    task = task_of(folder, {}, program, **parameters)
    with pytest.raises(NotApplicableError, match=said):
        run(replace(task, truth=without(task.truth, what)), tmp_path)
