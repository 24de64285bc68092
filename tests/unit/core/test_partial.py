"""What is not written to its end has a name that tells whose it is, and only this host's dead ones are cleared."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from hydra_bench.core.files import atomic, partial_folder, write_text
from hydra_bench.core.partial import clear_dead, partial_path


def test_only_what_dead_processes_of_this_host_left_is_cleared(tmp_path: Path) -> None:
    own = partial_path(tmp_path / "a.txt")
    host, process, start = own.name.split("-")[1:4]
    assert int(process) == os.getpid()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = tmp_path / f".partial-{host}-{ended.pid}-1-a.txt"
    reused = tmp_path / f".partial-{host}-{process}-{int(start) + 1}-a.txt"  # another process had this number before
    folder = tmp_path / f".partial-{host}-{ended.pid}-1-out"
    kept = [own, tmp_path / f".partial-elsewhere-{ended.pid}-1-a.txt", tmp_path / ".partial-of-something-else"]
    for path in (dead, reused, *kept):
        path.touch()
    (folder / "volumes").mkdir(parents=True)
    clear_dead(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_long_names_are_cut_at_their_beginning(tmp_path: Path) -> None:
    name = "ä" * 120 + ".svg"  # 244 bytes, of 255 that are allowed
    with atomic(tmp_path / name) as temporary:
        assert temporary.suffix == ".svg"
        temporary.write_text("content")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_to_work_in_goes_in_the_end_and_is_known_for_whose_it_is(tmp_path: Path) -> None:
    with partial_folder(tmp_path / "in" / "run") as first:
        (first / "volumes").mkdir()
        assert first.name.startswith(partial_path(tmp_path / "in" / "run").name)
        write_text(tmp_path / "in" / "run", "content")
    with partial_folder(tmp_path / "in" / "made") as second:
        (second / "stack").mkdir()
        second.rename(tmp_path / "in" / "made")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "made", "run", "stack"]


def test_folders_made_for_what_leaves_nothing_go_with_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with suppress(ValueError), partial_folder(tmp_path / "there" / "new" / "deeper" / "run"):
        raise ValueError
    assert (tmp_path / "there").is_dir()
    assert not (tmp_path / "there" / "new").exists()


def test_folders_in_which_something_lies_stay(tmp_path: Path) -> None:
    with suppress(ValueError), partial_folder(tmp_path / "new" / "deeper" / "run"):
        write_text(tmp_path / "new" / "kept.txt", "of another")
        raise ValueError
    assert (tmp_path / "new" / "kept.txt").is_file()
    assert not (tmp_path / "new" / "deeper").exists()
