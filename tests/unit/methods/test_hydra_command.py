"""`hydra-bench hydra` and `hydra-bench hydra-volume`: what they write, and what they take."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra_cases import TINY, Case, hydra, set_arguments

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import read_assignments, read_history_labels, read_run, sample_path
from hydra_bench.core.files import read_json
from hydra_bench.core.mrc import read_map
from hydra_bench.methods.hydra.model.rendering import render_map
from hydra_bench.methods.hydra.output.reconstruction import read_fields


@pytest.fixture(scope="module")
def evaluated(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two classes, with the maps of the particles on the evaluation list."""
    out = tmp_path_factory.mktemp("run") / "out"
    evaluation = case.folder / "evaluation_particles.txt"
    assert main(hydra(case.stack.path, out, "--seed", "3", "--evaluation-list", str(evaluation))) == 0
    return out


def test_the_output_is_the_contract(case: Case, evaluated: Path) -> None:
    listed = sorted(str(path.relative_to(evaluated)) for path in evaluated.rglob("*") if path.is_file())
    numbers = [int(line) for line in (case.folder / "evaluation_particles.txt").read_text().split()]
    samples = [str(sample_path(Path(), n)) for n in numbers]
    maps = ["volumes/class_1.mrc", "volumes/class_2.mrc"]
    source = ["source/rows.npy", "source/source.json"]
    files = ["SHA256SUMS", "fields.pt", "history.csv", "history_labels.npy", "particles.star", "run.json"]
    assert listed == sorted([*files, *source, *maps, *samples])
    assert [path.name for path in evaluated.parent.iterdir()] == ["out"]
    for name in (*maps, *samples):
        volume, pixel_size_A = read_map(evaluated / name)
        assert volume.shape == (32, 32, 32)
        assert pixel_size_A == pytest.approx(9.9)
        assert np.isfinite(volume).all()
        assert volume.std() > 0


