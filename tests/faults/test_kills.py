"""Killed at any moment, and called again: the same bytes as of a run that nobody disturbed."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from hydra_cases import Case, hydra
from tally import Tally
from warm import Warm

GROUP = "kills"
SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
KILLS = 10
"""Of each seed."""


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a reconstruction, but for what a run costs."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "history.csv")
    }


@pytest.fixture(scope="module")
def undisturbed(case: Case, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """What an undisturbed training leaves, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    ended = warm.run(*training(case, folder))
    assert ended.status == 0, ended.err
    return content(folder / "out"), time.monotonic() - began


def training(case: Case, folder: Path) -> list[str]:
    more = ("--resume", "--checkpoint-minutes", "0.001")
    return hydra(case.stack.path, folder / "out", *more, decode_epochs=6)


@pytest.mark.parametrize("seed", range(6))
def test_a_training_killed_at_any_moment_goes_on(
    seed: int, case: Case, warm: Warm, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path, tally: Tally
) -> None:
    expected, seconds = undisturbed
    draw = random.Random(seed)
    kills = 0
    while kills < KILLS:
        running = warm.start(training(case, tmp_path))
        what, moment = draw.choice(SIGNALS), draw.uniform(0, 0.7 * seconds)
        time.sleep(moment)
        killed = running.send(what)
        ended = running.wait()
        where = f"seed {seed}, kill {kills}: {what.name} after {moment:.3f} s"
        if killed and ended.status:
            kills += 1
            tally.check(GROUP, where, ended.wrong(128 + what))
        else:
            tally.check("results after kills", where, ended.wrong(0) or difference(expected, tmp_path / "out"))
            shutil.rmtree(tmp_path / "out")
    ended = warm.run(*training(case, tmp_path))
    tally.check("results after kills", f"seed {seed}", ended.wrong(0) or difference(expected, tmp_path / "out"))


def difference(expected: dict[str, bytes], folder: Path) -> str | None:
    found = content(folder)
    differ = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    return f"differ: {differ}" if differ else None
