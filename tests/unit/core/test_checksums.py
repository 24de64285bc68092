"""SHA256SUMS of a folder: what is not as it was written is named."""

import subprocess
from pathlib import Path

import pytest

from hydra_bench.core.checksums import NAME, check_checksums, write_checksums
from hydra_bench.core.errors import InputError


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
