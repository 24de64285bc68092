"""Inputs that once ended in a traceback, without an end, or in files that nobody asked for: each ends in one line."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryobench_archive import write_archive
from hydra_cases import Case
from report_results import finished
from tally import Tally

from hydra_bench.cli.main import main

GROUP = "inputs that were once wrong"
INPUTS = Path(__file__).with_name("inputs")
LONGEST_S = 5.0

BOMB = "more than 50,000 values, aliases counted as what they stand for"
NO_POSES = "poses_from is expected, truth or a method's name"
NO_NAME = "is no name of letters, digits, _, . and -"

CONFIGURATIONS: list[tuple[str, str, str]] = [
    ("check-config", "09-yaml-bomb/recursive-anchor.yaml", "*s is in what it stands for"),
    ("check-config", "09-yaml-bomb/recursive-map.yaml", "*t is in what it stands for"),
    ("check-config", "09-yaml-bomb/billion-laughs-top.yaml", BOMB),
    ("check-config", "09-yaml-bomb/billion-laughs-in-parameters.yaml", BOMB),
    ("dataset check", "11-cif-unknown-coordinate/c.yaml", "mol1.cif: atom "),
    ("dataset check", "11-cif-unknown-coordinate/wrap.yaml", "mol1.cif: atom "),
    ("check-config", "14-name-newline/c.yaml", '"m\\n" is not allowed; one line'),
    ("check-config", "23-hydra-settings-late/poses-fixed-no-source.yaml", f"poses: fixed is not allowed .*{NO_POSES}"),
    ("check-config", "23-hydra-settings-late/poses-refine-no-source.yaml", NO_POSES),
    ("check-config", "23-hydra-settings-late/latent-list-mismatch.yaml", "latent_dim: 3 numbers for 2 classes"),
    ("check-config", "23-hydra-settings-late/lsched-huge.yaml", "l_schedule[0]: 1000000000 is not allowed"),
]


def ends(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], status: int = 2, within_s: float = LONGEST_S
) -> str | None:
    """What is wrong with how a command ends; None if it is one line that says `said` (.* for whatever is between)."""
    capsys.readouterr()
    began = time.process_time()
    try:
        found = main(arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    took = time.process_time() - began
    line = capsys.readouterr().err
    if found != status:
        return f"exit {found}; {status} is expected: {line}"
    if line.count("\n") != 1 or not line.startswith("hydra-bench: error: "):
        return f"one line is expected: {line}"
    if not all(part in line for part in said.split(".*")):
        return f"{said!r} is expected: {line}"
    return f"{took:.1f} s" if took > within_s else None


@pytest.mark.parametrize(("command", "file", "said"), CONFIGURATIONS)
def test_a_configuration_is_refused(
    command: str,
    file: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tally: Tally,
) -> None:
    path = INPUTS / file
    monkeypatch.chdir(path.parent)
    tally.check(GROUP, file, ends([*command.split(), path.name], f"{path.name}: .*{said}", capsys))


def test_atoms_of_no_place_make_no_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    monkeypatch.chdir(INPUTS / "11-cif-unknown-coordinate")
    definition = {"name": "t", "species": {"a": {"entry": "mol1", "images": 30}}, "evaluation_particles_per_class": 3}
    definition["simulation"] = {"overhang": "wrap", "box_px": 48, "pixel_size_A": 4.0, "delivered_box_px": 32}
    arguments = ["simulate", "--definition", json.dumps(definition), "--structures", "st"]
    arguments += ["--stack", str(tmp_path / "stack"), "--truth", str(tmp_path / "truth"), "--threads", "1"]
    wrong = ends(arguments, "mol1.cif: atom ", capsys)
    tally.check(GROUP, "11: simulate", wrong or (str(list(tmp_path.iterdir())) if any(tmp_path.iterdir()) else None))


def test_a_forged_pickle_is_refused(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    """Its array of objects lies in a buffer of addresses; NumPy's own unpickling follows them, and the process ends."""
    folder = write_archive(tmp_path / "a", case)
    shutil.copy(INPUTS / "03-forged-poses.pkl", folder / "combined_poses.pkl")
    configuration = {
        "datasets": ["t"],
        "methods": ["m"],
        "dataset_definitions": {"t": {"cryobench": {"folder": str(folder)}}},
        "method_definitions": {"m": {"program": "hydra", "label": "M"}},
    }
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(configuration))
    said = "combined_poses.pkl: not a pickle of arrays (an array of type 'O8'; numbers and texts are allowed)"
    tally.check(GROUP, "03: a forged pickle", ends(["dataset", "check", str(path)], said, capsys))


