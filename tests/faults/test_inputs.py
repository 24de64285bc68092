"""Inputs that once ended in a traceback, without an end, or in files that nobody asked for: each ends in one line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryobench_archive import write_archive
from hydra_cases import Case, hydra
from hydra_cases import environment as of_another_process
from report_results import finished
from tally import Tally
from warm import Warm

from hydra_bench.cli.main import main

GROUP = "inputs that were once wrong"
ROOT = Path(__file__).parents[2]
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
    ("check-config", "09-yaml-bomb/billion-laughs-of-mappings.yaml", BOMB),
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


@pytest.mark.parametrize(("file", "comes_to_the_snakefile"), [("recursive-map", False), ("recursive-anchor", True)])
def test_what_snakemake_meets_before_any_snakefile(
    file: str, comes_to_the_snakefile: bool, tmp_path: Path, tally: Tally
) -> None:
    """The limit that config/README.md tells of: of what contains itself, mappings never come to a workflow's reader."""
    (tmp_path / "Snakefile").write_text("import sys\nprint('the Snakefile is read')\nsys.exit(2)\n")
    command = [sys.executable, "-m", "snakemake", "--configfile", str(INPUTS / "09-yaml-bomb" / f"{file}.yaml")]
    variables = of_another_process() | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    is_read = "the Snakefile is read" in done.stdout
    wrong = None if is_read == comes_to_the_snakefile and done.returncode == 2 - (not is_read) else done.stderr
    made = {path.name for path in tmp_path.iterdir()} - {"Snakefile", "cache", ".snakemake"}
    tally.check(GROUP, f"09: snakemake --configfile {file}.yaml", wrong or (f"made {made}" if made else None))


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


def test_a_reconstruction_behind_a_link(case: Case, warm: Warm, tmp_path: Path, tally: Tally) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    wrong = warm.run(*hydra(case.stack.path, tmp_path / "link")).wrong(0)
    made = (tmp_path / "link").is_symlink() and (tmp_path / "real" / "run.json").is_file()
    tally.check(GROUP, "05: --out is a link", wrong or (None if made else f"{list(tmp_path.rglob('*'))}"))


def test_a_reconstruction_where_a_disk_is_mounted(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    """A mount of its own takes root; that one is told in time is what matters."""
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "disk")
    said = "disk is where a disk is mounted; a folder within it is allowed"
    wrong = ends(hydra(case.stack.path, tmp_path / "disk"), said, capsys)
    tally.check(GROUP, "05: --out is where a disk is mounted", wrong)


@pytest.mark.parametrize("charmap", ["ISO-8859-1", "ANSI_X3.4-1968"])
def test_files_are_utf8_in_every_locale(charmap: str, tmp_path: Path, tally: Tally) -> None:
    locale = {"LC_ALL": "C"}
    if charmap != "ANSI_X3.4-1968":
        made = ["localedef", "-i", "de_DE", "-f", charmap, str(tmp_path / f"de_DE.{charmap}")]
        if shutil.which(made[0]) is None or subprocess.run(made, capture_output=True, check=False).returncode:
            pytest.skip(f"no locale of {charmap} can be made here")
        locale = {"LC_ALL": f"de_DE.{charmap}", "LOCPATH": str(tmp_path)}
    variables = of_another_process() | locale | {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "hydra_bench.cli", "check-config", str(ROOT / "config" / "config.yaml")]
    done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)
    tally.check(GROUP, f"06: {charmap}", f"{done.returncode}: {done.stderr}" if done.returncode else None)


def of_hydra(*more: str) -> list[str]:
    return ["hydra", "--particles", "stack/particles.star", "--out", "o", *more]


def of_evaluate(**names: str) -> list[str]:
    named = {"dataset": "d", "method": "m", "label": "M"} | names
    files = ["--particles", "stack/particles.star", "--truth", "truth", "--reconstruction", "r", "--out", "o/0.json"]
    return ["evaluate", *(part for name in named for part in (f"--{name}", named[name])), *files, "--aligned", "o/a"]


OPTIONS: list[tuple[list[str], str]] = [
    *((of_hydra("--seed", seed), "--seed: ") for seed in ("-1", "1.5", str(2**63), "9" * 5000, "²", "nan")),
    *((of_hydra("--threads", threads), "--threads: ") for threads in ("0", "-5", "4097", "999999999999")),
    *((of_hydra("--pixel-size", size), "pixel_size_A: ") for size in ("0", "-1", "nan", "inf")),
    (of_hydra("--voltage", "nan"), "voltage"),
    (of_hydra("--amplitude-contrast", "2"), "amplitude"),
    (of_hydra("--checkpoint-minutes", "nan"), "--checkpoint-minutes: "),
    (of_hydra("--checkpoint", "stack"), "--checkpoint: stack: is a folder"),
    (of_hydra("--checkpoint", "stack/particles.star/c"), "particles.star is a file"),
    (of_hydra("--latent-dim", "1e9"), "--latent-dim: "),
    (of_hydra("--set", "width=1000000000"), "width: "),
    (of_hydra("--set", "=1"), ""),
    (of_hydra("--device", "cuda:x"), "--device: "),
    (of_hydra("--definition", '{"parameters": {}, "parameters": {}}'), "key 'parameters' is there twice"),
    (of_hydra("--evaluation-list", "truth"), "truth: cannot be read"),
    *((of_evaluate(dataset=name), "--dataset: ") for name in ("../d", "/d", "index.json", "", "d\n", "x" * 300)),
    (of_evaluate(method="a/b"), "--method: "),
    (["start", "--configuration", "{", "--results", "o"], "--configuration: not JSON"),
    (["start", "--configuration", "[]", "--results", "o"], ""),
    (["start", "--configuration", "{}", "--results", "o"], "datasets: is missing"),
    (["doctor", "--configuration", "c.yaml", "--jobs", "{"], "--jobs: "),
    (["doctor", "--configuration", "c.yaml", "--jobs", "x" * 5000], ""),
    (["bench", "--work", "w", "--out", "o", "--threads", "0"], "--threads: "),
    (["bench", "--work", "w", "--out", "o", "--seeds", "-1"], "--seeds: "),
    (["compare", "truth", "truth", "--level", "nan"], "--level: "),
    (["figure", "fig2", "--dataset", "../..", "--out", "o/f"], ""),
    (["archive", "truth", "--out", "o/a.zip"], "holds no configuration.json"),
    (["board", "add", "truth", "--by", "A", "--board", "o"], "holds no run.json"),
    (["select", "truth", "--out", "o/a.star"], "run.json: "),
    (["analyse", "truth"], "run.json: "),
    (["hydra-volume", "--run", "truth", "--class", "1", "--kmeans", "2", "--out", "o"], "fields.pt: no such file"),
    (["launch", "--state", "o/s", "--out", "o/o", "--log", "o/l"], "no command"),
    (["tables", "--metrics", "truth", "--out", "o"], "truth: cannot be read"),
]


