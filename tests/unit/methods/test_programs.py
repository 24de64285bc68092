"""Programs of others: how they are run, what is kept of them, and how each way to fail ends as a row."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hydra_cases import Case

from hydra_bench.cli.main import main
from hydra_bench.contracts.reconstruction import Assignments, read_given_poses, read_run, write_assignments
from hydra_bench.core.errors import InputError, MachineError, NotConfiguredError, RunFailedError
from hydra_bench.core.machine import TooMuchMemoryError
from hydra_bench.core.mrc import read_map
from hydra_bench.methods import cards as method_cards
from hydra_bench.methods.programs.programs import Programs, find_executable, program_output
from hydra_bench.methods.programs.task import Task

INSTALL = "make envs"


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "environment", INSTALL)


def script(programs: Programs, name: str, text: str) -> None:
    """A program in the environment's bin/."""
    path = programs.environment / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_program_runs_in_its_environment_and_is_kept_account_of(
    programs: Programs, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "ours")
    script(programs, "theirs", 'echo "$1 $OMP_NUM_THREADS [$PYTHONPATH] $EXTRA"; command -v helper')
    script(programs, "helper", "true")
    programs.threads = 3
    programs.run("theirs", "two words", environment={"EXTRA": "more"})
    said = capfd.readouterr().out.splitlines()
    assert said[1:] == ["two words 3 [] more", str(programs.environment / "bin" / "helper")]
    assert programs.commands == ["theirs 'two words'"]
    assert programs.output("theirs", "x").startswith("x 3 []")


def test_what_is_not_installed_says_how_to_install_it(programs: Programs) -> None:
    with pytest.raises(RunFailedError, match=r"^no-such-program is not installed; make envs$"):
        programs.run("no-such-program")
    assert find_executable("sh", programs.environment) == find_executable("sh", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo begun; echo 'Error: no such map'; exit 3", "theirs: exit status 3; last line: Error: no such map"),
        ("exit 1", "theirs: exit status 1; last line: it said nothing"),
        ("kill -SEGV $$", "theirs: crashed (SIGSEGV)"),
    ],
)
def test_how_a_program_failed_is_said_in_one_line(programs: Programs, text: str, reason: str) -> None:
    script(programs, "theirs", text)
    with pytest.raises(RunFailedError) as failure:
        programs.run("theirs")
    assert str(failure.value) == reason


@pytest.mark.parametrize("number", ["KILL", "TERM"])
def test_a_program_that_somebody_ended_did_not_fail(programs: Programs, number: str) -> None:
    script(programs, "theirs", f"kill -{number} $$")
    with pytest.raises(MachineError, match=f"^theirs: ended by SIG{number} from outside; no limit of its job explains"):
        programs.run("theirs")


