"""`hydra-bench launch`: runs a method's command on the devices of its job, and keeps account of it.

Everything that depends on where a job runs is here, so that methods need to know nothing of it: which GPUs are its
own, several processes by `torchrun` within a SLURM allocation, the log, the signal to stop, attempts and their cost.
"""

import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from hydra_bench.contracts.places import RUN_NAME
from hydra_bench.core import machine
from hydra_bench.core.errors import InputError, MachineError
from hydra_bench.core.files import read_json, write_json, write_text, writing
from hydra_bench.jobs import attempts, cuda, devices

_LOG_NAME = "log.txt"
_KILLED = b"Signal 9 (SIGKILL) received by PID"
_SHOWN_LINES = 20
"""Of the log of an attempt that failed, on stderr, which is what a scheduler keeps."""


@dataclass(frozen=True)
class Job:
    """What is asked of the machine.

    state : folder of the run's state. out : folder of the reconstruction. log : file for all that the command says.
    gpus, nodes : of the whole job; with more than one GPU there is one process a GPU. device : "auto" insists on the
    GPUs that were asked for, "cpu" computes on the CPU all the same. cpus : of the job on each node.
    """

    state: Path
    out: Path
    log: Path
    gpus: int = 0
    nodes: int = 1
    device: str = "auto"
    cpus: int = 1

    def check(self) -> None:
        """Raises InputError."""
        if self.device not in ("auto", "cpu"):
            raise InputError(f"--device: {self.device!r}; auto or cpu is allowed")
        if self.gpus < 0 or self.nodes < 1:
            raise InputError(f"--gpus {self.gpus} --nodes {self.nodes}; 0 or more GPUs on 1 or more nodes are allowed")
        if self.nodes > 1 and (self.gpus == 0 or self.gpus % self.nodes):
            raise InputError(f"--gpus: {self.gpus}; a multiple of --nodes {self.nodes}, the same on each, is allowed")
        if self.nodes > 1 and not slurm_job():
            raise InputError(f"--nodes: {self.nodes}; more than 1 is allowed within a SLURM allocation only")


def slurm_job() -> str:
    """The number of the SLURM job that this process is part of, "" outside SLURM."""
    return os.environ.get("SLURM_JOB_ID", "")


def launch(job: Job, command: list[str]) -> int:
    """Run the command to its end; its exit status, 128 + n if signal n ended it. Raises InputError."""
    job.check()
    with _alone(job.state) as lock:
        return _launch(job, command, lock)


