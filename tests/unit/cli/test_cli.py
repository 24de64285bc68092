"""The command line: one line and exit code 2 for what is wrong; a method's steps run by hand."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from definitions import dataset
from hydra_cases import environment

from hydra_bench.cli.main import COMMANDS, main
from hydra_bench.core.files import read_json

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "--definition", "{", "--structures", "s", "--stack", "a", "--truth", "b"], "not JSON"),
        (["simulate", "--definition", "none.yaml", "--structures", "s", "--stack", "a", "--truth", "b"], "none.yaml"),
        (["simulate", "--definition", '{"seed": 1}', "--structures", "s", "--stack", "a", "--truth", "b"],
         "--definition: species: is missing; one of species, particles, cryobench, entries is expected"),
        (["hydra", "--definition", "{}", "--particles", "p", "--evaluation-list", "e", "--out", "o"],
         "lacks the key 'parameters'"),
        (["check-config", "none.yaml"], "none.yaml: cannot be read"),
        (["hydra", "--definition", '{"parameters": {"classes": 0}}', "--particles", "p", "--evaluation-list", "e",
          "--out", "o"], "--definition: parameters.classes: 0 is not allowed; an integer at least 1"),
        (["hydra", "--definition", '{"parameters": {}}', "--device", "gpu", "--particles", "p", "--evaluation-list",
          "e", "--out", "o"], "--device: 'gpu'"),
        (["hydra", "--definition", '{"parameters": {}}', "--particles", "none.star", "--evaluation-list", "e",
          "--out", "o"], "none.star: no such file"),
    ],
)  # fmt: skip
def test_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("hydra-bench: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EACCES, "Permission denied", "a.star"), "page: a.star: cannot be read or written (Permission"),
        (OSError("100 requested and 50 written"), "page: cannot be read or written (100 requested and 50 written)"),
        (MemoryError("Unable to allocate 9 TiB"), "page: not enough memory (Unable to allocate 9 TiB)"),
        (EOFError(), "page: ends too early"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "page: cannot be read as UTF-8 ("),
    ],
)
def test_what_the_system_says_is_one_line(
    error: Exception, message: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_: object) -> None:
        raise error

    monkeypatch.setattr("hydra_bench.cli.page.run", failing)
    assert main(["page", "--metrics", "m", "--tables", "t", "--figures", "f", "--out", "o"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"hydra-bench: error: {message}")
    assert said.count("\n") == 1


def test_the_file_that_was_worked_on_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Of a reader that does not name it, as EOFError and UnicodeError do not."""
    path = tmp_path / "metrics.json"
    path.write_bytes(b'{"metrics_version": "\xff"}')
    assert main(["tables", "--metrics", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert said.count("\n") == 1


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hydra_bench.cli.page.run", stopped)
    assert main(["page", "--metrics", "m", "--tables", "t", "--figures", "f", "--out", "o"]) == 130
    assert capsys.readouterr().err == "hydra-bench: stopped\n"


def test_text_is_utf8_whatever_the_locale() -> None:
    """What settings mean has letters that ASCII lacks."""
    variables = {**environment(), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "hydra_bench.cli", "hydra", "--settings"]
    done = subprocess.run(command, env=variables, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.decode("utf-8").isascii()


def test_one_file_a_command() -> None:
    """A file of the room that main does not list could not be called."""
    room = ROOT / "workflow" / "hydra_bench" / "cli"
    shared = {"__init__", "__main__", "main", "options"}
    assert {name.replace("-", "_") for name in COMMANDS} == {path.stem for path in room.glob("*.py")} - shared


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert f"usage: hydra-bench {name} " in capsys.readouterr().out


def test_the_demo_configuration_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["check-config", "config/config.yaml"]) == 0


def test_steps_by_hand(tmp_path: Path) -> None:
    stack, truth, out = tmp_path / "stack", tmp_path / "truth", tmp_path / "out"
    definition = json.dumps(dataset(images=10))
    structures = str(ROOT / "resources" / "structures")
    assert main(["simulate", "--definition", definition, "--structures", structures, "--stack", str(stack),
                 "--truth", str(truth)]) == 0  # fmt: skip
    particles = ["--particles", str(stack / "particles.star")]
    evaluated = [*particles, "--evaluation-list", str(stack / "evaluation_particles.txt"), "--threads", "1"]
    method = {"name": "m", "program": "hydra", "parameters": {"classes": 2, "l_schedule": [4], "decode_epochs": 1}}
    assert main(["hydra", "--definition", json.dumps(method), *evaluated, "--out", str(out)]) == 0
    assert read_json(out / "run.json")["state"] == "ok"
    assert main(["evaluate", "--dataset", "d", "--method", "m", "--label", "M", *particles, "--truth", str(truth),
                 "--reconstruction", str(out), "--out", str(tmp_path / "m.json"),
                 "--aligned", str(tmp_path / "aligned")]) == 0  # fmt: skip
    metrics = read_json(tmp_path / "m.json")
    assert metrics["state"] == "ok"
    assert len(metrics["fsc"]["per_particle"]) == 4


def test_repeatable_kernels_are_had_without_loading_a_compiler() -> None:
    """It would cost each job of the workflow a second and a half."""
    said = "from hydra_bench.core.threads import set_threads; set_threads(1); import sys, torch; "
    said += "print(torch.are_deterministic_algorithms_enabled(), 'torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.split() == ["True", "False"]
