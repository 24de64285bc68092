"""`hydra-bench launch`: the command's end, its log, the account of its attempts, and which GPUs it sees."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hydra_bench.cli.main import main
from hydra_bench.core.errors import InputError
from hydra_bench.jobs import attempts, devices
from hydra_bench.jobs.launch import Job, processes

RUN = {"cost": {"wall_s": 2.0, "cpu_s": 1.0, "peak_rss_mb": 5}}
WRITES_RUN = f"import os, json; os.makedirs('out'); json.dump({RUN!r}, open('out/run.json', 'w'))"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def launch(program: str, *more: str) -> int:
    """The exit status of a Python program under launch."""
    where = ["--state", "state", "--out", "out", "--log", "logs/a.log"]
    return main(["launch", *where, *more, "--", sys.executable, "-c", program])


def test_the_commands_status_and_words_are_kept() -> None:
    assert launch("import sys; print('said'); print('warned', file=sys.stderr); sys.exit(7)") == 7
    log = Path("logs/a.log").read_text()
    assert log.startswith("# attempt 1: ")
    assert "said\n" in log
    assert "warned\n" in log
    (made,) = attempts.read(Path("state"))
    assert made.end is not None
    assert made.end.status == 7
    assert made.end.wall_s > 0
    assert made.start.node


def test_a_failed_attempt_shows_the_end_of_its_log(capfd: pytest.CaptureFixture[str]) -> None:
    launch("print('of the first'); raise SystemExit(1)")
    capfd.readouterr()
    Path("logs/a.log").unlink()  # as Snakemake does before it tries again
    launch("print('of the second'); raise SystemExit(1)")
    assert capfd.readouterr().err == "of the second\n"
    assert "of the first" in Path("logs/a.log").read_text()


def test_a_new_run_begins_a_new_log() -> None:
    Path("logs").mkdir()
    Path("logs/a.log").write_text("of a run before\n")
    launch("pass")
    assert "of a run before" not in Path("logs/a.log").read_text()


def test_all_attempts_count_in_the_cost(here: Path) -> None:
    lost = attempts.Start("elsewhere", "11", "", "2026-01-01T00:00:00Z")
    attempts.add(here / "state", lost)
    attempts.add(here / "state", lost)
    attempts.add(here / "state", attempts.End(10.0, 20.0, 900.0, 143))
    assert launch(WRITES_RUN) == 0
    cost = json.loads(Path("out/run.json").read_text())["cost"]
    assert (cost["wall_s"], cost["cpu_s"], cost["peak_rss_mb"]) == (12.0, 21.0, 900.0)
    assert (cost["attempts"], cost["attempts_lost"]) == (3, 1)
    assert cost["slurm_job"] == ""


def test_the_slurm_job_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    assert launch(WRITES_RUN) == 0
    assert json.loads(Path("out/run.json").read_text())["cost"]["slurm_job"] == "42"
    assert "SLURM job 42" in Path("logs/a.log").read_text()


@pytest.mark.parametrize(
    ("status", "cause", "interrupted"),
    [(2, "machine", True), (143, "", True), (130, "", True), (137, "machine", True), (0, "", True),
     (137, "memory", False), (1, "", False), (2, "", False), (139, "", False)],
)  # fmt: skip
def test_what_was_stopped_or_met_a_failing_machine_was_interrupted(status: int, cause: str, interrupted: bool) -> None:
    start = attempts.Start("a", "", "", "")
    assert attempts.Attempt(start, attempts.End(1.0, 1.0, 1.0, status, cause)).interrupted is interrupted
    assert attempts.Attempt(start, None).interrupted


def test_the_cause_is_kept() -> None:
    """A command is killed that no limit stopped; one is told of a full disk; one fails by itself."""
    assert launch("import os; os.kill(os.getpid(), 9)") == 137
    told = (
        "import os, pathlib; (pathlib.Path(os.environ['HYDRA_BENCH_MARKS']) / 'machine').unlink(); raise SystemExit(2)"
    )
    assert launch(told) == 2
    assert launch("raise SystemExit(2)") == 2
    assert [made.end and made.end.cause for made in attempts.read(Path("state"))] == ["machine", "machine", ""]


def test_of_several_processes_one_that_was_killed_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher of PyTorch ends with status 1, whatever one of its processes ended with."""
    monkeypatch.setattr("hydra_bench.jobs.launch.processes", lambda _, command: command)
    said = "traceback : Signal 9 (SIGKILL) received by PID 7"
    for program in (f"raise SystemExit({said!r})", "raise SystemExit(1)"):
        assert launch(program, "--gpus", "2", "--device", "cpu") == 1
    assert launch(f"raise SystemExit({said!r})") == 1  # of one process it is what a program may print
    assert [made.end and made.end.cause for made in attempts.read(Path("state"))] == ["machine", "", ""]


def test_a_line_that_was_cut_off_is_passed_over(here: Path) -> None:
    attempts.add(here, attempts.Start("a", "", "", ""))
    with open(here / attempts.NAME, "a") as file:
        file.write('{"end": {"wall')
    assert attempts.read(here) == [attempts.Attempt(attempts.Start("a", "", "", ""), None)]
    assert attempts.summed(attempts.read(here)).status == -1
    assert attempts.read(here / "none") == []


