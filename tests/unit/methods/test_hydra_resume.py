"""Stopped after any chunk and resumed, a run ends bit for bit as if it had not been; what is not its own is refused."""

import errno
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from hydra_cases import Case, assert_same_state, environment, hydra, run, tiny, write_stack

from hydra_bench.cli.main import main
from hydra_bench.core.errors import InputError, MachineError
from hydra_bench.methods.hydra.fit.checkpoint import VERSION, Checkpointer, Stopped, first_difference, write
from hydra_bench.methods.hydra.fit.run_state import Run
from hydra_bench.methods.hydra.settings import PRESETS, Settings

CHUNKS = {1: "pretrain", 2: "search, with the spare field", 3: "search's first epoch ended", 4: "search, spare gone",
          5: "search ended", 6: "decode", 7: "all done"}  # fmt: skip

FILES = ("particles.star", "volumes/class_1.mrc", "volumes/class_2.mrc", "fields.pt", "history_labels.npy")


@pytest.fixture(autouse=True)
def sigterm_as_before() -> Any:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def stop_after(chunks: int, case: Case, settings: Settings, path: Path, **more: Any) -> None:
    """Run until that many chunks are done, leaving a checkpoint."""
    checkpointer, done = Checkpointer(path), []

    def advance(n: int) -> None:
        done.append(n)
        checkpointer.asked_to_stop = len(done) == chunks

    with pytest.raises(Stopped):
        run(case.stack, settings, checkpointer=checkpointer, advance=advance, **more)
    assert len(done) == chunks


def state_of(found: Run) -> dict[str, Any]:
    return {**found.state(), "rows": [{k: v for k, v in row.items() if k != "wall_s"} for row in found.history.rows]}


@pytest.fixture(scope="module")
def unbroken(case: Case) -> dict[str, Any]:
    return state_of(run(case.stack, tiny()))


@pytest.mark.parametrize("chunks", CHUNKS, ids=CHUNKS.values())
def test_resumed_after_any_chunk_it_is_the_unbroken_run(
    case: Case, unbroken: dict[str, Any], chunks: int, tmp_path: Path
) -> None:
    stop_after(chunks, case, tiny(), tmp_path / "state")
    seen: list[int] = []
    found = run(case.stack, tiny(), checkpointer=Checkpointer(tmp_path / "state"), advance=seen.append)
    assert_same_state(state_of(found), unbroken)
    assert sum(seen) == found.history.images_seen == 200


KINDS: dict[str, tuple[dict[str, Any], bool]] = {
    "encoder": ({"conformations": "encoder", "gating": "encoder"}, False),
    "different classes": ({"classes": 3, "latent_dim": (2, 2, 0), "variational": False, "sigma": 2.0}, False),
    "given poses": ({"poses": "refine"}, True),
    "held out": ({"held_out_folds": 3, "held_out_epochs": 2, "l_schedule": (4, 4, 5), "latent_epoch": 2}, False),
    "begun": ({"chunk": 20}, True),
    "troubles": ({**PRESETS["field"], "map_schedule": (4, 5), "l_schedule": (5, 5)}, False),
}
"""What is set, and whether poses are given, or poses and classes to begin from."""


def kind_of_run(case: Case, kind: str) -> tuple[Settings, dict[str, Any]]:
    changes, given = KINDS[kind]
    if not given:
        return tiny(**changes), {}
    return tiny(**changes), {"beginning": case.beginning()} if kind == "begun" else {"given": case.given()}


@pytest.fixture(scope="module")
def unbroken_of(case: Case) -> Callable[[str], dict[str, Any]]:
    @cache
    def state(kind: str) -> dict[str, Any]:
        settings, more = kind_of_run(case, kind)
        return state_of(run(case.stack, settings, **more))

    return state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunks", [2, 4, 6])
def test_other_kinds_of_run_resume_too(
    case: Case, unbroken_of: Callable[[str], dict[str, Any]], kind: str, chunks: int, tmp_path: Path
) -> None:
    settings, more = kind_of_run(case, kind)
    stop_after(chunks, case, settings, tmp_path / "state", **more)
    found = run(case.stack, settings, checkpointer=Checkpointer(tmp_path / "state"), **more)
    assert_same_state(state_of(found), unbroken_of(kind))


def test_stopped_twice_it_is_still_the_unbroken_run(case: Case, unbroken: dict[str, Any], tmp_path: Path) -> None:
    stop_after(2, case, tiny(), tmp_path / "state")
    first = (tmp_path / "state").read_bytes()
    stop_after(4, case, tiny(), tmp_path / "state")  # one call of advance is of the two chunks before
    assert (tmp_path / "state").read_bytes() != first
    found = run(case.stack, tiny(), checkpointer=Checkpointer(tmp_path / "state"))
    assert_same_state(state_of(found), unbroken)


