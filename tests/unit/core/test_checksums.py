"""SHA256SUMS of a folder: what is not as it was written is named."""

import os
import subprocess
from pathlib import Path

import pytest

from hydra_bench.core import checksums
from hydra_bench.core.checksums import NAME, check_checksums, check_file, check_unchanged, trust, write_checksums
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "class_1.mrc").write_bytes(bytes(5000))
    (tmp_path / "a.star").write_text("Å")
    (tmp_path / "run.json").write_text("{}")
    write_checksums(tmp_path, without=("run.json",))
    return tmp_path


def test_whole_folders_pass_here_and_with_sha256sum(folder: Path) -> None:
    check_checksums(folder)
    (folder / "run.json").write_text("another")
    check_checksums(folder)
    subprocess.run(["sha256sum", "--check", "--quiet", NAME], cwd=folder, check=True)


def test_a_folder_of_somebody_elses_is_taken_as_it_is(tmp_path: Path) -> None:
    check_checksums(tmp_path)
    write_checksums(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_damaged_or_gone_is_named(folder: Path) -> None:
    path = folder / "volumes" / "class_1.mrc"
    path.write_bytes(bytes(2500) + b"\1" + bytes(2499))
    with pytest.raises(InputError, match=r"volumes/class_1\.mrc: is not as it was written"):
        check_checksums(folder)
    path.unlink()
    with pytest.raises(InputError, match=r"volumes/class_1\.mrc: no such file; SHA256SUMS beside it names it"):
        check_checksums(folder)


@pytest.mark.parametrize("line", ["", "0" * 64, f"{'0' * 64}  ../outside", f"{'0' * 64}  /etc/passwd"])
def test_lines_that_name_no_file_of_the_folder_are_refused(folder: Path, line: str) -> None:
    (folder / NAME).write_text(f"{line}\n")
    with pytest.raises(InputError, match="a checksum and the name of a file beside it are expected"):
        check_checksums(folder)


def test_one_file_is_checked_by_itself(folder: Path) -> None:
    (folder / "volumes" / "class_1.mrc").unlink()
    check_file(folder / "a.star")
    check_file(folder / "run.json")  # not named
    (folder / "a.star").write_text("a")
    with pytest.raises(InputError, match=r"a\.star: is not as it was written: .*delete SHA256SUMS, if the change was"):
        check_file(folder / "a.star")


class Large:
    """A folder of files as large as stacks, and how often one is read."""

    NAMES = ("particles.star", "particles.mrcs")

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.read: list[str] = []
        folder.mkdir()
        for name in self.NAMES:
            (folder / name).write_bytes(bytes(1000))
        write_checksums(folder)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        monkeypatch.setattr(checksums, "sha256", lambda path: self.read.append(path.name) or sha256(path))

    @property
    def images(self) -> Path:
        return self.folder / "particles.mrcs"

    def check(self) -> list[str]:
        """The files that are read when they are checked now."""
        self.read.clear()
        check_unchanged(self.folder, self.NAMES)
        return sorted(self.read)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Large:
    return Large(tmp_path / "stack", monkeypatch)


def test_large_files_are_read_once_and_then_known_by_size_and_time(large: Large) -> None:
    assert large.check() == ["particles.mrcs", "particles.star"]
    assert large.check() == []
    os.utime(large.images, (1, 1))  # its time is another, and its content is not
    assert large.check() == ["particles.mrcs"]
    assert large.check() == []


def test_what_was_written_just_now_is_not_read(large: Large) -> None:
    trust(large.folder)
    assert large.check() == []


@pytest.mark.parametrize("known", [True, False])
def test_a_large_file_that_was_changed_is_refused_again_and_again(large: Large, known: bool) -> None:
    if known:
        large.check()
    times = large.images.stat()
    large.images.write_bytes(bytes(999) + b"\1")
    os.utime(large.images, ns=(times.st_atime_ns, times.st_mtime_ns))  # as programs that copy set it back
    for _ in range(2):
        with pytest.raises(InputError, match=r"particles\.mrcs: is not as it was written"):
            large.check()
    large.images.write_bytes(bytes(1000))
    assert "particles.mrcs" in large.check()
    large.images.unlink()
    with pytest.raises(InputError, match=r"particles\.mrcs: no such file"):
        large.check()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"particles.mrcs": null}', "\x00"])
def test_a_memory_that_is_none_is_written_anew(large: Large, content: str) -> None:
    large.check()
    (memory,) = (large.folder.parent / "cache" / "hydra-bench" / "checked").iterdir()
    memory.write_text(content)
    assert large.check() == ["particles.mrcs", "particles.star"]
    assert large.check() == []


def test_where_nothing_can_be_remembered_all_is_read(large: Large, monkeypatch: pytest.MonkeyPatch) -> None:
    (large.folder.parent / "file").touch()
    for cache in (str(large.folder.parent / "file"), "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        assert large.check() == large.check() == ["particles.mrcs", "particles.star"]


def test_a_list_of_somebody_elses_files_is_left_alone(large: Large) -> None:
    (large.folder / NAME).write_text(f"{'0' * 64}  particles.star\n{'0' * 64} *../movies.tiff\n")
    assert large.check() == []
