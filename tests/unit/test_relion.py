"""RELION's adapter where RELION misbehaves or stops midway, with a stand-in; the real one is in tests/real."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra_cases import Case

from hydra_bench import config
from hydra_bench.cli import main
from hydra_bench.reconstruction import Run, class_volume_path, read_assignments, read_run

STAND_IN = """#!{python}
import os, signal, sys
from pathlib import Path
import numpy as np
import pandas as pd
from hydra_bench.files import read_star, write_map, write_star
options = dict(zip(sys.argv[1:], sys.argv[2:]))
if "--version" in options or sys.argv[-1] == "--version":
    print("RELION version: 3.1.3 ")
    sys.exit()
stem, classify, how = options["--o"], "--ref" in options or "--continue" in options, {how!r}
print("step", "classify" if classify else "initial")
if how == "killed" and classify and "--continue" not in options:
    Path(stem + "_it001_optimiser.star").touch()
    os.kill(os.getpid(), signal.SIGKILL)
if how == "crashed":
    sys.exit("ERROR: no such thing")
stem += "_it002" if classify else "_it005"
for k in range(2):
    write_map(Path(stem + f"_class{{k + 1:03d}}.mrc"), np.full((16,) * 3, k, np.float32), 10.0)
table = read_star("particles.star")["particles"][["rlnImageName"]].iloc[::-1]
n = len(table)
table["rlnClassNumber"] = np.arange(n) % 2 + (0 if how == "classless" else 1)
for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"):
    table[name] = np.arange(n, dtype=float)
if how == "short":
    table = table.iloc[1:]
write_star(Path(stem + "_data.star"), {{"particles": table}})
if how == "truncated":
    path = Path(stem + "_class002.mrc")
    path.write_bytes(path.read_bytes()[:2000])
"""


def command(case: Case, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    program = tmp_path / "bin" / "relion_refine"
    program.parent.mkdir(exist_ok=True)
    box, pixel_A = case.stack.box_px, case.stack.pixel_size_A
    text = STAND_IN.format(python=sys.executable, how=how).replace("(16,)", f"({box},)").replace("10.0)", f"{pixel_A})")
    program.write_text(text)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    parameters = config.filled_parameters("relion", {"classes": 2, "iterations": 2, "padding": 1})
    definition = json.dumps({"name": "relion", "program": "relion", "parameters": parameters})
    stack = case.stack.path
    options = [
        "--definition",
        definition,
        "--particles",
        stack,
        "--state",
        tmp_path / "state",
        "--out",
        tmp_path / "out",
    ]
    return ["reconstruct", *map(str, options), "--evaluation-list", str(stack.parent / "evaluation_particles.txt")]


def reconstructed(case: Case, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    assert main(command(case, tmp_path, how, monkeypatch)) == 0
    return read_run(tmp_path / "out")


def test_rows_are_put_into_the_order_of_the_stack(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = reconstructed(case, tmp_path, "well", monkeypatch)
    assert (run.state, run.reason) == ("ok", "")
    n = len(case.stack)
    ours = read_assignments(tmp_path / "out", n)
    assert (ours.classes == np.arange(n)[::-1] % 2).all()
    np.testing.assert_allclose(ours.shifts_A[:, 0], -np.arange(n)[::-1], atol=1e-4)
    assert class_volume_path(tmp_path / "out", 1).is_file()
    assert run.notes["departures"] == [
        "initial models: --sgd_ini_subset 60, not 100",
        "initial models: --sgd_fin_subset 60, not 500",
        "initial models: --healpix_order 1, not 2",
        "initial models: --pad 1, not 2",
        "classification: --iter 2, not 50",
        "classification: --tau2_fudge 4, not 1",
        "classification: --pad 1, not 2",
    ]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crashed", "relion_refine: exit status 1; last line: ERROR: no such thing"),
        ("truncated", "unusable output: "),
        ("classless", "unusable output: run_it002_data.star: a particle has no class"),
        ("short", "unusable output: "),
    ],
)
def test_what_goes_wrong_is_a_failed_row(
    how: str, reason: str, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = reconstructed(case, tmp_path, how, monkeypatch)
    assert run.state == "failed"
    assert run.reason.startswith(reason)
    assert run.notes["log_tail"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.json"]


def test_a_second_attempt_goes_on_where_the_first_was_killed(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = reconstructed(case, tmp_path, "killed", monkeypatch)
    assert run.reason == "relion_refine: killed (SIGKILL), perhaps for want of memory"
    capfd.readouterr()
    run = reconstructed(case, tmp_path, "killed", monkeypatch)
    assert run.state == "ok"
    assert [line for line in capfd.readouterr().out.splitlines() if line.startswith("step")] == ["step classify"]
    assert "--continue" in run.notes["commands"][-1]


def test_without_relion_its_row_says_how_to_install_it(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(case, tmp_path, "well", monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(arguments) == 0
    reason = read_run(tmp_path / "out").reason
    assert reason == "relion_refine is not installed; apt-get install --no-install-recommends relion"


def test_references_must_be_one_a_class(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = command(case, tmp_path, "well", monkeypatch)
    at = arguments.index("--definition") + 1
    definition = json.loads(arguments[at])
    definition["parameters"]["references"] = ["one.mrc"]
    arguments[at] = json.dumps(definition)
    assert main(arguments) == 2