def test_time_before_a_resumption_counts(case: Case, tmp_path: Path) -> None:
    stop_after(3, case, tiny(), tmp_path / "state")
    saved = torch.load(tmp_path / "state", weights_only=True)
    write(tmp_path / "state", {**saved, "wall_s": 1000.0})
    assert run(case.stack, tiny(), checkpointer=Checkpointer(tmp_path / "state")).history.rows[-1]["wall_s"] > 1000


def test_a_state_is_written_when_it_is_time(case: Case, tmp_path: Path) -> None:
    always, never = Checkpointer(tmp_path / "always", every_s=0), Checkpointer(tmp_path / "never", every_s=1e9)
    for checkpointer in (always, never, Checkpointer(None, every_s=0)):
        run(case.stack, tiny(decode_epochs=0), checkpointer=checkpointer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["always", "always.previous"]


def test_a_failed_write_names_the_path_and_leaves_the_state_before_it(
    case: Case, unbroken: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    stop_after(3, case, tiny(), path)
    before = path.read_bytes()

    def full(content: Any, file: BinaryIO) -> None:
        file.write(bytes(1000))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(MachineError, match=r"state: the checkpoint cannot be written .*No space left.* still good"):
        run(case.stack, tiny(), checkpointer=Checkpointer(path, every_s=0))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert_same_state(state_of(run(case.stack, tiny(), checkpointer=Checkpointer(path))), unbroken)


DAMAGES: dict[str, Callable[[bytearray], None]] = {
    "a flipped bit": lambda content: content.__setitem__(len(content) // 3, content[len(content) // 3] ^ 4),
    "a page of zeros": lambda content: content.__setitem__(slice(4096, 8192), bytes(4096)),
    "cut off": lambda content: content.__delitem__(slice(len(content) // 2, None)),
    "a flipped bit of the checksum": lambda content: content.__setitem__(-1, content[-1] ^ 1),
    "empty": lambda content: content.clear(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_of_a_damaged_checkpoint_the_one_before_it_is_taken(
    case: Case, unbroken: dict[str, Any], damage: Callable[[bytearray], None], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "state"
    stop_after(2, case, tiny(), path)
    stop_after(4, case, tiny(), path)
    content = bytearray(path.read_bytes())
    damage(content)
    path.write_bytes(content)
    capsys.readouterr()
    found = run(case.stack, tiny(), checkpointer=Checkpointer(path))
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "going on from the one before it" in error
    assert_same_state(state_of(found), unbroken)
    (tmp_path / "state.previous").unlink()
    with pytest.raises(InputError, match=r"not a readable checkpoint .*delete it, and the run begins anew"):
        Checkpointer(path).load()


def test_a_checkpoint_that_is_not_there_any_more_is_the_one_before_it(case: Case, tmp_path: Path) -> None:
    """As where a run was killed between two renames."""
    stop_after(2, case, tiny(), tmp_path / "state")
    before = (tmp_path / "state").read_bytes()
    stop_after(4, case, tiny(), tmp_path / "state")
    assert (tmp_path / "state.previous").read_bytes() == before
    (tmp_path / "state").unlink()
    assert Checkpointer(tmp_path / "state").exists()
    assert Checkpointer(tmp_path / "state").load() is not None
    Checkpointer(tmp_path / "state").remove()
    assert not list(tmp_path.iterdir())


def test_another_number_of_threads_resumes_and_is_recorded(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "state"
    checkpointer = Checkpointer(path, computed_with={"threads": 1})
    checkpointer.asked_to_stop = True
    with pytest.raises(Stopped):
        run(case.stack, tiny(), checkpointer=checkpointer)
    again = Checkpointer(path, computed_with={"threads": 2})
    run(case.stack, tiny(), checkpointer=again)
    assert again.departures == ["threads was 1 and is 2"]
    assert "threads was 1 and is 2; it goes on, but the last digits will not be those" in capsys.readouterr().err


def test_differences_are_named() -> None:
    assert first_difference({"a": {"b": 1, "c": [2]}}, {"a": {"b": 1, "c": [2]}}) is None
    assert first_difference({"a": {"b": 1, "c": [2]}}, {"a": {"b": 1, "c": [3]}}) == "a.c was [2] and is [3]"
    assert first_difference({"a": 1}, {"a": 1, "b": 2}) == "b was None and is 2"


@pytest.fixture(scope="module")
def stopped(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a real process was stopped by SIGTERM: nothing but its checkpoints."""
    folder = tmp_path_factory.mktemp("stopped")
    arguments = hydra(case.stack.path, folder / "out", "--checkpoint-minutes", "0", decode_epochs=40)
    process = subprocess.Popen(
        [sys.executable, "-m", "hydra_bench.cli", *arguments], env=environment(), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (folder / "out.checkpoint").is_file():
        assert time.monotonic() < deadline, "no checkpoint within a minute"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.terminate()
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 143, error
    assert error.startswith("hydra-bench: stopped; ")
    assert "out.checkpoint is the state, --resume goes on from it" in error
    return folder


def again(case: Case, folder: Path, *more: str, **changes: Any) -> list[str]:
    return hydra(case.stack.path, folder / "out", *more, **{"decode_epochs": 40, **changes})


def test_a_process_that_was_stopped_is_resumed_to_the_same_files(case: Case, stopped: Path, tmp_path: Path) -> None:
    assert {path.name for path in stopped.iterdir()} <= {"out.checkpoint", "out.checkpoint.previous"}
    kept = (stopped / "out.checkpoint").read_bytes()
    assert torch.load(stopped / "out.checkpoint", weights_only=True)["place"]["epoch"] < 40
    assert main(again(case, stopped, "--resume")) == 0
    assert [path.name for path in stopped.iterdir()] == ["out"]
    assert main(again(case, tmp_path)) == 0
    for name in FILES:
        assert (stopped / "out" / name).read_bytes() == (tmp_path / "out" / name).read_bytes(), name
    (stopped / "out.checkpoint").write_bytes(kept)  # for the other tests


def test_an_unfinished_run_is_not_overwritten(case: Case, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (stopped / "out.checkpoint").read_bytes()
    assert main(again(case, stopped)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "out.checkpoint: the checkpoint of an unfinished run; go on with --resume, or delete it" in error
    assert (stopped / "out.checkpoint").read_bytes() == before


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        (["--seed", "1"], {}, "seed was 0 and is 1"),
        ([], {"width": 25}, "settings.width was 24 and is 25"),
        ([], {"l_schedule": (4, 6)}, "settings.l_schedule was [4, 5] and is [4, 6]"),
        (["--no-ctf"], {}, "stack.ctf_sha256 was"),
    ],
)
def test_another_run_is_not_resumed(
    case: Case, stopped: Path, more: list[str], changes: dict[str, Any], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = (stopped / "out.checkpoint").read_bytes()
    assert main(again(case, stopped, "--resume", *more, **changes)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"out.checkpoint: a checkpoint of another run: {message}" in error
    assert (stopped / "out.checkpoint").read_bytes() == before


def test_another_stack_is_not_resumed(
    case: Case, stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = case.stack.read_images(torch.arange(60).numpy())
    other = write_stack(tmp_path, case.stack, images + 1, case.stack.pixel_size_A)
    arguments = again(replace(case, stack=other), stopped, "--resume")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert "a checkpoint of another run: stack.file_sha256 was" in error


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 broken off"])
def test_an_unreadable_checkpoint_is_refused(
    case: Case, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.checkpoint").write_bytes(content)
    assert main(hydra(case.stack.path, tmp_path / "out", "--resume")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "out.checkpoint: not a readable checkpoint" in error
    assert (tmp_path / "out.checkpoint").read_bytes() == content


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "state", {"version": 1})
    with pytest.raises(InputError, match=f"a checkpoint of version 1; {VERSION} is expected"):
        Checkpointer(tmp_path / "state").load()
    torch.save({"version": VERSION}, tmp_path / "state")
    with pytest.raises(InputError, match="no checksum at its end: it is cut off, or of an earlier version"):
        Checkpointer(tmp_path / "state").load()
    write(tmp_path / "state", [1])
    with pytest.raises(InputError, match="not a readable checkpoint"):
        Checkpointer(tmp_path / "state").load()


def test_resume_without_a_checkpoint_starts(case: Case, tmp_path: Path) -> None:
    where = tmp_path / "elsewhere" / "state"
    arguments = hydra(case.stack.path, tmp_path / "out", "--resume", "--checkpoint", str(where),
                      "--checkpoint-minutes", "0")  # fmt: skip
    assert main(arguments) == 0
    assert (tmp_path / "out" / "run.json").is_file()
    assert not where.exists()


def test_a_run_that_was_killed_while_it_wrote_its_maps_trains_no_more(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = hydra(case.stack.path, tmp_path / "out", "--resume", "--keep-checkpoint", decode_epochs=3)
    assert main(arguments) == 0
    assert "decode epoch 3" in capsys.readouterr().out
    (tmp_path / "out").rename(tmp_path / "first")
    assert main(arguments) == 0
    assert "epoch" not in capsys.readouterr().out
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "first" / name).read_bytes(), name