def test_a_program_that_took_more_memory_than_its_job_may_is_told_apart(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")  # MB, of which any process takes more
    script(programs, "theirs", "kill -KILL $$")
    with pytest.raises(TooMuchMemoryError, match="more memory than its job may"):
        programs.run("theirs")


def test_the_last_lines_are_kept(programs: Programs) -> None:
    script(
        programs, "theirs", "i=0; while [ $i -lt 30 ]; do echo line $i; i=$((i + 1)); done; printf 'a\\rb\\n'; exit 1"
    )
    with pytest.raises(RunFailedError, match=r"last line: b$"):
        programs.run("theirs")
    assert list(programs.log_tail) == [*(f"line {i}" for i in range(11, 30)), "b"]


def test_the_time_limit_ends_a_program_and_all_that_it_started(programs: Programs, tmp_path: Path) -> None:
    script(programs, "theirs", f"sleep 60 & echo $! > {tmp_path / 'pid'}; echo waiting; wait")
    programs.time_limit_s = 1.5
    began = time.monotonic()
    with pytest.raises(RunFailedError, match=r"^theirs: stopped at the time limit of 0.025 minutes$"):
        programs.run("theirs")
    assert time.monotonic() - began < 30
    assert list(programs.log_tail) == ["waiting"]
    assert gone(int((tmp_path / "pid").read_text()))
    with pytest.raises(RunFailedError, match="time limit"):  # it is for all runs together
        programs.run("theirs")


def gone(pid: int) -> bool:
    """Whether a process is not there any more, or a zombie, at once or soon: who kills does not wait for the kernel."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_gpu_memory_is_that_of_the_programs_own_processes(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """nvidia-smi is a stand-in that names the program's process and a stranger's: there is no GPU here."""
    script(programs, "nvidia-smi", f'echo "$(cat {tmp_path / "pid"}), 700"; echo "1, 9000"; echo "x, [N/A]"')
    monkeypatch.setenv("PATH", f"{programs.environment / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "pid").write_text("0")
    script(programs, "theirs", f"echo $$ > {tmp_path / 'pid'}; sleep 4")
    programs.run("theirs")
    assert programs.gpu_memory_mb == 700


def test_unusable_output_is_the_runs_failure_and_names_the_file(tmp_path: Path) -> None:
    missing = tmp_path / "map.mrc"
    with pytest.raises(RunFailedError, match=r"unusable output: .*map.mrc"), program_output(missing):
        read_map(missing)
    with pytest.raises(RunFailedError, match=r"unusable output: .*map.mrc: cannot reshape"), program_output(missing):
        np.zeros(3).reshape(2, 2)


ADAPTER = """
from hydra_bench.core.errors import NotConfiguredError
from hydra_bench.methods.recording import Outcome

def run(task, folder):
    task.programs.versions["theirs"] = task.programs.output("theirs", "--version").strip()
    task.departures.append("--fast, not the default")
    task.programs.run("theirs", "go")
    (task.work / "left").touch()
    if task.parameters.get("unlicensed"):
        raise NotConfiguredError("set THEIR_LICENCE")
    return Outcome(7, {"more": 1})
"""
CARD = """
name: Theirs
program: theirs
description: a stand-in
paper: null
licence: none
reads_truth: false
takes_poses: true
adapter: adapter.py:run
environment: environment
executables: [theirs]
install: make envs
"""


@pytest.fixture
def method(tmp_path: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command of a method in a folder of its own, without the definition."""
    folder = tmp_path / "methods" / "theirs"
    folder.mkdir(parents=True)
    (folder / "adapter.py").write_text(ADAPTER)
    (folder / "card.yaml").write_text(CARD)
    monkeypatch.setattr(method_cards, "METHODS_FOLDER", folder.parent)
    stack = case.stack.path
    command = [
        "reconstruct",
        "--particles",
        str(stack),
        "--evaluation-list",
        str(stack.parent / "evaluation_particles.txt"),
    ]
    return [
        *command,
        "--environments",
        str(tmp_path),
        "--state",
        str(tmp_path / "state"),
        "--out",
        str(tmp_path / "out"),
    ]


def definition(**more: object) -> str:
    return json.dumps({"name": "one", "program": "theirs", "parameters": {}, **more})


def test_a_run_records_versions_commands_and_departures(method: list[str], programs: Programs, tmp_path: Path) -> None:
    script(programs, "theirs", "echo 1.2")
    assert main([*method, "--definition", definition(), "--seed", "3"]) == 0
    run = read_run(tmp_path / "out")
    assert (run.state, run.seed, run.images_seen, run.reads_truth) == ("ok", 3, 7, False)
    assert run.notes == {
        "versions": {"theirs": "1.2"},
        "commands": ["theirs go"],
        "departures": ["--fast, not the default"],
        "more": 1,
    }
    assert (tmp_path / "state" / "work" / "left").is_file()


def test_a_failed_program_is_a_failed_row_with_its_last_lines(
    method: list[str], programs: Programs, tmp_path: Path
) -> None:
    script(programs, "theirs", "echo broken; exit 1")
    assert main([*method, "--definition", definition(time_limit_min=1)]) == 0
    run = read_run(tmp_path / "out")
    assert (run.state, run.reason) == ("failed", "theirs go: exit status 1; last line: broken")
    assert run.notes["log_tail"] == ["broken"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run.json"]


def test_a_method_without_its_licence_is_not_configured(method: list[str], programs: Programs, tmp_path: Path) -> None:
    script(programs, "theirs", "echo 1.2")
    assert main([*method, "--definition", definition(parameters={"unlicensed": True})]) == 0
    run = read_run(tmp_path / "out")
    assert (run.state, run.reason) == ("not configured", "set THEIR_LICENCE")
    assert issubclass(NotConfiguredError, RunFailedError)


def test_who_needs_the_poses_of_a_failed_run_fails_too(
    method: list[str], programs: Programs, tmp_path: Path, case: Case
) -> None:
    script(programs, "theirs", "echo broken; exit 1")
    assert main([*method, "--definition", definition()]) == 0
    (tmp_path / "out").rename(tmp_path / "source")
    script(programs, "theirs", "echo 1.2")
    poses = ["--poses-from", str(tmp_path / "source" / "particles.star")]
    assert main([*method, *poses, "--definition", definition(poses_from="one")]) == 0
    run = read_run(tmp_path / "out")
    assert run.reason.startswith("its poses are those of one, which ended as failed: theirs go: exit status 1")
    assert run.notes["poses_from"] == "one"
    hydra = ["hydra", "--particles", str(case.stack.path), *poses, "--out", str(tmp_path / "hydra")]
    assert main([*hydra, "--definition", json.dumps({"name": "h", "program": "hydra", "parameters": {}})]) == 0
    assert read_run(tmp_path / "hydra").reason.startswith("its poses are those of one, which ended as failed")


def test_who_needs_the_poses_of_what_is_not_configured_is_not_configured_either(
    method: list[str], programs: Programs, tmp_path: Path, case: Case
) -> None:
    script(programs, "theirs", "echo 1.2")
    assert main([*method, "--definition", definition(parameters={"unlicensed": True})]) == 0
    (tmp_path / "out").rename(tmp_path / "source")
    poses = ["--poses-from", str(tmp_path / "source" / "particles.star")]
    assert main([*method, *poses, "--definition", definition(poses_from="one")]) == 0
    hydra = ["hydra", "--particles", str(case.stack.path), *poses, "--out", str(tmp_path / "hydra")]
    assert main([*hydra, "--definition", json.dumps({"name": "h", "program": "hydra", "parameters": {}})]) == 0
    for name in ("out", "hydra"):
        run = read_run(tmp_path / name)
        assert run.state == "not configured"
        assert run.reason.endswith("which ended as not configured: set THEIR_LICENCE")


def test_given_poses_are_those_of_the_file(tmp_path: Path, case: Case) -> None:
    truth, folder = case.truth, tmp_path / "source"
    nothing, rows = np.zeros((len(truth), 0)), np.eye(truth.n_classes)[truth.classes]
    write_assignments(folder, Assignments(truth.classes, rows, truth.rotations, truth.shifts_A, nothing))
    for path in (folder / "particles.star", case.stack.path.parents[1] / "truth" / "truth.star"):
        given = read_given_poses(path, "one", len(truth))
        np.testing.assert_allclose(given.rotations, truth.rotations, atol=1e-5)
        np.testing.assert_allclose(given.shifts_A, truth.shifts_A, atol=1e-4)
        assert (given.classes == truth.classes).all()
    with pytest.raises(InputError, match="the stack has 1"):
        read_given_poses(folder / "particles.star", "one", 1)


def test_an_adapter_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_cards, "METHODS_FOLDER", tmp_path)
    (tmp_path / "absent").mkdir()
    for name in ("nowhere", "adapter.py:run", "hydra_bench.methods.programs:run", "no.such.module:run"):
        (tmp_path / "absent" / "card.yaml").write_text(f"adapter: {name}\n")
        with pytest.raises(InputError, match=rf"card.yaml: adapter: '{name}'"):
            method_cards.named_function("absent", "adapter")


def test_the_files_of_methods_import_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_cards, "METHODS_FOLDER", tmp_path)
    for folder in ("ours", "lent"):
        (tmp_path / folder).mkdir()
    (tmp_path / "ours" / "adapter.py").write_text("from . import helper\nfrom ..lent import lender\n")
    (tmp_path / "ours" / "helper.py").write_text("")
    (tmp_path / "lent" / "lender.py").write_text("def run(): return 3\n")
    assert method_cards.method_module("ours/adapter.py").lender.run() == 3
    (tmp_path / "ours" / "card.yaml").write_text("adapter: ../lent/lender.py:run\n")
    assert method_cards.named_function("ours", "adapter")() == 3