def test_options_that_cannot_be_obeyed(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    """Each before the work, and with nothing made."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(case.folder, "stack")
    shutil.copytree(case.folder.parent / "truth", "truth")
    shutil.copy(INPUTS / "11-cif-unknown-coordinate" / "c.yaml", "c.yaml")
    there = sorted(tmp_path.rglob("*"))
    for arguments, said in OPTIONS:
        wrong = ends(arguments, said, capsys)
        made = [str(path) for path in sorted(tmp_path.rglob("*")) if path not in there and path.name != "o"]
        tally.check(GROUP, f"options: {arguments}"[:300], wrong or (f"made {made}" if made else None))


def zeroed(content: bytearray) -> None:
    start = len(content) // 2
    content[start : start + 4096] = bytes(len(content[start : start + 4096]))


def flipped(content: bytearray) -> None:
    content[len(content) // 2] ^= 8


@pytest.mark.parametrize("damage", [zeroed, flipped])
def test_of_a_damaged_checkpoint_the_one_before_is_taken(
    damage: Callable[[bytearray], None], case: Case, warm: Warm, tmp_path: Path, tally: Tally
) -> None:
    def training(out: Path) -> list[str]:
        return hydra(case.stack.path, out, "--resume", "--checkpoint-minutes", "0", decode_epochs=6)

    assert warm.run(*training(tmp_path / "undisturbed")).status == 0
    checkpoint, before = tmp_path / "out.checkpoint", tmp_path / "out.checkpoint.previous"
    running = warm.start(training(tmp_path / "out"))
    end = time.monotonic() + 60
    while not before.is_file():
        assert time.monotonic() < end
        time.sleep(0.001)
    running.send(signal.SIGTERM)
    assert running.wait().status == 128 + signal.SIGTERM
    content = bytearray(checkpoint.read_bytes())
    damage(content)
    checkpoint.write_bytes(content)
    ended = warm.run(*training(tmp_path / "out"))
    wrong = ended.wrong(0) or (None if "it is damaged" in ended.err else f"not said: {ended.err}")
    differ = [
        path.name
        for path in (tmp_path / "undisturbed").rglob("*")
        if path.is_file()
        and path.name not in ("run.json", "history.csv")
        and path.read_bytes() != (tmp_path / "out" / path.relative_to(tmp_path / "undisturbed")).read_bytes()
    ]
    tally.check(
        GROUP, f"07: a checkpoint that is {damage.__name__}", wrong or (f"differ: {differ}" if differ else None)
    )


SHARED = ROOT.parent / "shared" / "faults"
TESTED_BY = {
    "02-disk-full-recorded-as-failed": "slurm/test_full_disks.py::test_a_full_disk_at_each_rule",
    "03-pickle-segfault-poses": "faults/test_inputs.py::test_a_forged_pickle_is_refused",
    "05-out-is-a-link": "faults/test_inputs.py::test_a_reconstruction_behind_a_link",
    "06-latin1-locale": "faults/test_inputs.py::test_files_are_utf8_in_every_locale",
    "07-checkpoint-zero-page": "faults/test_inputs.py::test_of_a_damaged_checkpoint_the_one_before_is_taken",
    "09-yaml-bomb": "faults/test_inputs.py::test_a_configuration_is_refused",
    "11-cif-unknown-coordinate": "faults/test_inputs.py::test_atoms_of_no_place_make_no_stack",
    "12-cs-empty": "faults/test_inputs.py::test_an_empty_cs_file_is_refused",
    "14-name-newline": "faults/test_inputs.py::test_a_configuration_is_refused",
    "18-figures-path-traversal": "faults/test_inputs.py::test_a_metrics_file_is_refused",
    "19-dataset-named-index.json": "faults/test_inputs.py::test_a_metrics_file_is_refused",
    "21-fetch-no-bounds": "faults/test_fetches.py::test_the_next_site_is_asked_whatever_the_first_one_says",
    "23-hydra-settings-late": "faults/test_inputs.py::test_a_configuration_is_refused",
    "25-metrics-wrong-types": "faults/test_inputs.py::test_a_metrics_file_is_refused",
}
"""Of each collected input the test that holds it to what its README says."""


def test_every_collected_input_has_its_test() -> None:
    for place in TESTED_BY.values():
        file, _, name = place.partition("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(), place
    if not SHARED.is_dir():
        pytest.skip("../shared is not there")
    assert {path.parent.name for path in SHARED.glob("*/README")} == set(TESTED_BY)
