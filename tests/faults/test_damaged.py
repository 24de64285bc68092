"""Damaged files: every reader takes them, where the damage cannot be seen, or refuses them in one line."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from damage import damaged
from hydra_cases import Case
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from readers import Reader, readers
from tally import Tally

from hydra_bench.core.errors import InputError
from hydra_bench.particles.pickles import read_pickle

GROUP = "damaged files"
LONGEST_S = 10


@pytest.fixture(scope="module")
def all_readers(case: Case, tmp_path_factory: pytest.TempPathFactory) -> list[Reader]:
    return readers(tmp_path_factory.mktemp("readers"), case)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def too_long(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def wrong(reader: Reader) -> tuple[str, str | None]:
    """How a read ended, and what is wrong with that, None if nothing is."""
    try:
        with time_limit(LONGEST_S):
            reader.read()
    except InputError as error:
        line = str(error)
        if "\n" in line or len(line) > 2000:
            return (
                "refused",
                f"a line of {len(line)} characters, {line.count(chr(10))} of them ends of lines: {line[:500]}",
            )
        return "refused", None if line.strip() else "nothing said"
    except Exception as error:
        trace = error.__traceback__
        places = []
        while trace is not None:
            places.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
            trace = trace.tb_next
        return "raised", f"{type(error).__name__}: {str(error)[:300]} at {' < '.join(places[::-1][:6])}"
    return "taken", None


def test_damaged_files_are_taken_or_refused(all_readers: list[Reader], tally: Tally) -> None:
    ended: Counter[str] = Counter()
    for reader in all_readers:
        good = reader.file.read_bytes()
        assert wrong(reader) == ("taken", None), reader.name
        for what, content in damaged(good, reader.name):
            reader.file.write_bytes(content)
            how, problem = wrong(reader)
            ended[how] += 1
            tally.check(GROUP, f"{reader.name}, {what}", problem)
        reader.file.write_bytes(good)
        assert wrong(reader) == ("taken", None), reader.name
    # Damage that nobody could see is some; were it most, readers would not look.
    assert ended["refused"] > ended["taken"] / 2, ended


def test_what_is_no_file_is_refused(all_readers: list[Reader], tmp_path: Path, tally: Tally) -> None:
    """A folder, a pipe, a device without an end, a hole of a terabyte, files of every other kind."""
    others = {reader.file.suffix: reader.file.read_bytes() for reader in all_readers}
    for reader in all_readers:
        good = tmp_path / "good"
        shutil.move(reader.file, good)
        for what in ("nothing", "folder", "pipe", "device", "hole", *others):
            if what in others and what == reader.file.suffix:
                continue
            _put(what, reader.file, others)
            tally.check(GROUP, f"{reader.name}, {what} in its place", wrong(reader)[1])
            if reader.file.is_dir():
                reader.file.rmdir()
            else:
                reader.file.unlink(missing_ok=True)
        shutil.move(good, reader.file)


def _put(what: str, path: Path, others: dict[str, bytes]) -> None:
    match what:
        case "nothing":
            return
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "hole":
            with open(path, "wb") as file:
                file.truncate(1 << 40)
        case _:
            path.write_bytes(others[what])


@given(content=st.binary(max_size=300))
@tries(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_bytes_as_a_pickle(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A program of a pickle's operations, whichever they are, gives arrays and plain values, or is refused."""
    path = tmp_path_factory.getbasetemp() / "any.pkl"
    path.write_bytes(b"\x80\x04" + content + b".")
    with suppress(InputError):
        read_pickle(path)


def test_pickles_are_counted_once(tally: Tally) -> None:
    tally.check(GROUP, "any bytes as a pickle", None)
