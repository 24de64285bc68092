"""`snakemake --profile slurm` on a real SLURM, with everything done to it that clusters do.

The methods of one workflow all have the same parameters and seed, so all must end with the metrics that the same
method has in a local run that nobody disturbed, and with no epoch run twice.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from cluster import Cluster, said
from folder import PARAMETERS, Folder, configuration, end_what_runs_in

RETRIES = 3
LONGEST_S = 2400
FEW = 8  # epochs after which a training is disturbed
RIGID = {"classes": 2, "latent_dim": 0, "l_schedule": [4, 5], "decode_epochs": 2, "prior_epoch": 99}
DISTURBED = ("cancelled", "requeued", "timed_out", "full_disk", "flipped_bit")


def for_this_cluster(profile: dict[str, Any]) -> None:
    """Changes that every test needs: train on the CPU, since GPUs are stand-ins; look often; checkpoints often."""
    profile["__variables__"]["device"] = "cpu"
    profile["retries"] = RETRIES
    profile["slurm-init-seconds-before-status-checks"] = 2
    profile["latency-wait"] = 5
    profile["set-resources"]["hydra"]["checkpoint_minutes"] = "'0.03'"


def until(done: Callable[[], Any], what: str, seconds: float = LONGEST_S) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)


def tell(capsys: pytest.CaptureFixture[str], said: str) -> None:
    """On the terminal, whose standard output is not that of a test where several run."""
    with capsys.disabled():
        print(f"\n{said}", file=sys.__stderr__)


@pytest.fixture(scope="module")
def local(cluster: Cluster, slurm_folders: Path) -> Folder:
    """A run on this machine's CPU, undisturbed."""
    folder = Folder.make(slurm_folders / "local")
    folder.configure(configuration(unbroken=PARAMETERS))
    with folder.running("results/tables/table1.csv") as process:
        assert process.wait(LONGEST_S) == 0, folder.said()
    return folder


def epochs_in(checkpoint: Path) -> int:
    """Whole epochs, as a history counts them, that a checkpoint holds."""
    return len(torch.load(checkpoint, weights_only=True)["history"]["rows"])


class FullDisk:
    """A small disk for one method's checkpoints: it takes the first one, and has no room for a second beside it."""

    def __init__(self, folder: Folder, method: str) -> None:
        self.folder, self.method, self.mount = folder, method, folder.state(method).parent
        self.checkpoint = folder.state(method) / "hydra.pt"
        self.epochs_held: int | None = None
        self.mount.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", self.mount], check=True)
        self.shrunk = self.grown = False

    def act(self) -> None:
        if not self.shrunk and self.folder.epochs(self.method) >= FEW and self.checkpoint.is_file():
            self._resize(self._used() + (200 << 10))
            self.shrunk = True
        log = self.folder.path / "results" / "logs" / "reconstruct" / "tiny" / self.method / "0.log"
        if self.shrunk and not self.grown and "cannot be written" in log.read_text():
            # The one before is whole, and it is what the next attempt takes up.
            self.epochs_held = epochs_in(self.checkpoint)
            self._resize(16 << 20)
            self.grown = True

    def _used(self) -> int:
        info = os.statvfs(self.mount)
        return (info.f_blocks - info.f_bfree) * info.f_frsize

    def _resize(self, size: int) -> None:
        # A checkpoint that is being written may be larger than what was counted; then the kernel refuses.
        while subprocess.run(["mount", "-o", f"remount,size={size}", self.mount], check=False).returncode:
            size += 200 << 10

    def leave(self) -> None:
        subprocess.run(["umount", "--lazy", self.mount], check=False)