def test_sigterm_goes_on_to_the_command(here: Path) -> None:
    program = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); "
        "open('ready', 'w').close(); time.sleep(60)"
    )
    command = [
        sys.executable,
        "-m",
        "hydra_bench.cli",
        "launch",
        "--state",
        "state",
        "--out",
        "out",
        "--log",
        "log",
    ]
    process = subprocess.Popen([*command, "--", sys.executable, "-c", program], stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while not Path("ready").is_file():
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert attempts.read(here / "state")[0].end is not None


def test_a_process_that_is_left_of_an_earlier_run_is_waited_for(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its launch was killed, and it works on; when it has ended, the next one goes on from what it left."""
    program = "import pathlib, time; pathlib.Path('ready').touch(); time.sleep(3); pathlib.Path('done').touch()"
    command = [
        sys.executable,
        "-m",
        "hydra_bench.cli",
        "launch",
        "--state",
        "state",
        "--out",
        "out",
        "--log",
        "log",
    ]
    left = subprocess.Popen([*command, "--", sys.executable, "-c", program])
    end = time.monotonic() + 60
    while not Path("ready").is_file():
        assert time.monotonic() < end
        time.sleep(0.05)
    left.kill()
    left.wait()
    assert launch("import pathlib, sys; sys.exit(not pathlib.Path('done').is_file())") == 0
    assert "waiting for a process of an earlier run that works on state" in capfd.readouterr().err


def test_a_command_that_a_signal_killed_or_that_is_not_there(here: Path) -> None:
    assert launch("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") == 137
    assert main(["launch", "--state", "state", "--out", "out", "--log", "log", "--", "no-such-program"]) == 127
    assert "hydra-bench: error: no-such-program: No such file" in Path("log").read_text()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--device", "tpu"], "--device: 'tpu'; auto or cpu is allowed"),
        (["--gpus", "-1"], "0 or more GPUs"),
        (["--gpus", "3", "--nodes", "2"], "--gpus: 3; a multiple of --nodes 2"),
        (["--gpus", "2", "--nodes", "2"], "--nodes: 2; more than 1 is allowed within a SLURM allocation only"),
        (["--gpus", "2"], "--gpus: 2; this machine has 1 that may be used (0)"),
    ],
)
def test_what_cannot_be_is_refused(
    more: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert launch("pass", *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert attempts.read(Path("state")) == []


def test_a_gpu_that_cannot_be_used_ends_the_attempt_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert launch("open('ran', 'w')", "--gpus", "1") == 2
    assert not Path("ran").exists()
    assert "hydra-bench: error: --gpus 1: " in Path("logs/a.log").read_text()


SAYS_GPUS = "import os; open('gpus', 'w').write(os.environ.get('CUDA_VISIBLE_DEVICES', 'unset'))"


@pytest.mark.parametrize(
    ("slurm", "more", "seen"),
    [
        ("", [], "3,4"),  # nothing was asked for, and nobody else shares this machine
        ("7", [], ""),  # a job that did not ask for a GPU gets none, though it could see some
        ("", ["--device", "cpu"], ""),
    ],
)
def test_which_gpus_a_command_sees(slurm: str, more: list[str], seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    if slurm:
        monkeypatch.setenv("SLURM_JOB_ID", slurm)
    assert launch(SAYS_GPUS, *more) == 0
    assert Path("gpus").read_text() == seen


def test_gpus_are_handed_out_one_job_each() -> None:
    first = devices.claim(2, ["0", "1", "2"])
    second = devices.claim(1, ["0", "1", "2"])
    assert [first.gpus, second.gpus] == [["0", "1"], ["2"]]
    first.release()
    assert devices.claim(2, ["0", "1", "2"]).gpus == ["0", "1"]
    with pytest.raises(InputError, match="this machine has 1 that may be used"):
        devices.claim(2, ["0"])


HOLDS = """
import sys, time
from hydra_bench.jobs import devices
held = devices.claim(1, ["0"])
print(held.gpus, flush=True)
time.sleep(60)
"""


def test_a_gpu_is_free_again_when_its_job_was_killed(capsys: pytest.CaptureFixture[str]) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "['0']\n"
    assert devices._try(devices.lock_folder(), ["0"], 1) is None
    holder.kill()
    holder.communicate()
    assert devices.claim(1, ["0"]).gpus == ["0"]


def test_one_process_a_gpu_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    command, paths = ["hydra-bench", "hydra"], (Path("s"), Path("o"), Path("l"))
    assert processes(Job(*paths, gpus=1), command) == command
    alone = processes(Job(*paths, gpus=4), command)
    assert alone[3:] == ["--nproc-per-node=4", "--standalone", "--no-python", *command]
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    spread = processes(Job(*paths, gpus=8, nodes=2, cpus=3), command)
    assert spread[:5] == ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=3"]
    assert spread[8:10] == ["--nproc-per-node=4", "--nnodes=2"]
    assert spread[-3:] == ["--no-python", *command]
