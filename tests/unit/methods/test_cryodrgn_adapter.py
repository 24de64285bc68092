"""cryoDRGN's adapters where the program fails: each way ends as a failed row that says why.

The program here is a small script that leaves what a failed run may leave; the real one is in tests/real.
"""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra_cases import Case

from hydra_bench.cli.main import main
from hydra_bench.contracts.reconstruction import Run, read_run
from hydra_bench.core.errors import RunFailedError
from hydra_bench.methods import cards as method_cards
from hydra_bench.particles.cryodrgn import read_ctf_table, read_pose_table

files = method_cards.method_module("cryodrgn/files.py")
PROGRAM = f'''#!{sys.executable}
"""Leaves what a run of one epoch leaves, spoiled as the file `spoil` beside it says."""
import os, pickle, signal, struct, sys, time
from pathlib import Path
import numpy as np

if sys.argv[1] == "--version":
    sys.exit(print("cryoDRGN 4.3.1"))
spoil = (Path(__file__).parent / "spoil").read_text()
print("begun", *sys.argv[1:2], flush=True)
if spoil == "crash":
    sys.exit("RuntimeError: KLD is nan")
if spoil == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if spoil == "hangs":
    time.sleep(60)

class Evil:
    def __reduce__(self):
        return os.system, ("touch " + str(Path(__file__).parent / "evil"),)

n = int((Path(__file__).parent / "n").read_text())
rng, out = np.random.default_rng(0), Path("output")
if sys.argv[1] != "eval_vol":
    out.mkdir(exist_ok=True)
    poses = (np.tile(np.eye(3), (n - (spoil == "few poses"), 1, 1)), np.zeros((n - (spoil == "few poses"), 2)))
    latents = rng.normal(size=(n, 8)) * (np.nan if spoil == "nan" else 1)
    for name in ("pose.1.pkl", "pose.pkl"):
        (out / name).write_bytes(pickle.dumps(Evil() if spoil == "evil pose" else poses))
    one, two = pickle.dumps(Evil() if spoil == "evil z" else latents), pickle.dumps(latents)
    (out / "z.1.pkl").write_bytes(one[: -100 if spoil == "cut z" else None])
    (out / "z.pkl").write_bytes(one + two[: -100 if spoil == "cut z" else None])
else:
    Path("maps").mkdir()
    for i in range(1, 6):
        header = bytearray(1024)
        struct.pack_into("<10i", header, 0, 32, 32, 32, 2, 0, 0, 0, 32, 32, 32)
        struct.pack_into("<6f3i", header, 40, 32, 32, 32, 90, 90, 90, 1, 2, 3)
        header[208:216] = b"MAP DD\\0\\0"
        voxels = np.ones((32, 32, 32), "<f4").tobytes()
        if not (spoil == "no map" and i == 3):
            Path(f"maps/vol_{{i:03d}}.mrc").write_bytes(header + voxels[: -7 if spoil == "cut map" else None])
'''
METHODS = {"drgnai": {"epochs_pose_search": 1, "epochs_sgd": 0}, "cryodrgn2": {"num_epochs": 1}}


def run(
    tmp_path: Path, case: Case, spoil: str, method: str = "drgnai", expected: int = 0, **more: object
) -> Run | None:
    binaries = tmp_path / "envs" / "cryodrgn" / "bin"
    binaries.mkdir(parents=True)
    for name, text in {"cryodrgn": PROGRAM, "spoil": spoil, "n": str(len(case.stack))}.items():
        (binaries / name).write_text(text)
    (binaries / "cryodrgn").chmod(0o755)
    stack, out = case.stack.path, tmp_path / "out"
    definition = {"name": "one", "program": method, "parameters": METHODS.get(method, {}), **more}
    evaluation = str(stack.parent / "evaluation_particles.txt")
    command = ["reconstruct", "--particles", str(stack), "--evaluation-list", evaluation, "--out", str(out)]
    command += ["--environments", str(tmp_path / "envs"), "--state", str(tmp_path / "state")]
    assert main([*command, "--definition", json.dumps(definition)]) == expected
    assert not (binaries / "evil").exists()
    return read_run(out) if expected == 0 else None


@pytest.mark.parametrize("method", list(METHODS))
def test_the_stand_in_itself_is_sound(method: str, tmp_path: Path, case: Case) -> None:
    result = run(tmp_path, case, "", method)
    assert (result.state, result.notes["versions"]) == ("ok", {"cryodrgn": "4.3.1"})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("crash", "cryodrgn abinit: exit status 1; last line: RuntimeError: KLD is nan"),
        ("few poses", "pose.1.pkl: 59 poses; the stack has 60 particles"),
        ("evil pose", "pose.1.pkl: not a pickle of arrays (it wants posix.system, and only NumPy arrays are allowed)"),
        ("evil z", "z.1.pkl: not a pickle of arrays (it wants posix.system, and only NumPy arrays are allowed)"),
        ("cut z", "z.1.pkl: not a pickle of arrays (expected 3840 bytes in a bytes4, but only 3745 remain)"),
        ("nan", "z.1.pkl: latents that are no numbers; the training diverged"),
        ("no map", "vol_003.mrc: no such file"),
        ("cut map", "vol_001.mrc: not a readable MRC map"),
    ],
)
def test_what_fails_is_a_failed_row_with_the_reason(spoil: str, reason: str, tmp_path: Path, case: Case) -> None:
    result = run(tmp_path, case, spoil)
    assert result.state == "failed"
    assert reason in result.reason
    assert result.notes["log_tail"][0].startswith("begun")
    assert result.notes["commands"][0].startswith("cryodrgn abinit ../../")
    assert not (tmp_path / "out" / "particles.star").exists()