class Disturber:
    """What is done to each method's training, each a fixed number of times; `act` is called again and again."""

    def __init__(self, folder: Folder, disk: FullDisk) -> None:
        self.folder, self.disk = folder, disk
        self.done: set[tuple[str, int]] = set()
        self.epochs_held: int | None = None

    def act(self) -> None:
        self._once("cancelled", 1, lambda job: said("scancel", job))
        self._once("requeued", 1, lambda job: said("scontrol", "requeue", job))
        # Its limit is a minute, which it is held up until, so that it need not train for longer: then SLURM lets it go
        # on by SIGCONT, asks it to end by SIGTERM, and kills it.
        for attempt in (1, 2):
            self._once("timed_out", attempt, lambda _: self.folder.signal_training("timed_out", signal.SIGSTOP))
        self.disk.act()
        self._once("flipped_bit", 1, lambda job: said("scancel", job))
        self._flip_a_bit()

    def _flip_a_bit(self) -> None:
        """In the checkpoint of an attempt that has ended, before the next one takes it up."""
        made, checkpoint = self.folder.attempts("flipped_bit"), self.folder.state("flipped_bit") / "hydra.pt"
        if ("flipped_bit", 1) in self.done and self.epochs_held is None and len(made) == 1 and made[0].end is not None:
            content = bytearray(checkpoint.read_bytes())
            content[len(content) // 2] ^= 8
            self.epochs_held = epochs_in(checkpoint.with_name("hydra.pt.previous"))
            checkpoint.write_bytes(content)

    def _once(self, method: str, attempt: int, what: Callable[[str], Any]) -> None:
        made = self.folder.attempts(method)
        if len(made) != attempt or (method, attempt) in self.done or made[-1].end is not None:
            return
        if self.folder.epochs_of_last(method) >= FEW:
            what(made[-1].start.slurm_job)
            self.done.add((method, attempt))


@pytest.fixture(scope="module")
def disturbed(cluster: Cluster, slurm_folders: Path) -> Iterator[tuple[Folder, Disturber, int]]:
    """One workflow whose trainings were cancelled, requeued, timed out, short of disk, and one that always fails."""
    folder = Folder.make(slurm_folders / "disturbed")
    names = ("unbroken", *DISTURBED, "always_fails")
    folder.configure(configuration(**dict.fromkeys(names, PARAMETERS)))

    def change(profile: dict[str, Any]) -> None:
        for_this_cluster(profile)
        hydra = profile["set-resources"]["hydra"]
        hydra["runtime"] = "1 if wildcards.method == 'timed_out' else 60"
        hydra["slurm_extra"] = "''"  # no early SIGTERM, which a limit of a minute is too short for

    folder.change_profile(change)
    folder.state("always_fails").mkdir(parents=True)
    (folder.state("always_fails") / "hydra.pt").write_text("no checkpoint, so that every attempt fails")
    disk = FullDisk(folder, "full_disk")
    disturber = Disturber(folder, disk)
    try:
        with folder.running("--profile", "slurm") as process:

            def ended() -> bool:
                disturber.act()
                return process.poll() is not None

            until(ended, "the end of the workflow")
        yield folder, disturber, process.returncode
    finally:
        disk.leave()


def test_the_tables_are_those_of_a_local_run(local: Folder, disturbed: tuple[Folder, Disturber, int]) -> None:
    folder, _, _ = disturbed
    here, there = local.table(), folder.table()
    for method in ("unbroken", "oracle"):
        assert there[method] == here[method]
        assert folder.metrics(method) == local.metrics(method)


def test_trainings_ran_in_the_gpu_partition_and_the_rest_did_not(
    cluster: Cluster, disturbed: tuple[Folder, Disturber, int]
) -> None:
    completed = (cluster.root / "jobcomp.log").read_text()
    jobs = {line.split()[0].partition("=")[2]: line for line in completed.splitlines()}
    trained = {disturbed[0].run(method)["cost"]["slurm_job"] for method in ("unbroken", *DISTURBED)}
    trained |= {one.start.slurm_job for one in disturbed[0].attempts("always_fails")}
    assert trained <= {job for job, line in jobs.items() if "Partition=gpu" in line}
    assert disturbed[0].run("oracle")["cost"]["slurm_job"] in {j for j, line in jobs.items() if "Partition=cpu" in line}


@pytest.mark.parametrize("method", DISTURBED)
def test_a_disturbed_training_ends_as_if_it_had_not_been(
    method: str, local: Folder, disturbed: tuple[Folder, Disturber, int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, disturber, _ = disturbed
    assert folder.metrics(method) == local.metrics("unbroken")
    run, needed, cost = folder.epochs(method), local.epochs_needed("unbroken"), folder.run(method)["cost"]
    tell(capsys, f"{method}: {run} epochs run, {needed} needed, {cost['attempts']} attempts")
    if method in ("full_disk", "flipped_bit"):
        # What the checkpoint that was kept did not hold, and no other epoch, is trained after it.
        held = disturber.disk.epochs_held if method == "full_disk" else disturber.epochs_held
        assert held
        assert folder.epochs_of_last(method) == needed - held
        assert method == "full_disk" or "it is damaged" in folder.log(method)
    else:
        assert run == needed
    # On a slow machine a minute may end more than the two attempts that were held up.
    assert cost["attempts"] >= 3 if method == "timed_out" else cost["attempts"] == 2
    assert cost["attempts_lost"] == 0
    assert not folder.state(method).exists()


def test_a_full_disk_is_named(disturbed: tuple[Folder, Disturber, int]) -> None:
    folder, disturber, _ = disturbed
    error = next(line for line in folder.log("full_disk").splitlines() if "cannot be written" in line)
    assert f"the disk at {disturber.disk.mount} has 0 MB free of " in error


def test_what_always_fails_is_a_failed_row_after_the_set_retries(
    disturbed: tuple[Folder, Disturber, int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, status = disturbed
    made = folder.attempts("always_fails")
    tell(capsys, f"always_fails: {len(made)} attempts, {RETRIES} retries set")
    assert len(made) == RETRIES + 1
    assert len({attempt.start.slurm_job for attempt in made}) == RETRIES + 1
    assert status != 0
    rows = folder.table()
    assert {name: row["state"] for name, row in rows.items()} == {
        name: "failed" if name == "always_fails" else "ok"
        for name in ("unbroken", *DISTURBED, "always_fails", "oracle")
    }
    page = (folder.path / "results" / "report" / "index.html").read_text()
    assert f"{RETRIES + 1} attempts; " in page
    assert "not a readable checkpoint" in page
    assert list((folder.path / "results" / "figures").rglob("*.svg"))
    cost = pd.read_csv(folder.path / "results" / "tables" / "cost.csv").set_index(["step", "method"])
    assert cost.loc[("reconstruct", "always_fails"), "attempts"] == RETRIES + 1
    assert cost.loc[("reconstruct", "timed_out"), "wall_s"] > cost.loc[("reconstruct", "unbroken"), "wall_s"]


@pytest.fixture(scope="module")
def killed(cluster: Cluster, local: Folder, slurm_folders: Path) -> Folder:
    """A workflow whose Snakemake was killed, and which then went on; slurmd was away for a while, too."""
    folder = Folder.make(slurm_folders / "killed")
    # The stack is made already.
    for name in (".snakemake", "results/datasets"):
        shutil.copytree(local.path / name, folder.path / name)
    methods = {"orphaned": PARAMETERS, "one_process": RIGID, "two_processes": RIGID}
    folder.configure(configuration(**methods))

    def change(profile: dict[str, Any]) -> None:
        for_this_cluster(profile)
        profile["set-resources"]["hydra"]["gpu"] = "2 if wildcards.method == 'two_processes' else 1"

    folder.change_profile(change)
    run = ("--profile", "slurm", "results/tables/table1.csv")
    with folder.running(*run) as first:
        until(lambda: folder.epochs("orphaned") >= FEW, "a training under way")
        first.kill()
        # Held up, so that there is something left to do when Snakemake is back; to end, SLURM lets it go on first.
        folder.signal_training("orphaned", signal.SIGSTOP)
    assert folder.attempts("orphaned")[0].start.slurm_job in cluster.queue()
    with folder.running("--unlock") as unlock:
        assert unlock.wait(120) == 0
    with folder.running(*run) as second:

        def resumed() -> bool:
            return len(folder.attempts("orphaned")) == 2 and folder.epochs_of_last("orphaned") >= 2

        until(lambda: resumed() or second.poll() is not None, "a resumption")
        assert second.poll() is None, folder.said()
        cluster.stop("slurmd")
        time.sleep(5)
        cluster.start_slurmd()
        assert second.wait(LONGEST_S) == 0, folder.said()
    return folder


def test_a_killed_snakemake_and_a_node_that_was_away_cost_no_epoch(
    local: Folder, killed: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert killed.metrics("orphaned") == local.metrics("unbroken")
    run, needed, cost = killed.epochs("orphaned"), local.epochs_needed("unbroken"), killed.run("orphaned")["cost"]
    tell(capsys, f"killed Snakemake, slurmd away: {run} epochs run, {needed} needed, {cost['attempts']} attempts")
    assert run == needed
    assert cost["attempts"] == 2
    assert "ending SLURM jobs that an earlier run left behind" in killed.said()


def test_two_processes_of_torchrun_in_one_allocation_find_what_one_does(killed: Folder) -> None:
    one, two = (
        pd.read_csv(killed.path / "results" / "reconstructions" / "tiny" / name / "0" / "history.csv")
        for name in ("one_process", "two_processes")
    )
    assert two["loss"].to_numpy() == pytest.approx(one["loss"].to_numpy(), rel=0.01)
    assert killed.run("two_processes")["images_seen"] == killed.run("one_process")["images_seen"]
    differ = abs(
        killed.metrics("two_processes")["clustering"]["ari"] - killed.metrics("one_process")["clustering"]["ari"]
    )
    assert differ < 0.1


def test_what_ignores_sigterm_in_a_folder_of_the_tests_is_ended_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a" / "results").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    stubborn = ["sh", "-c", "trap '' TERM; touch ready; exec sleep 60"]
    folders = (tmp_path / "a" / "results", tmp_path / "ab")
    left, beside = (subprocess.Popen(stubborn, cwd=folder) for folder in folders)
    try:
        for process, folder in zip((left, beside), folders, strict=True):
            until((folder / "ready").is_file, "a process that ignores SIGTERM", 10)
            process.terminate()
        (ended,) = end_what_runs_in(tmp_path / "a")
        assert ended.endswith("sleep 60")
        assert left.wait(5) == -signal.SIGKILL
        assert beside.poll() is None
    finally:
        for process in (left, beside):
            process.kill()
            process.wait()
