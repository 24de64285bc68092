"""Several processes on the CPU: the same result as one, and an end to all when one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra_cases import CPU, Case, assert_same_state, environment, hydra, run, tiny
from hydra_process import RIGID, start, sums_of_maps
from sklearn.metrics import adjusted_rand_score
from torch import distributed

from hydra_bench.cli.main import main
from hydra_bench.contracts.reconstruction import read_assignments
from hydra_bench.core.errors import InputError
from hydra_bench.methods.hydra.fit.learning import learn
from hydra_bench.methods.hydra.fit.likelihood import balancing, softening_of
from hydra_bench.methods.hydra.fit.parallel import Parallel, choose_device
from hydra_bench.methods.hydra.fit.run_state import Chunk
from hydra_bench.methods.hydra.fit.train import begin_epoch
from hydra_bench.methods.hydra.fit.train import start as start_run
from hydra_bench.methods.hydra.fit.training_input import TrainingInput

pytestmark = pytest.mark.skipif(
    not (distributed.is_available() and distributed.is_gloo_available()), reason="this torch has no gloo backend"
)

TOLERANCE = 0.01
"""Of the loss, relative: sums in another order, of which search and gradient steps make more."""


@pytest.fixture(scope="module")
def found(case: Case, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("spawned")
    torch.multiprocessing.spawn(start, (folder, case.stack.path), nprocs=2)
    return [torch.load(folder / f"found_{rank}.pt", weights_only=True) for rank in range(2)]


def test_rows_come_from_the_process_of_their_particle(found: list[dict[str, Any]]) -> None:
    for one in (process["parts"] for process in found):
        rows = torch.arange(12.0).reshape(6, 2) + torch.tensor([0.0, 100.0] * 3)[:, None]
        assert torch.equal(one["rows"], rows)
        assert torch.equal(one["flat"], rows.flatten())
        assert torch.equal(one["infinite"], torch.tensor([1.0, torch.inf]))
    assert [process["parts"]["owns"] for process in found] == [[True, False] * 2 + [True], [False, True] * 2 + [False]]


def test_gradients_are_summed_and_missing_ones_stay_missing(found: list[dict[str, Any]]) -> None:
    for process in found:
        first, second, third, fourth = process["parts"]["gradients"]
        assert torch.equal(first, torch.tensor([3.0, 6.0]))
        assert torch.equal(second, torch.tensor([5.0, 6.0, 7.0]))
        assert third is None
        assert torch.equal(fourth, torch.zeros(2))


def test_sums_flags_and_softening_are_of_all_processes(found: list[dict[str, Any]]) -> None:
    errors = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    for process in found:
        assert torch.equal(process["parts"]["sum"], torch.tensor([2.0, 1.0]))
        assert process["parts"]["any"] == [True, False]
        assert process["parts"]["softening"] == pytest.approx(softening_of(errors, 2.0, Parallel()), rel=1e-6)
        torch.testing.assert_close(process["parts"]["balancing"], balancing(-errors, Parallel()))


def test_two_processes_end_with_one_state(found: list[dict[str, Any]]) -> None:
    for name in ("rigid", "resumed", "maps", "latent"):
        first, second = ({**process[name], "loss": 0} for process in found)
        assert_same_state(first, second, name)


def test_two_processes_learn_what_one_does(case: Case, found: list[dict[str, Any]]) -> None:
    alone, together = run(case.stack, tiny(**RIGID)), found[0]["rigid"]
    np.testing.assert_allclose(together["loss"], [row["loss"] for row in alone.history.rows], rtol=TOLERANCE)
    assert adjusted_rand_score(together["posteriors"].argmax(1), alone.model.tables.hard_classes()) > 0.8


def test_first_maps_are_those_of_all_processes(case: Case, found: list[dict[str, Any]]) -> None:
    """Also where one of them has no image in a step: it neither waits without an end nor changes anything."""
    first, second = (process["sums"] for process in found)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, sums_of_maps(Parallel(), case.stack.path), rtol=1e-3, atol=1e-4)


def test_two_processes_stop_and_resume(found: list[dict[str, Any]]) -> None:
    """The epoch that was broken off counts each particle's loss once."""
    assert [process["stopped_after"] for process in found] == [4, 4]
    np.testing.assert_allclose(found[0]["resumed"]["loss"], found[0]["rigid"]["loss"], rtol=TOLERANCE)


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda", "nccl")])
def test_processes_speak_by_what_their_device_has(device: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[str] = []
    monkeypatch.setattr(distributed, "init_process_group", lambda name, **_: joined.append(name))
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    assert Parallel.from_environment(torch.device(device)) == Parallel()  # a process of its own joins nobody
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert Parallel.from_environment(torch.device(device)) == Parallel(1, 2)
    assert joined == [backend]


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for local in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", local)
        assert choose_device("auto") == choose_device("cuda") == torch.device(f"cuda:{local}")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match="--device: 'cuda:2', for process 2 of this machine; 2 usable GPUs are here"):
        choose_device("auto")