def test_sigterm_ends_the_program_too(programs: Programs, tmp_path: Path) -> None:
    script(programs, "theirs", f"echo $$ > {tmp_path / 'pid'}; echo up; sleep 60")
    code = (
        "from pathlib import Path; from hydra_bench.methods.programs.programs import Programs;"
        f"Programs(Path({str(programs.environment)!r}), '').run('theirs')"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline() for _ in range(2)][1] == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_task_has_no_place_for_the_truth() -> None:
    """What an adapter is given: a field more is to be thought of here."""
    known = ["stack", "evaluation", "parameters", "seed", "threads", "device", "work", "programs", "poses"]
    assert [field.name for field in fields(Task)] == [*known, "departures"]


def test_a_program_that_cannot_be_started_is_a_failure_of_one_line(programs: Programs) -> None:
    script(programs, "theirs", "")
    (programs.environment / "bin" / "theirs").write_text("#!/no/such/interpreter\n")
    for ask in (programs.run, programs.output):
        with pytest.raises(RunFailedError, match=r"^theirs: cannot be started \(No such file or directory\)$"):
            ask("theirs", "--version")


def test_a_program_that_does_not_answer_is_not_waited_for(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydra_bench.methods.programs.programs._QUERY_S", 0.5)
    script(programs, "theirs", "exec sleep 60")
    with pytest.raises(RunFailedError, match=r"^theirs: says nothing within 0.5 s when asked --version$"):
        programs.output("theirs", "--version")
