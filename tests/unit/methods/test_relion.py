"""RELION's adapter: the options it gives, what it tells of them, and how each way to fail ends, by a stand-in.

The real program is in tests/real.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra_cases import Case

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import Run, read_assignments, read_run, sample_path
from hydra_bench.core.errors import RunFailedError
from hydra_bench.core.mrc import read_map, write_map
from hydra_bench.methods import cards as method_cards

relion, options = (method_cards.method_module(f"relion/{name}.py") for name in ("adapter", "options"))

STAND_IN = r'''#!{python}
"""Writes what relion_refine writes, or misbehaves in the step and way that the environment names."""
import os, signal, sys, time
from pathlib import Path
words = sys.argv[1:]
if words == ["--version"]:
    print("RELION version: " + os.environ.get("VERSION", "3.1.3") + " \nPrecision: BASE=double")
    sys.exit()
if words == ["--help"]:
    print("        --iter (50) : Maximum number\n   --tau2_fudge (1) : Weight\n      --ctf (false) : CTF?")
    sys.exit()
options = dict(zip(words, words[1:], strict=False))
step = "sgd" if "--denovo_3dref" in words else "class3d"
where, _, how = os.environ.get("MISBEHAVE", "").partition(":")
how = how if where == step else ""
print("step", step, "go on" if "--continue" in words else "begin", flush=True)
if how == "crash":
    sys.exit("ERROR: no such thing")
if how == "hang":
    time.sleep(60)
if how == "killed" and "--continue" not in words:
    Path(options["--o"] + "_it001_optimiser.star").touch()
    os.kill(os.getpid(), signal.SIGKILL)

import mrcfile
import numpy as np

def write_map(k, volume):
    with mrcfile.new(f"{{stem}}_class{{k:03d}}.mrc", overwrite=True) as mrc:
        mrc.set_data(volume.astype(np.float32))

stem, box = options["--o"] + ("_it003" if step == "sgd" else "_it002"), {box}
for k in (1, 2):
    write_map(k, np.full((box, box, box), k))
if how == "other box":
    write_map(2, np.zeros((8, 8, 8)))
if how == "not a number":
    write_map(2, np.full((box, box, box), np.nan))
broken = Path(f"{{stem}}_class002.mrc")
if how == "truncated map":
    broken.write_bytes(broken.read_bytes()[:2000])
if how == "no map":
    broken.unlink()

names = [line.split()[0] for line in Path("particles.star").read_text().splitlines() if "@" in line]
rows = [[name, 1 + i % 2, i, i, i, i, i] for i, name in enumerate(reversed(names))]
if how == "unseen":
    rows[0][1] = 0
if how == "short":
    rows = rows[1:]
columns = "ImageName ClassNumber AngleRot AngleTilt AnglePsi OriginXAngst OriginYAngst".split()
if how == "no classes":
    columns[1] = "Other"
lines = ["", "data_particles", "", "loop_"] + [f"_rln{{name}} #{{i + 1}}" for i, name in enumerate(columns)]
text = "\n".join(lines + [" ".join(map(str, row)) for row in rows]) + "\n"
Path(f"{{stem}}_data.star").write_text(text[: len(text) // 2] if how == "truncated table" else text)
Path(f"{{stem}}_optimiser.star").touch()
'''

FEW = {"classes": 2, "sgd_ini_iter": 1, "sgd_inbetween_iter": 1, "sgd_fin_iter": 1, "iter": 2}


@pytest.fixture
def relion_there(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the stand-in, which is on PATH; relion_preprocess does nothing but say what it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    text = STAND_IN.format(python=sys.executable, box=case.stack.box_px)
    for name, content in (("relion_refine", text), ("relion_preprocess", "#!/bin/sh\necho preprocess $*\n")):
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def definition(time_limit_min: float | None = None, **parameters: Any) -> str:
    filled = method_cards.filled_parameters("relion", FEW | parameters)
    return json.dumps({"name": "r", "program": "relion", "parameters": filled, "time_limit_min": time_limit_min})


def reconstruct(
    case: Case, tmp_path: Path, expected: int = 0, poses_from: str | None = None, **given: Any
) -> Run | None:
    stack = case.stack.path
    defined = json.dumps({**json.loads(definition(**given)), "poses_from": poses_from})
    command = ["reconstruct", "--definition", defined, "--particles", str(stack)]
    if poses_from is not None:
        command += ["--poses-from", str(stack.parents[1] / "truth" / "truth.star")]
    command += ["--evaluation-list", str(stack.parent / "evaluation_particles.txt"), "--seed", "4", "--threads", "1"]
    assert main([*command, "--state", str(tmp_path / "state"), "--out", str(tmp_path / "out")]) == expected
    return read_run(tmp_path / "out") if expected == 0 else None


@pytest.mark.usefixtures("relion_there")
def test_what_relion_wrote_becomes_a_reconstruction(case: Case, tmp_path: Path) -> None:
    run = reconstruct(case, tmp_path)
    n = len(case.stack)
    assert (run.state, run.reason) == ("ok", "")
    assert run.images_seen == 3 * n + 2 * n, "the default batches are larger than the stack"
    found = read_assignments(tmp_path / "out", n)
    # The stand-in lists particles from the last to the first.
    assert (found.classes == np.arange(n)[::-1] % 2).all()
    assert (found.posteriors == np.eye(2)[found.classes]).all()
    np.testing.assert_allclose(found.shifts_A[:, 0], -np.arange(n)[::-1], atol=1e-4)
    assert read_map(class_volume_path(tmp_path / "out", 1))[0].mean() == 2
    for particle in map(int, (case.stack.path.parent / "evaluation_particles.txt").read_text().split()):
        assert read_map(sample_path(tmp_path / "out", particle))[0].mean() == found.classes[particle] + 1
    assert run.notes["versions"] == {"relion": "3.1.3"}
    initial, classification = run.notes["commands"]
    assert "--sgd --sgd_write_iter 3 --sgd_ini_iter 1" in initial
    assert "--ref references.star --iter 2" in classification
    assert "--random_seed 5" in initial
    assert "--random_seed 5" in classification
    assert not [word for word in (initial + classification).split() if word.startswith("/")], "a path of this machine"


@pytest.mark.usefixtures("relion_there")
def test_it_starts_from_averages_of_given_classes(case: Case, tmp_path: Path) -> None:
    run = reconstruct(case, tmp_path, poses_from="truth")
    assert run.state == "ok", run.reason
    assert len(run.notes["commands"]) == 1, "no initial models"
    assert "classification started from averages at the classes and poses of truth" in run.notes["departures"]
    for k in range(2):
        start = read_map(tmp_path / "state" / "work" / f"reference_{k + 1:03d}.mrc")[0]
        alike = [np.corrcoef(start.ravel(), case.truth.class_volume(j).ravel())[0, 1] for j in range(2)]
        assert np.argmax(alike) == k
        assert alike[k] > 0.8


@pytest.mark.usefixtures("relion_there")
def test_given_classes_must_not_be_more_than_relions(case: Case, tmp_path: Path) -> None:
    run = reconstruct(case, tmp_path, poses_from="truth", classes=1)
    assert run.reason == "parameters.classes: 1; truth has 2 classes"


@pytest.mark.usefixtures("relion_there")
def test_departures_are_from_what_this_version_prints(case: Case, tmp_path: Path) -> None:
    notes = reconstruct(case, tmp_path, tau2_fudge=1, firstiter_cc=True).notes
    assert "all steps: --ctf (RELION's default: off)" in notes["departures"]
    assert "classification: --iter 2 (RELION's default: 50)" in notes["departures"]
    assert "classification: --firstiter_cc (RELION's default: off)" in notes["departures"]
    assert not [text for text in notes["departures"] if "tau2_fudge" in text or "--i " in text]


@pytest.mark.usefixtures("relion_there")
def test_newer_relions_are_asked_by_their_names(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERSION", "4.0.1-commit-ex417f")
    initial = reconstruct(case, tmp_path, sgd_inbetween_iter=2, sgd_fin_subset=7).notes["commands"][0]
    assert "--sgd" not in initial
    assert (
        "--grad_fin_subset 7 --grad --grad_write_iter 4 --iter 4 --grad_ini_frac 0.25 --grad_fin_frac 0.25" in initial
    )


@pytest.mark.usefixtures("relion_there")
def test_particles_are_normalised_where_they_must_be(case: Case, tmp_path: Path) -> None:
    assert relion.background_is_normal(case.stack)
    notes = reconstruct(case, tmp_path, normalise="always").notes
    assert notes["commands"][0].startswith("relion_preprocess --operate_on particles.mrcs --norm --bg_radius")
    table = (tmp_path / "state" / "work" / "particles.star").read_text()
    assert "000001@normalised_particles.mrcs" in table


@pytest.mark.usefixtures("relion_there")
@pytest.mark.parametrize(
    ("misbehave", "reason"),
    [
        ("sgd:crash", "relion_refine: exit status 1; last line: ERROR: no such thing"),
        ("class3d:crash", "relion_refine: exit status 1; last line: ERROR: no such thing"),
        ("sgd:hang", "relion_refine: stopped at the time limit of 0.1 minutes"),
        ("sgd:truncated map", "unusable output: .*run_it003_class002.mrc"),
        ("class3d:truncated map", "unusable output: .*run_it002_class002.mrc"),
        ("class3d:other box", "unusable output: .*run_it002_class002.mrc: 8 px; the stack has"),
        ("class3d:not a number", "unusable output: .*class002.mrc: values that are no numbers"),
        ("class3d:no map", "unusable output: .*class002.mrc"),
        ("class3d:truncated table", "unusable output: .*run_it002_data.star"),
        ("class3d:short", "unusable output: .*run_it002_data.star: 59 particles; the stack has 60"),
        ("class3d:unseen", "unusable output: .*rlnClassNumber must lie in 1..2"),
        ("class3d:no classes", "unusable output: .*run_it002_data.star"),
    ],
)
def test_what_goes_wrong_is_a_failed_row_with_its_reason(
    misbehave: str, reason: str, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISBEHAVE", misbehave)
    run = reconstruct(case, tmp_path, time_limit_min=0.1 if "hang" in misbehave else None)
    assert run.state == "failed"
    assert re.match(reason, run.reason), run.reason
    assert run.notes["log_tail"][0].startswith("step")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.json"]


@pytest.mark.usefixtures("relion_there")
def test_a_kill_that_no_limit_explains_is_no_result(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MISBEHAVE", "sgd:killed")
    reconstruct(case, tmp_path, expected=2)
    assert "relion_refine: ended by SIGKILL from outside; no limit of its job explains it" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("relion_there")
def test_a_second_attempt_goes_on_where_the_first_was_killed(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MISBEHAVE", "class3d:killed")
    reconstruct(case, tmp_path, expected=2)
    capfd.readouterr()
    run = reconstruct(case, tmp_path)
    assert run.state == "ok"
    assert [line for line in capfd.readouterr().out.splitlines() if line.startswith("step")] == ["step class3d go on"]
    assert "--continue class3d/run_it001_optimiser.star" in run.notes["commands"][-1]


def test_without_relion_the_row_says_how_to_install_it(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = "relion_refine is not installed; apt-get install --no-install-recommends relion"
    assert reconstruct(case, tmp_path).reason == reason


@pytest.mark.usefixtures("relion_there")
def test_references_must_be_maps_of_the_stack(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_map(tmp_path / "other.mrc", np.zeros((8, 8, 8)), 10.0)
    for paths, said in ((["other.mrc"], "1 maps; there are 2 classes"), (["other.mrc"] * 2, "8 px of 10 Å; the stack")):
        reconstruct(case, tmp_path, expected=2, references=[str(tmp_path / path) for path in paths])
        assert said in capsys.readouterr().err


def test_batches_rise_from_the_first_size_to_the_last() -> None:
    parameters = {"sgd_ini_iter": 2, "sgd_inbetween_iter": 4, "sgd_fin_iter": 1}
    parameters |= {"sgd_ini_subset": 10, "sgd_fin_subset": 50}
    assert options.batch_sizes(parameters, 1000) == [10, 10, 10, 20, 30, 40, 50]
    assert options.batch_sizes(parameters, 30) == [10, 10, 10, 15, 20, 25, 30]


def test_a_version_that_is_none_is_a_failure() -> None:
    assert relion.relion_version("RELION version: 3.1.3 \nPrecision: BASE=double") == (3, 1, 3)
    assert relion.relion_version("RELION version: 5.0-beta-0-commit-aaa") == (5, 0)
    with pytest.raises(RunFailedError, match="no version in 'who knows'"):
        relion.relion_version("who knows")
