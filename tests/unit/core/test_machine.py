"""What is an error of the machine, and what is not."""

import errno
import os
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS])
def test_disks_are_the_machines_however_deep_it_lies(number: int) -> None:
    said = chained(OSError(number, os.strerror(number), "a.mrc"), RunFailedError("unusable output"))
    found = machine_error(chained(said, InputError("b")))
    assert str(found) == f"a.mrc: {os.strerror(number)}"


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