def test_a_kill_that_no_limit_explains_is_no_result(
    tmp_path: Path, case: Case, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, case, "killed", expected=2) is None
    assert "cryodrgn abinit: ended by SIGKILL from outside; no limit of its job explains it" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_program_that_hangs_ends_at_its_time_limit(tmp_path: Path, case: Case) -> None:
    result = run(tmp_path, case, "hangs", time_limit_min=0.05)
    assert result.reason == "cryodrgn abinit: stopped at the time limit of 0.05 minutes"
    assert result.notes["log_tail"] == ["begun abinit"]


def test_the_second_half_of_cryodrgn2s_latents_counts(tmp_path: Path, case: Case) -> None:
    """z.pkl is two pickles; cut in its second, the file was not written to its end."""
    assert "z.pkl: not a pickle of arrays" in run(tmp_path, case, "cut z", "cryodrgn2").reason


def test_tables_come_back_as_they_were(tmp_path: Path, case: Case) -> None:
    stack, truth = case.stack, case.truth
    files.write_ctf(tmp_path / "ctf.pkl", stack)
    optics, defocus, pixel_size_A, box_px = read_ctf_table(tmp_path / "ctf.pkl")
    assert (box_px, optics.voltage_kV) == (stack.box_px, stack.optics.voltage_kV)
    assert pixel_size_A == pytest.approx(stack.pixel_size_A)
    np.testing.assert_allclose(defocus.u_A, stack.defocus.u_A, rtol=1e-6)
    for unit in (1.0, 33.0):
        files.write_poses(tmp_path / "poses.pkl", truth.rotations, truth.shifts_A, stack, unit)
        rotations, shifts = files.read_poses(tmp_path / "poses.pkl", stack, unit)
        np.testing.assert_allclose(rotations, truth.rotations, atol=1e-6)
        np.testing.assert_allclose(shifts, truth.shifts_A, atol=1e-4)
    # A share of the box, but for the one more that the program has.
    np.testing.assert_allclose(
        read_pose_table(tmp_path / "poses.pkl")[1] * 33 * stack.pixel_size_A, truth.shifts_A, atol=1e-4
    )


def test_losses_are_read_from_the_programs_log(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    assert files.read_history(log, 0, 10).empty
    log.write_text(
        "(INFO) # =====> Pretrain Epoch: 0 finished in 0:00:01.2; total loss = 1.000000\n"
        "(INFO) # =====> HPS Epoch: 1 finished in 0:00:10.5; total loss = 0.900000\n"
        "(INFO) # =====> HPS Epoch: 1 finished in 0:00:10.5; total loss = 0.800000\n"
    )
    history = files.read_history(log, 6, 10)
    assert list(history.columns) == ["images_seen", "epoch", "phase", "loss"]
    assert history.to_numpy().tolist() == [[6, 0, "pretrain", 1.0], [16, 1, "hps", 0.8]]
    log.write_text("# =====> Epoch: 2 Average gen loss = 0.75, KLD = 1.25, total loss = 0.7500; Finished in 0:00:02\n")
    assert files.read_history(log, 6, 10).to_numpy().tolist() == [[26, 2, "train", 0.75, 1.25]]


def test_half_written_checkpoints_are_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.3.pkl"
    torch.save({"epoch": 3, "weights": torch.zeros(1000)}, path)
    assert files.is_whole_checkpoint(path)
    assert files.epochs_written(tmp_path, "weights") == [3]
    path.write_bytes(path.read_bytes()[:-200])
    assert not files.is_whole_checkpoint(path)
    assert not files.is_whole_checkpoint(tmp_path / "weights.4.pkl")


def test_a_pickle_that_runs_something_is_refused_wherever_it_lies(tmp_path: Path, case: Case) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, (f"open({str(tmp_path / 'evil')!r}, 'w')",)

    path = tmp_path / "z.pkl"
    path.write_bytes(pickle.dumps(np.zeros((3, 8))) + pickle.dumps([np.zeros(3), Evil()]))
    with pytest.raises(RunFailedError, match="only NumPy arrays are allowed"):
        files.read_latents(path, 3, 8, pickles=2)
    path.write_bytes(pickle.dumps((Evil(), np.zeros((3, 2)))))
    with pytest.raises(RunFailedError, match="only NumPy arrays are allowed"):
        files.read_poses(path, case.stack, 1.0)
    assert not (tmp_path / "evil").exists()