@contextmanager
def _alone(state: Path) -> Iterator[int]:
    """Wait until no other process works on a state: one may be left of a Snakemake that was killed.

    Yields a file that holds the lock as long as this process or a child that inherits it lives.
    """
    with writing(state):
        state.mkdir(parents=True, exist_ok=True)
        file = os.open(state / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"hydra-bench: waiting for a process of an earlier run that works on {state}", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks
    try:
        yield file
    finally:
        os.close(file)


def _launch(job: Job, command: list[str], lock: int) -> int:
    held = devices.Claim([], [])
    # A scheduler hands GPUs out itself; elsewhere it is done here. A job of no GPU must not see one of others'.
    if job.device == "auto" and job.gpus and not slurm_job():
        held = devices.claim(job.gpus)
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    if held.gpus:
        environment |= {"CUDA_VISIBLE_DEVICES": ",".join(held.gpus), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    elif job.device == "cpu" or (slurm_job() and not job.gpus):
        environment["CUDA_VISIBLE_DEVICES"] = ""
    before = attempts.read(job.state)
    gpus = environment.get("CUDA_VISIBLE_DEVICES", "") if job.gpus else ""
    start = attempts.Start(socket.gethostname(), slurm_job(), gpus, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    attempts.add(job.state, start)
    _copy(job.state / _LOG_NAME, job.log)  # Snakemake deletes the log of a job that it tries again
    limit = machine.MemoryLimit.of_job()
    with writing(job.log), open(job.log, "a" if before else "w") as log, machine.marks(environment) as marks:
        of_slurm = f", SLURM job {start.slurm_job}" if start.slurm_job else ""
        on_gpus = f", GPUs {gpus}" if gpus else ""
        print(f"# attempt {len(before) + 1}: {start.started}, {start.node}{of_slurm}{on_gpus}", file=log, flush=True)
        offset = log.tell()
        began = time.monotonic()
        status = _run(job, command, environment, (lock, *held.files), log)
        killed = status == 128 + signal.SIGKILL or (job.gpus > 1 and _a_process_was_killed(job.log, offset))
        cause = _cause(job, killed, machine.told(marks), limit) if status else ""
    held.release()
    _copy(job.log, job.state / _LOG_NAME)
    attempts.add(job.state, attempts.End(round(time.monotonic() - began, 3), *_usage(), status, cause))
    if status == 0:
        _record(job)
    elif not sys.stderr.isatty():
        _show(job.log, offset)
    return status


def _cause(job: Job, killed: bool, told: str, limit: machine.MemoryLimit) -> str:
    """Why the attempt ended without a result of its own, "" if it is one: see attempts.End."""
    if not told and killed:
        told = machine.MEMORY if limit.exceeded() else machine.MACHINE
    # Of a command that a full disk ended nobody may have been told.
    full = any(machine.no_room(folder) for folder in {job.state, job.out.parent, job.log.parent})
    return told or (machine.MACHINE if full else "")


def _a_process_was_killed(log: Path, offset: int) -> bool:
    """Whether torchrun, which itself ends with status 1 then, says so of one of its processes."""
    with open(log, "rb") as file:
        file.seek(offset)
        return any(_KILLED in line for line in file)


def _copy(source: Path, target: Path) -> None:
    """Copy a file if it is there; a full disk costs no more than the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        try:
            write_text(target, source.read_text(encoding="utf-8", errors="replace"))
        except MachineError as error:
            print(f"hydra-bench: {error}", file=sys.stderr)


def _run(job: Job, command: list[str], environment: dict[str, str], files: tuple[int, ...], log: IO[str]) -> int:
    if job.gpus and job.device == "auto":
        os.environ["CUDA_VISIBLE_DEVICES"] = environment.get("CUDA_VISIBLE_DEVICES", "")
        reason = cuda.why_unusable(cuda.gather(), job.gpus // job.nodes)
        if reason:
            print(f"hydra-bench: error: --gpus {job.gpus}: {reason}", file=log, flush=True)
            return 2
    # A terminal keeps stderr for the progress bar, which a pipe would silence.
    stderr = None if sys.stderr.isatty() else subprocess.STDOUT
    try:
        process = subprocess.Popen(processes(job, command), env=environment, stdout=log, stderr=stderr, pass_fds=files)
    except OSError as error:
        print(f"hydra-bench: error: {command[0]}: {error.strerror}", file=log, flush=True)
        return 127
    # SLURM signals every process of a step; a second one would break torchrun off in the middle of its end.
    with _passing_on(process, not (slurm_job() and job.gpus > 1)):
        status = process.wait()
    return status if status >= 0 else 128 - status


def processes(job: Job, command: list[str]) -> list[str]:
    """The command line: as it is for one process, else under torchrun, one of which srun starts on each node."""
    if job.gpus <= 1:
        return command
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={job.gpus // job.nodes}"]
    if job.nodes == 1:
        return [*torchrun, "--standalone", "--no-python", *command]
    # This process runs on the first node of the allocation, where the others are told to meet.
    meet = f"{socket.gethostname()}:{20000 + int(slurm_job()) % 20000}"
    srun = ["srun", f"--nodes={job.nodes}", f"--ntasks={job.nodes}", "--ntasks-per-node=1"]
    srun += [f"--cpus-per-task={job.cpus}"]
    rendezvous = [f"--nnodes={job.nodes}", "--rdzv-backend=c10d", f"--rdzv-id={slurm_job()}", f"--rdzv-endpoint={meet}"]
    return [*srun, *torchrun, *rendezvous, "--no-python", *command]


@contextmanager
def _passing_on(process: subprocess.Popen[bytes], terminate: bool) -> Iterator[None]:
    """While the command runs: SIGTERM goes on to it if it has not got one itself, Ctrl-C reaches it by itself."""

    def pass_on(number: int, _: object) -> None:
        if terminate and number == signal.SIGTERM:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _usage() -> tuple[float, float]:
    """CPU seconds and peak memory in MB of all that was started here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(used.ru_utime + used.ru_stime, 3), round(used.ru_maxrss / 1024)


def _record(job: Job) -> None:
    """Put the account into the run.json that the command left."""
    path = job.out / RUN_NAME
    if not path.is_file():
        return
    made = attempts.read(job.state)
    run = read_json(path)
    if not isinstance(run, dict) or not isinstance(run.get("cost"), dict):
        raise InputError(f"{path}: not a run with its cost, which the command was to leave")
    last = made[-1].start
    earlier = attempts.summed(made[:-1])
    cost = run["cost"]
    for name in ("wall_s", "cpu_s", "peak_rss_mb"):
        if not isinstance(cost.get(name), int | float):
            raise InputError(f"{path}: cost.{name}: a number is expected")
    cost |= {"wall_s": round(cost["wall_s"] + earlier.wall_s, 3), "cpu_s": round(cost["cpu_s"] + earlier.cpu_s, 3)}
    cost |= {"peak_rss_mb": max(cost["peak_rss_mb"], earlier.peak_rss_mb)}
    cost |= {"node": last.node, "gpus": last.gpus, "slurm_job": last.slurm_job, "attempts": len(made)}
    write_json(path, {**run, "cost": {**cost, "attempts_lost": sum(attempt.end is None for attempt in made)}})


def _show(log: Path, offset: int) -> None:
    with open(log, encoding="utf-8", errors="replace") as file:
        file.seek(offset)
        sys.stderr.writelines(file.readlines()[-_SHOWN_LINES:])