def test_bytes_exchanged_in_a_step(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fields' gradients, 4 bytes a weight, and whether each field has any: nothing that grows with the stack."""
    sent: list[int] = []
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor: sent.append(tensor.numel() * tensor.element_size()))
    one_of_two = start_run(TrainingInput(case.stack, tiny(**RIGID)), CPU, Parallel(0, 2))
    epoch = one_of_two.schedule[0]
    begin_epoch(one_of_two, epoch)
    chunk = Chunk.of(one_of_two, np.arange(30))
    learn(one_of_two, epoch, chunk)
    K, weights = one_of_two.model.stack.weights.shape
    assert sent == [4 * K * (weights + 1)] * (30 // one_of_two.settings.minibatch)


def torchrun(arguments: list[str], **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "--standalone",
               "-m", "hydra_bench.cli", *arguments]  # fmt: skip
    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True, **more)


def test_the_command_under_torchrun(case: Case, tmp_path: Path) -> None:
    """Latents, an encoder and spare fields: classes no worse than one process finds."""
    changes = {"l_schedule": (4, 5, 6, 7), "decode_epochs": 2, "conformations": "encoder", "latent_epoch": 2}
    process = torchrun(hydra(case.stack.path, tmp_path / "two", **changes))
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 0, error
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    assert main(hydra(case.stack.path, tmp_path / "one", **changes)) == 0
    one, two = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    print(one["loss"].tolist(), two["loss"].tolist())
    np.testing.assert_allclose(two["loss"][:2], one["loss"][:2], rtol=TOLERANCE)
    np.testing.assert_allclose(two["loss"], one["loss"], rtol=0.1)
    alone, together = (
        adjusted_rand_score(case.truth.classes, read_assignments(tmp_path / name, 60).classes)
        for name in ("one", "two")
    )
    assert together > alone - 0.1, (alone, together)


def children(pid: int) -> dict[str, int]:
    """Process numbers by RANK."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks = [one.removeprefix(b"RANK=").decode() for one in variables if one.startswith(b"RANK=")]
        found |= {rank: int(child) for rank in ranks}
    return found


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finding a worker process needs Linux's /proc")
def test_a_process_that_dies_ends_the_job(case: Case, tmp_path: Path) -> None:
    arguments = hydra(case.stack.path, tmp_path / "out", "--checkpoint-minutes", "0", decode_epochs=100_000)
    process = torchrun(arguments, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while not (tmp_path / "out.checkpoint").is_file():
            assert time.monotonic() < deadline, "no checkpoint within 90 s"
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.1)
        workers = children(process.pid)
        assert sorted(workers) == ["0", "1"]
        os.kill(workers["1"], signal.SIGKILL)
        error = process.communicate(timeout=60)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode not in (0, None)
    assert "hydra-bench: error: another process of this job has ended or does not answer" in error
    assert (tmp_path / "out.checkpoint").is_file()
    assert not Path(f"/proc/{workers['0']}").exists()
