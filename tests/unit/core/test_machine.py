"""What is an error of the machine, and what is not."""

import errno
import os
import resource
from pathlib import Path

import pytest
import torch

from hydra_bench.core import machine
from hydra_bench.core.errors import InputError, MachineError, RunFailedError
from hydra_bench.core.files import atomic, write_json, write_text
from hydra_bench.core.machine import MEMORY, MemoryLimit, TooMuchMemoryError, machine_error, marks, tell, told


def chained(error: Exception, outer: Exception) -> Exception:
    """An exception that hides another one, as readers and libraries do."""
    try:
        try:
            raise error
        except Exception:
            raise outer from None
    except Exception as caught:
        return caught


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.EFBIG])
def test_disks_are_the_machines_however_deep_it_lies(number: int) -> None:
    said = chained(OSError(number, os.strerror(number), "a.mrc"), RunFailedError("unusable output"))
    found = machine_error(chained(said, InputError("b")))
    assert str(found) == f"a.mrc: {os.strerror(number)}"


def test_the_largest_file_that_a_shell_allows_is_no_result(tmp_path: Path) -> None:
    """As of `ulimit -f`, or a job's; what PyTorch says of it names neither file nor reason."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 << 10, before[1]))
    try:
        with open(tmp_path / "state.pt", "wb") as file, pytest.raises(RuntimeError) as raised:
            torch.save(torch.zeros(10_000), file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in str(machine_error(raised.value, tmp_path))


def test_what_a_program_or_a_user_did_is_not(tmp_path: Path) -> None:
    for error in (ValueError("x"), OSError(errno.ENOENT, "no such file", "a"), RunFailedError("exit status 1")):
        assert machine_error(error, tmp_path, tmp_path / "not" / "there") is None


def test_a_full_disk_explains_what_says_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    found = machine_error(RunFailedError("exit status 1"), tmp_path)
    assert f"{tmp_path}: cannot be written (No space left on device); the disk at " in str(found)


def test_a_write_names_its_file_and_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"file/a\.json: cannot be written \(.*\); the disk at / ?.* has "):
        write_json(tmp_path / "file" / "a.json", {})
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "made"):
        (tmp_path / "other" / "read").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "Å")
    assert (tmp_path / "a").read_bytes() == "Å".encode()


def test_who_keeps_account_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    environment: dict[str, str] = {}
    with marks(environment) as folder:
        assert told(folder) == ""
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        tell(TooMuchMemoryError("x"))
        assert told(folder) == MEMORY
        tell(MachineError("x"))
        assert told(folder) == "machine"
    assert not folder.exists()


class Groups:
    """Control groups as SLURM makes them: a job of 4 GB, its processes in groups within it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.job = folder / "system.slice" / "slurmstepd.scope" / "job_42"
        self.task = self.job / "step_batch" / "user" / "task_0"
        for group in (self.task, *self.task.parents):
            if group.is_relative_to(folder) and group != folder:
                self.say(group, oom=0, oom_kill=0)
        (folder / "of_this").write_text(f"0::/{self.task.relative_to(folder)}\n")
        monkeypatch.setattr(machine, "_CGROUPS", folder)
        monkeypatch.setattr(machine, "_CGROUP_OF_THIS", folder / "of_this")
        for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU"):
            monkeypatch.delenv(name, raising=False)

    def say(self, group: Path, oom: int, oom_kill: int) -> None:
        group.mkdir(parents=True, exist_ok=True)
        lines = f"low 0\nhigh 0\nmax 9\noom {oom}\noom_kill {oom_kill}\noom_group_kill 0\n"
        (group / "memory.events.local").write_text(lines)


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Groups:
    return Groups(tmp_path, monkeypatch)


def test_the_limit_of_a_group_around_it_explains_a_kill(groups: Groups) -> None:
    limit = MemoryLimit.of_job()
    assert not limit.exceeded()
    groups.say(groups.job, oom=1, oom_kill=0)
    groups.say(groups.task, oom=0, oom_kill=1)
    assert limit.exceeded()
    assert not MemoryLimit.of_job().exceeded()  # what was before this attempt is no matter


def test_the_whole_machines_want_of_memory_does_not(groups: Groups) -> None:
    limit = MemoryLimit.of_job()
    groups.say(groups.task, oom=0, oom_kill=1)  # killed, at no limit of its groups
    groups.say(groups.job.with_name("job_43"), oom=3, oom_kill=3)  # another job, at its own
    assert not limit.exceeded()


def test_groups_of_the_first_version_count_kills(groups: Groups) -> None:
    group = groups.folder / "memory" / "slurm" / "uid_0" / "job_42"
    group.mkdir(parents=True)
    (groups.folder / "of_this").write_text("3:cpu,cpuacct:/x\n2:memory:/slurm/uid_0/job_42\n")
    counted = group / "memory.oom_control"
    counted.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    limit = MemoryLimit.of_job()
    assert not limit.exceeded()
    counted.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert limit.exceeded()


@pytest.mark.parametrize("said", ["", "\x00", "0::/../..", "0::", "a:b"])
def test_groups_that_say_nothing_explain_nothing(groups: Groups, said: str) -> None:
    (groups.folder / "of_this").write_text(said)
    assert not MemoryLimit.of_job().exceeded()


@pytest.mark.parametrize(
    ("variables", "limit_mb"),
    [({}, None), ({"SLURM_MEM_PER_NODE": "4000"}, 4000.0), ({"SLURM_MEM_PER_NODE": "0"}, None),
     ({"SLURM_MEM_PER_CPU": "1000", "SLURM_CPUS_ON_NODE": "4"}, 4000.0)],
)  # fmt: skip
def test_the_limit_is_the_jobs(
    variables: dict[str, str], limit_mb: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert MemoryLimit.of_job().limit_mb == limit_mb
