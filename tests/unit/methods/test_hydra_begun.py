"""A run that begins from given poses and classes: what is read of them, its maps and tables, and how it goes on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra_cases import CPU, TINY, Case, assert_same_state, correlation, hartley_of, hydra, run, tiny
from sklearn.metrics import adjusted_rand_score

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import PARTICLES_NAME
from hydra_bench.contracts.reconstruction import read_run
from hydra_bench.core.errors import InputError
from hydra_bench.core.star import read_star, write_star
from hydra_bench.methods.hydra.fit import chunks
from hydra_bench.methods.hydra.fit.checkpoint import Checkpointer, Stopped, first_difference
from hydra_bench.methods.hydra.fit.parallel import Parallel
from hydra_bench.methods.hydra.fit.run_state import Run
from hydra_bench.methods.hydra.fit.train import begin_epoch, end_epoch, start
from hydra_bench.methods.hydra.fit.training_input import Beginning, TrainingInput, make_schedule
from hydra_bench.methods.hydra.model.rendering import ball
from hydra_bench.particles.particle_files import read_poses, read_poses_and_classes
from hydra_bench.physics.fourier import frequency_radius
from hydra_bench.physics.rotations import random_rotations

L = 5
PLAIN: dict[str, Any] = {"spare_fields": 0, "l_schedule": (L, L), "normalise": "none"}


def begun(case: Case, beginning: Beginning, **changes: Any) -> Run:
    """A run whose maps are made, from all 60 images in two chunks, and not yet taught."""
    found = start(TrainingInput(case.stack, tiny(**{**PLAIN, **changes}), 5, None, beginning), CPU, Parallel())
    begin_epoch(found, found.schedule[0])
    for particles in np.array_split(np.arange(60), 2):
        chunks.begin_chunk(found, found.schedule[0], chunks.Chunk.of(found, particles))
        found.progress.chunk += 1
    return found


def maps_of(found: Run) -> torch.Tensor:
    assert found.maps is not None
    return chunks.maps_of(found, found.maps, L)


def fits(case: Case, beginning: Beginning) -> list[list[float]]:
    """Correlation of each true map, by rows, with each map that is begun from, where k is 3 and more.

    At lower frequencies two round blobs are alike.
    """
    fine = frequency_radius(2 * L + 2, 3) >= 3
    maps = maps_of(begun(case, beginning)) * fine
    return [[correlation(found, hartley_of(case, c, L) * fine) for found in maps] for c in range(2)]


def test_maps_are_those_of_the_poses_and_classes(case: Case) -> None:
    """Good at both, and worse by far with either of them, or the shifts, shuffled."""
    true = case.beginning()
    (a, b), (c, d) = fits(case, true)
    print("with the truth", a, d, "each other's", b, c)
    assert min(a, d) > 0.8
    assert max(b, c) < min(a, d) - 0.1
    order = np.random.default_rng(0).permutation(60)
    anyhow = replace(true, rotations=random_rotations(60, np.random.default_rng(1)))
    for wrong in (anyhow, replace(true, classes=true.classes[order]), replace(true, shifts_A=-true.shifts_A)):
        (x, _), (_, y) = fits(case, wrong)
        print("wrong", x, y)
        assert max(x, y) < 0.75


def test_fields_are_taught_the_maps(case: Case) -> None:
    """In the frame of the poses, wherever that is."""
    off = case.beginning()
    off = replace(off, shifts_A=off.shifts_A + (off.rotations @ [9.0, 0.0, 0.0])[:, :2])  # in a frame beside the middle
    found = begun(case, off)
    targets = maps_of(found)
    end_epoch(found, found.schedule[0], 60, lambda row, tables: None)
    assert found.maps is None
    inside, points = ball(L, CPU)
    for field, target in zip(found.model.fields, targets, strict=True):
        with torch.no_grad():
            assert correlation(field(points[None])[0], target.flatten()[inside]) > 0.9


def test_tables_hold_the_poses_and_are_certain_of_the_classes(case: Case) -> None:
    classes = case.truth.classes.copy()
    classes[:7] = -1
    tables = begun(case, case.beginning(classes), classes=3, downsample_px=24).model.tables
    expected = np.where(classes[:, None] < 0, 1 / 3, np.eye(3)[classes])
    torch.testing.assert_close(tables.posteriors, torch.from_numpy(expected).float())
    shifts_px = case.truth.shifts_A / (case.stack.pixel_size_A * 32 / 24)
    for k in range(3):
        torch.testing.assert_close(tables.rotations[:, k], torch.from_numpy(case.truth.rotations).float())
        torch.testing.assert_close(tables.shifts_px[:, k], torch.from_numpy(shifts_px).float())


def test_images_of_no_class_are_in_no_map(case: Case) -> None:
    """CTF² adds up to that of the images of each class, and poses of the others do not matter."""
    classes = case.truth.classes.copy()
    none = np.random.default_rng(2).permutation(60)[:20]
    classes[none] = -1
    beginning = case.beginning(classes)
    found = begun(case, beginning)
    assert found.maps is not None
    n = found.frequencies.count(L)
    for k in range(2):
        ctf = found.source.load(np.flatnonzero(classes == k), slice(None, n)).ctf
        assert float(found.maps.sums[k, 2].sum()) == pytest.approx(float(ctf[:, ::2].square().sum()), rel=1e-4)
    rotations = beginning.rotations.copy()
    rotations[none] = np.eye(3)
    for changes in ({}, {"classes": 3}):
        maps = [begun(case, b, **changes).maps for b in (beginning, replace(beginning, rotations=rotations))]
        assert maps[0] is not None
        assert maps[1] is not None
        assert torch.equal(maps[0].sums, maps[1].sums)


def test_fields_of_no_given_class_begin_as_blends_of_all(case: Case) -> None:
    """Each of its own images, about as many as the fields have on average; the classes given are as without them."""
    alone = maps_of(begun(case, case.beginning()))
    found = begun(case, case.beginning(), classes=3, spare_fields=1)
    maps = maps_of(found)
    assert len(maps) == 4
    torch.testing.assert_close(maps[:2], alone)
    assert found.maps is not None
    weights = found.maps.sums[:, 2].sum((1, 2, 3))
    assert ((weights[2:] / weights.sum()) > 0.1).all()
    assert not torch.equal(maps[2], maps[3])
    for extra in maps[2:]:
        of_both = [correlation(extra, hartley_of(case, c, L)) for c in range(2)]
        print("blend", of_both)
        assert min(of_both) > 0.2


def test_the_beginning_takes_the_place_of_maps_and_pretraining() -> None:
    for settings in (tiny(), tiny(map_schedule=(4, 5))):
        epochs = make_schedule(settings, 60, 10, begun=True)
        assert [(epoch.phase, epoch.l) for epoch in epochs] == [
            ("begin", 4),
            ("search", 4),
            ("search", 5),
            ("decode", 10),
        ]
        assert not epochs[0].after(0)


def test_a_run_that_begins_from_the_truth_searches_on(case: Case) -> None:
    found = run(case.stack, tiny(l_schedule=(L, L)), beginning=case.beginning())
    assert [row["phase"] for row in found.history.rows] == ["search", "search", "decode"]
    assert found.history.images_seen == 60 * (1 + 2 + 1)
    ari = adjusted_rand_score(case.truth.classes, found.model.tables.hard_classes())
    from_nothing = run(case.stack, tiny(l_schedule=(L, L)))
    print("ARI", ari, adjusted_rand_score(case.truth.classes, from_nothing.model.tables.hard_classes()))
    assert ari > 0.9
    # Poses were searched again, and are not those given.
    assert not np.allclose(found.model.tables.rotations[:, 0].numpy(), case.truth.rotations, atol=1e-3)


def test_a_checkpoint_is_of_one_beginning(case: Case, tmp_path: Path) -> None:
    def identity(beginning: Beginning | None) -> Any:
        return TrainingInput(case.stack, tiny(), 5, None, beginning).identity()

    true = case.beginning()
    assert identity(None)["beginning"] == "none"
    assert identity(true) == identity(case.beginning())
    swapped = replace(true, classes=1 - true.classes)
    turned = replace(true, rotations=true.rotations[::-1].copy())
    for other in (None, swapped, turned, replace(true, shifts_A=true.shifts_A + 1)):
        assert str(first_difference(identity(true), identity(other))).startswith("beginning was")
    checkpointer = Checkpointer(tmp_path / "state", identity(true))
    checkpointer.asked_to_stop = True
    with pytest.raises(Stopped):
        run(case.stack, tiny(), beginning=true, checkpointer=checkpointer)
    with pytest.raises(InputError, match="a checkpoint of another run: beginning was"):
        Checkpointer(tmp_path / "state", identity(swapped)).load()


def test_stopped_among_the_first_images_it_is_the_unbroken_run(case: Case, tmp_path: Path) -> None:
    settings = tiny(chunk=20, classes=3)  # a field of no given class, whose images are drawn
    whole = run(case.stack, settings, beginning=case.beginning()).state()
    checkpointer = Checkpointer(tmp_path / "state", every_s=0)
    checkpointer.asked_to_stop = True
    with pytest.raises(Stopped):
        run(case.stack, settings, beginning=case.beginning(), checkpointer=checkpointer)
    again = run(case.stack, settings, beginning=case.beginning(), checkpointer=Checkpointer(tmp_path / "state"))
    found = again.state()
    for state in (whole, found):
        for row in state["history"]["rows"]:
            del row["wall_s"]
    assert_same_state(found, whole)


@pytest.fixture
def tables(case: Case) -> dict[str, pd.DataFrame]:
    """Those of the truth's file."""
    return read_star(case.folder.parent / "truth" / "truth.star")