def test_an_empty_cs_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally) -> None:
    (tmp_path / "x.cs").touch()
    arguments = ["hydra", "--particles", str(tmp_path / "x.cs"), "--out", str(tmp_path / "out")]
    tally.check(GROUP, "12: an empty .cs file", ends(arguments, "x.cs: not a .cs file", capsys))


METRICS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "18: a dataset that leads out of the folder": (lambda c: c | {"dataset": "../../ESCAPED"}, f"dataset: .*{NO_NAME}"),
    "18: a method that leads out of the folder": (lambda c: c | {"method": "/tmp/m"}, f"method: .*{NO_NAME}"),
    "19: a dataset named as the index of figures": (lambda c: c | {"dataset": "index.json"}, f"dataset: .*{NO_NAME}"),
    "25: a list": (lambda c: [], "a mapping is expected"),
    "25: text for numbers": (lambda c: c | {"n_particles": "many"}, "n_particles: input should be a valid integer"),
    "25: other lengths": (
        lambda c: c | {"labels": c["labels"][1:]},
        "labels: 119 entries; as many as",
    ),
    "25: species that are none": (lambda c: c | {"true_classes": [7] * 120}, "true_classes: 7 is not allowed; 0..2"),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("command", ["tables", "figures", "compare"])
def test_a_metrics_file_is_refused(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    change, said = METRICS[name]
    path = tmp_path / "results" / "metrics" / "demo" / "m" / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(change(finished("m", "M", 0.5, 0.5))))
    out = tmp_path / "made" / "in"
    arguments = {
        "tables": ["tables", "--metrics", str(path), "--out", str(out)],
        "figures": ["figures", "--metrics", str(path), "--out", str(out)],
        "compare": ["compare", str(tmp_path / "results"), str(tmp_path / "results")],
    }[command]
    wrong = ends(arguments, f"1.json: .*{said}", capsys)
    tally.check(GROUP, f"{name}, {command}", wrong or (f"made {out.parent}" if out.parent.exists() else None))


def test_a_page_embeds_no_file_from_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "secret.svg").write_text("secret")
    metrics = tmp_path / "results" / "metrics" / "demo" / "m" / "1.json"
    metrics.parent.mkdir(parents=True)
    metrics.write_text(json.dumps(finished("m", "M", 0.5, 0.5)))
    entry = {"dataset": "demo", "title": "t", "caption": "c", "method": None, "interactive": False}
    for file in ("../secret.svg", str(tmp_path / "secret.svg")):
        (tmp_path / "figures" / "index.json").write_text(json.dumps([entry | {"file": file}]))
        arguments = ["page", "--metrics", str(metrics), "--tables", str(tmp_path), "--out", str(tmp_path / "p.html")]
        wrong = ends([*arguments, "--figures", str(tmp_path / "figures")], "index.json: .*leads out of", capsys)
        tally.check(GROUP, f"18: a page with {file}", wrong)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipe.star").symlink_to(tmp_path / "pipe")
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    np.save(tmp_path / "n.npy", np.arange(3))
    out = ["--out", str(tmp_path / "o")]
    for arguments in (
        ["check-config", str(tmp_path / "pipe")],
        ["check-config", "/dev/zero"],
        ["tables", "--metrics", str(tmp_path / "pipe"), *out],
        ["hydra", "--particles", str(tmp_path / "pipe.star"), *out],
        ["hydra", "--particles", str(tmp_path / "zero.npy"), *out],
        ["simulate", "--definition", str(tmp_path / "pipe"), "--structures", "s", "--stack", "a", "--truth", "b"],
    ):
        tally.check(GROUP, f"pipes and devices: {arguments}", ends(arguments, "", capsys))
