"""Where a reconstruction is put, and what becomes of it when the machine fails or somebody stops it."""

import errno
import os
from pathlib import Path

import pytest

from hydra_bench.contracts.reconstruction import read_run
from hydra_bench.core.checksums import check_checksums
from hydra_bench.core.errors import InputError, MachineError, RunFailedError
from hydra_bench.methods.recording import Outcome, Request, record_run

REQUEST = Request({"name": "m", "program": "p", "parameters": {}}, 0, "cpu")


def write(folder: Path) -> Outcome:
    (folder / "particles.star").write_text("made")
    return Outcome(3)


def test_what_is_written_can_be_held_to_its_checksums(tmp_path: Path) -> None:
    record_run(tmp_path / "out", REQUEST, write)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["SHA256SUMS", "particles.star", "run.json"]
    check_checksums(tmp_path / "out")


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for _ in range(2):
        record_run(tmp_path / "link", REQUEST, write)
    assert (tmp_path / "link").is_symlink()
    assert read_run(tmp_path / "real").state == "ok"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_mount_point_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path / "disk")
    with pytest.raises(InputError, match=r"--out: .*disk is where a disk is mounted; a folder within it is allowed"):
        record_run(tmp_path / "disk", REQUEST, lambda _: pytest.fail("it worked"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_a_failing_disk_is_no_failed_run_and_leaves_what_was_there(tmp_path: Path, number: int) -> None:
    record_run(tmp_path / "out", REQUEST, write)

    def work(folder: Path) -> Outcome:
        try:
            raise OSError(number, os.strerror(number), str(folder / "volumes" / "class_1.mrc"))
        except OSError:
            raise RunFailedError("unusable output") from None

    with pytest.raises(MachineError, match=f"class_1.mrc: {os.strerror(number)}"):
        record_run(tmp_path / "out", REQUEST, work)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert read_run(tmp_path / "out").state == "ok"


def test_a_program_whose_disk_is_full_did_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(folder: Path) -> Outcome:
        raise RunFailedError("theirs: exit status 1; last line: cannot write")

    monkeypatch.setattr("hydra_bench.core.machine.no_room", lambda folder: folder == tmp_path / "work" and "full")
    with pytest.raises(MachineError, match="work: cannot be written"):
        record_run(tmp_path / "out", REQUEST, work, also_written=tmp_path / "work")
    monkeypatch.undo()
    assert record_run(tmp_path / "out", REQUEST, work).state == "failed"