@pytest.mark.parametrize(
    ("numbers", "classes"),
    [
        ([1, 2, 1], [0, 1, 0]),
        ([0, 2, 1], [-1, 1, 0]),  # 0 is no class
        ([7, 3, 7], [1, 0, 1]),  # as of a classification with empty classes
        ([0, 4, 0], [-1, 0, -1]),
    ],
)
def test_classes_are_numbered_without_gaps(
    case: Case, tables: dict[str, pd.DataFrame], numbers: list[int], classes: list[int], tmp_path: Path
) -> None:
    named = read_star(case.stack.path)["particles"][["rlnImageName"]]
    particles = named.join(tables["particles"].assign(rlnClassNumber=numbers * 20))
    write_star(tmp_path / "other.star", {"particles": particles.iloc[::-1]})  # in another order
    rotations, shifts_A, found = read_poses_and_classes(tmp_path / "other.star", case.stack)
    assert found.tolist() == classes * 20
    for one, other in zip(read_poses(tmp_path / "other.star", case.stack), (rotations, shifts_A), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_truths_junk_is_of_no_class(case: Case, tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    numbers = [1, 2, 3] * 20
    junk = pd.DataFrame({"rlnReferenceImage": ["none"], "hydraBenchClassName": ["junk"]})
    with_junk = {
        "classes": pd.concat([tables["classes"].iloc[:1], junk, tables["classes"].iloc[1:]]),
        "particles": tables["particles"].assign(rlnClassNumber=numbers),
    }
    write_star(tmp_path / "truth.star", with_junk)
    assert read_poses_and_classes(tmp_path / "truth.star", case.stack)[2].tolist() == [0, -1, 1] * 20
    with_junk["classes"] = with_junk["classes"].assign(rlnReferenceImage="map.mrc")  # of a species of that name
    write_star(tmp_path / "truth.star", with_junk)
    assert read_poses_and_classes(tmp_path / "truth.star", case.stack)[2].tolist() == [0, 1, 2] * 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="rlnClassNumber"), "data_particles lacks the column rlnClassNumber"),
        (lambda table: table.drop(columns="rlnAngleRot"), "data_particles lacks the column rlnAngleRot"),
        (lambda table: table.assign(rlnClassNumber=0), "rlnClassNumber says that no image is of a class"),
        (lambda table: table.assign(rlnClassNumber=-1), "rlnClassNumber is -1 in row 1; 0..1e+09 is expected"),
        (lambda table: table.assign(rlnClassNumber=1.5), "rlnClassNumber is 1.5 in row 1; whole numbers are expected"),
        (lambda table: table.iloc[:59], "59 rows"),
    ],
)
def test_files_that_nothing_can_begin_from(
    case: Case, tables: dict[str, pd.DataFrame], change: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "begin.star"
    write_star(path, {"particles": change(tables["particles"])})
    with pytest.raises(InputError) as raised:
        read_poses_and_classes(path, case.stack)
    assert str(path) in str(raised.value)
    assert message in str(raised.value)


def test_run_json_says_what_it_began_from_and_that_it_is_a_bound(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = case.folder.parent / "truth" / "truth.star"
    parameters = {**TINY, "l_schedule": [4], "decode_epochs": 0}
    definition = {"name": "begun", "program": "hydra", "parameters": parameters, "init_from": "truth"}
    stack = ["hydra", "--particles", str(case.stack.path), "--threads", "1", "--init-from", str(truth)]
    text = json.dumps(definition | {"reads_truth": True})
    assert main([*stack, "--out", str(tmp_path / "a"), "--definition", text]) == 0
    recorded = read_run(tmp_path / "a")
    assert (recorded.state, recorded.reads_truth, recorded.notes["init_from"]) == ("ok", True, "truth")
    assert main(hydra(case.stack.path, tmp_path / "b", "--init-from", str(truth))) == 0
    assert read_run(tmp_path / "b").notes["init_from"] == str(truth)
    # As a method of a benchmark, one whose classes are too few has failed on the dataset, and says why.
    text = json.dumps(definition | {"parameters": parameters | {"classes": 1}})
    assert main([*stack, "--out", str(tmp_path / "c"), "--definition", text]) == 0
    failed = read_run(tmp_path / "c")
    assert failed.state == "failed"
    assert "rlnClassNumber: 2 different classes; at most 1 are allowed" in failed.reason
    # It waits for the run that it is to begin from, and ends as that one did.
    stack[-1] = str(tmp_path / "c" / PARTICLES_NAME)
    assert main([*stack, "--out", str(tmp_path / "d"), "--definition", text]) == 0
    assert "which ended as failed" in read_run(tmp_path / "d").reason