def test_assignments_maps_and_fields_belong_together(evaluated: Path) -> None:
    found, saved = read_assignments(evaluated, 60), read_fields(evaluated)
    assert found.posteriors.shape == (60, 2)
    np.testing.assert_allclose(found.posteriors.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(found.classes, found.posteriors.argmax(1))
    assert found.latents.shape == (60, 1)
    for path in sorted((evaluated / "samples").iterdir()):
        particle = int(path.stem)
        latent = torch.tensor(found.latents[particle]).float()
        volume = render_map(saved.fields[found.classes[particle]], 32, latent).numpy()
        np.testing.assert_allclose(read_map(path)[0], volume, atol=1e-4 * np.abs(volume).max())


def test_the_run_is_recorded(evaluated: Path) -> None:
    recorded, found = read_run(evaluated), read_assignments(evaluated, 60)
    assert (recorded.state, recorded.reason, recorded.seed, recorded.device) == ("ok", "", 3, "cpu")
    assert (recorded.method, recorded.program, recorded.reads_truth) == ("hydra", "hydra", False)
    assert recorded.images_seen == 200
    assert recorded.parameters["width"] == TINY["width"]
    assert recorded.notes["class_sizes"] == np.bincount(found.classes, minlength=2).tolist()
    assert 0 < recorded.cost.wall_s < 60
    history = pd.read_csv(evaluated / "history.csv")
    assert list(history["phase"]) == ["search", "search", "decode"]
    assert {"epoch", "l", "loss", "entropy", "images_seen", "wall_s", "size_1", "size_2", "spare_1"} <= set(history)
    assert history["spare_1"].isna().tolist() == [False, True, True]


def test_the_labels_of_every_epoch_are_kept_and_the_last_are_the_results(evaluated: Path) -> None:
    history, found = pd.read_csv(evaluated / "history.csv"), read_assignments(evaluated, 60)
    labels = read_history_labels(evaluated, 60)
    assert labels is not None
    assert labels.shape == (len(history), 60)
    assert (labels[-1] == found.classes).all()
    # The spare field of the first epoch is the class after the two that stayed.
    counts = [np.bincount(row, minlength=3).tolist() for row in labels]
    assert counts == history[["size_1", "size_2", "spare_1"]].fillna(0).astype(int).to_numpy().tolist()


def test_the_same_arguments_give_the_same_files(
    case: Case, evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even as a definition, without coefficients kept in memory, and deterministic, as a CPU always is."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "to be taken away again")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    parameters = {**TINY, "cache_mb": 0, "deterministic": True}
    definition = json.dumps({"name": "hydra", "program": "hydra", "parameters": parameters})
    assert main(["hydra", "--definition", definition, "--particles", str(case.stack.path), "--seed", "3",
                 "--threads", "1", "--out", str(tmp_path / "out")]) == 0  # fmt: skip
    for name in ("particles.star", "volumes/class_1.mrc", "volumes/class_2.mrc", "fields.pt"):
        assert (tmp_path / "out" / name).read_bytes() == (evaluated / name).read_bytes(), name
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def parameters_of(folder: Path) -> dict[str, Any]:
    return read_json(folder / "run.json")["parameters"]


def test_a_later_run_replaces_an_earlier_one(case: Case, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("old", "run.json"):
        (tmp_path / "out" / name).touch()
    assert main(hydra(case.stack.path, tmp_path / "out", "--seed", "4", classes=1)) == 0
    assert not (tmp_path / "out" / "old").exists()
    assert read_run(tmp_path / "out").seed == 4


def test_classes_of_different_dimensions(case: Case, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = {k: v for k, v in TINY.items() if k not in ("classes", "latent_dim")}
    assert main(["hydra", "--particles", str(case.stack.path), "--out", str(out), "--threads", "1", "--latent-dim",
                 "2,2,0", *set_arguments(settings)]) == 0  # fmt: skip
    assert parameters_of(out)["latent_dim"] == [2, 2, 0]
    found = read_assignments(out, 60)
    assert found.latents.shape == (60, 2)
    assert [field.latent_dim for field in read_fields(out).fields] == [2, 2, 0]
    assert all(class_volume_path(out, k).is_file() for k in range(3))


def test_rigid_classes_and_a_smaller_box(case: Case, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(hydra(case.stack.path, out, "--latent-dim", "0", "--downsample", "21", latent_dim=0)) == 0
    volume, pixel_size_A = read_map(class_volume_path(out, 0))
    assert volume.shape == (21, 21, 21)
    assert pixel_size_A == pytest.approx(9.9 * 32 / 21, rel=1e-4)
    assert read_assignments(out, 60).latents.shape == (60, 0)


def test_the_paper_preset_shrunk(case: Case, tmp_path: Path) -> None:
    """Each of its choices runs; every number that costs time is smaller."""
    smaller = {"features": 8, "width": 12, "depth": 1, "pretrain_images": 10, "search_images": 100, "l_coarse": 4,
               "base_order": 0, "keep": [2, 2, 2, 2], "shift_points": 3, "decode_epochs": 1, "chunk": 30,
               "l_schedule": [40]}  # fmt: skip
    assert main(["hydra", "--particles", str(case.stack.path), "--out", str(tmp_path / "out"), "--threads", "1",
                 "--preset", "paper", "--classes", "2", *set_arguments(smaller)]) == 0  # fmt: skip
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert list(history["phase"]) == ["search", "search", "decode"]
    assert list(history["l"]) == [15, 15, 15]
    assert list(history["images_seen"]) == [70, 130, 190]
    assert parameters_of(tmp_path / "out")["preset"] == "paper"


@pytest.mark.parametrize("invert", [False, True])
def test_particles_of_the_other_contrast_are_said_to_be(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], invert: bool
) -> None:
    command = ["hydra", "--particles", str(case.stack.path), "--out", str(tmp_path / "out"), "--threads", "1"]
    assert main([*command, *set_arguments({**TINY, "classes": 1, "latent_dim": 0, "invert": invert})]) == 0
    said = "its particles look light"
    assert (said in capsys.readouterr().err) == invert
    notes = json.loads((tmp_path / "out" / "run.json").read_text())["notes"]
    assert (said in " ".join(notes.get("particles", []))) == invert


def volumes(folder: Path, out: Path, k: int, *more: str) -> int:
    return main(["hydra-volume", "--run", str(folder), "--class", str(k), "--out", str(out), *more])


@pytest.fixture(scope="module")
def mixed(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose class 1 has two latents; 2 is rigid; 3 has one and, by hand, no particles."""
    out = tmp_path_factory.mktemp("mixed") / "out"
    assert main(hydra(case.stack.path, out, classes=3, latent_dim=(2, 0, 1), sigma=5.0, negligible=0.0)) == 0
    star = (out / "particles.star").read_text().splitlines()
    first = next(i for i, line in enumerate(star) if line[:1] in ("1", "2", "3"))
    for number, line in enumerate(star[first:]):
        star[first + number] = line.replace(line[0], "12"[number % 2], 1)
    (out / "particles.star").write_text("\n".join(star) + "\n")
    return out


def rows_of(out: Path, n: int) -> np.ndarray:
    """Latents in latents.csv, whose maps are checked to be there, different and sound."""
    table = pd.read_csv(out / "latents.csv")
    assert sorted(table["map"]) == sorted(path.name for path in out.glob("*.mrc"))
    assert len(table) == n
    maps = [read_map(out / name)[0] for name in table["map"]]
    assert all(m.shape == (32, 32, 32) and np.isfinite(m).all() for m in maps)
    return table.filter(like="latent_").to_numpy()


def test_maps_at_latents(mixed: Path, tmp_path: Path) -> None:
    assert volumes(mixed, tmp_path, 1, "--latent", "0.5,-1", "--latent=-2,0") == 0
    np.testing.assert_allclose(rows_of(tmp_path, 2), [[0.5, -1], [-2, 0]])
    expected = render_map(read_fields(mixed).fields[0], 32, torch.tensor([0.5, -1.0])).numpy()
    np.testing.assert_allclose(read_map(tmp_path / "class_1_000.mrc")[0], expected, atol=1e-6)


def test_maps_along_a_component(mixed: Path, tmp_path: Path) -> None:
    assert volumes(mixed, tmp_path, 1, "--principal-component", "1", "--points", "4") == 0
    found, steps = rows_of(tmp_path, 4), np.diff(rows_of(tmp_path, 4), axis=0)
    np.testing.assert_allclose(steps, steps[:1].repeat(3, 0), atol=3e-6)
    own = read_assignments(mixed, 60)
    latents = own.latents[own.classes == 0]
    direction = np.linalg.svd(latents - latents.mean(0))[2][0]
    along = (found - latents.mean(0)) @ direction
    ends = np.percentile((latents - latents.mean(0)) @ direction, [5, 95])
    np.testing.assert_allclose(sorted(along[[0, -1]]), ends, atol=1e-5)


def test_maps_at_and_between_centres(mixed: Path, tmp_path: Path) -> None:
    assert volumes(mixed, tmp_path, 1, "--kmeans", "3", "--between", "2") == 0
    found, own = rows_of(tmp_path, 7), read_assignments(mixed, 60)
    latents = own.latents[own.classes == 0]
    for centre in found[[0, 3, 6]]:
        assert np.abs(latents - centre).sum(1).min() < 1e-5
    np.testing.assert_allclose(found[1], (2 * found[0] + found[3]) / 3, atol=3e-6)
    assert volumes(mixed, tmp_path / "one", 1, "--kmeans", "1") == 0
    assert len(rows_of(tmp_path / "one", 1)) == 1


@pytest.mark.parametrize(
    ("k", "more", "message"),
    [
        (2, ["--latent", "0"], "--class: class 2 is rigid; only its map in volumes/"),
        (3, ["--kmeans", "2"], "--class: class 3 holds no particles; only its map in volumes/"),
        (0, ["--latent", "0,0"], "--class: 0; 1 to 3 is allowed"),
        (4, ["--latent", "0,0"], "--class: 4; 1 to 3 is allowed"),
        (1, ["--latent", "0"], "--latent: 1 numbers; class 1 has 2 dimensions"),
        (1, ["--latent", "0,0", "--latent", "1"], "--latent: all need the same number"),
        (1, ["--latent", "a,b"], "--latent: 'a,b'; numbers with commas"),
        (1, ["--latent", "nan,0"], "--latent: 'nan,0'; numbers with commas"),
        (1, ["--principal-component", "3"], "--principal-component: 3; 1 to 2 is allowed"),
        (1, ["--principal-component", "1", "--points", "0"], "--points: 0; 1 or more"),
        (1, ["--kmeans", "0"], "--kmeans: 0; 1 to"),
        (1, ["--kmeans", "31"], "--kmeans: 31; 1 to"),
        (1, ["--kmeans", "2", "--between", "-1"], "--between: -1; 0 or more"),
    ],
)
def test_maps_that_cannot_be_made(
    mixed: Path, k: int, more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert volumes(mixed, tmp_path / "out", k, *more) == 2
    error = capsys.readouterr().err
    assert error.startswith("hydra-bench: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run_has_no_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert volumes(tmp_path, tmp_path / "out", 1, "--latent", "0") == 2
    assert "fields.pt: no such file; a finished run of `hydra-bench hydra` holds one" in capsys.readouterr().err
    (tmp_path / "fields.pt").write_bytes(b"not fields")
    assert volumes(tmp_path, tmp_path / "out", 1, "--latent", "0") == 2
    assert "fields.pt: not readable as fields" in capsys.readouterr().err
