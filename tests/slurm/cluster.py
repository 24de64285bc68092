"""A real one-node SLURM for tests: munged, slurmctld and slurmd of Debian's slurm-wlm, without systemd or cgroups.

The daemons run in the foreground as children of this process, so that stopping ends just these. `python cluster.py`
starts one and keeps it until it is interrupted, for trying things out by hand.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # of Linux's prctl
ETC = Path("/etc/slurm")  # SLURM_CONF does not do: job steps strip it from their environment
MARK = "# Written by tests/slurm/cluster.py of hydra-bench, which removes it again\n"
CPUS = 16
GPU_FILES = ("/dev/null", "/dev/zero", "/dev/full")
"""Device files that stand for GPUs: SLURM hands them out one job each, and nothing computes on them."""

CONFIGURATION = """\
ClusterName=ci
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=2
ReturnToService=2
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/jobcomp.log
MinJobAge=3600
DefMemPerCPU=1000
KillWait=20
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} CoresPerSocket={cpus} RealMemory=64000 Gres=gpu:h200:{gpus}
PartitionName=cpu Nodes={host} Default=YES MaxTime=2-0 DefaultTime=60 State=UP
PartitionName=gpu Nodes={host} MaxTime=2-0 DefaultTime=60 State=UP
"""


def why_not() -> str | None:
    """Why no SLURM can be started here; None if one can."""
    if os.geteuid() != 0:
        return "starting a SLURM needs root (its configuration must lie in /etc/slurm)"
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sinfo", "sbatch") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing; on Debian: apt-get install slurm-wlm munge"
    if subprocess.run(["scontrol", "ping"], check=False, capture_output=True).returncode == 0:
        return "a SLURM runs on this machine"
    there = ETC / "slurm.conf"
    if there.is_file() and not there.read_text().startswith(MARK):
        return f"{there} is of another SLURM"
    return None


class Cluster:
    """Starts with the block and stops with it; what it started, and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root, self.host = root, socket.gethostname().split(".")[0]
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        for name in ("state", "spool"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        ETC.mkdir(exist_ok=True)
        text = CONFIGURATION.format(host=self.host, root=self.root, cpus=CPUS, gpus=len(GPU_FILES))
        (ETC / "slurm.conf").write_text(MARK + text)
        lines = [f"NodeName={self.host} Name=gpu Type=h200 File={file}\n" for file in GPU_FILES]
        (ETC / "gres.conf").write_text(MARK + "".join(lines))
        try:
            self._start_munge()
            self._start("slurmctld", "slurmctld", "-D")
            self.start_slurmd()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "slurmctld" in self.daemons:
            subprocess.run(["scancel", "--user=root"], check=False, capture_output=True)
            self._wait(lambda: not self.queue(), 40)
        for name in ("slurmd", "slurmctld", "munged"):
            self.stop(name)
        for name in ("slurm.conf", "gres.conf"):
            (ETC / name).unlink(missing_ok=True)

    def _start(self, name: str, *command: str, **more: str) -> None:
        with open(self.root / f"{name}.log", "ab") as log:
            self.daemons[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
                **more,
            )

    def _start_munge(self) -> None:
        if subprocess.run(["munge", "-n"], check=False, capture_output=True).returncode == 0:
            return  # one is running, and is left alone
        run = Path("/run/munge")
        run.mkdir(exist_ok=True)
        shutil.chown(run, "munge", "munge")
        self._start("munged", "munged", "--foreground", "--force", user="munge", group="munge")
        encodes = lambda: subprocess.run(["munge", "-n"], check=False, capture_output=True).returncode == 0  # noqa: E731
        assert self._wait(encodes, 20), (self.root / "munged.log").read_text()

    def start_slurmd(self) -> None:
        """Start the node's daemon and wait until jobs can run on it. `sinfo` knows, return codes do not."""
        self._start("slurmd", "slurmd", "-D")
        assert self._wait(lambda: self.node_state() in ("idle", "mixed", "allocated"), 60), self.logs()

    def stop(self, name: str) -> None:
        """End one daemon by its process number."""
        process = self.daemons.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def node_state(self) -> str:
        return said("sinfo", "--noheader", "--format=%T", "--partition=cpu").strip()

    def queue(self) -> list[str]:
        """Numbers of the jobs that have not ended."""
        return said("squeue", "--noheader", "--format=%i").split()

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.root.glob("*.log")))

    @staticmethod
    def _wait(done, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            time.sleep(0.3)
        return True


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """In a child: end by a signal when the process that started it does, however that ends."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def said(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


if __name__ == "__main__":
    reason = why_not()
    if reason:
        raise SystemExit(reason)
    stop = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    with Cluster(Path(tempfile.mkdtemp(prefix="slurm-"))) as cluster:
        print(said("sinfo"), f"Logs: {cluster.root}. Stop with Ctrl-C or SIGTERM.", flush=True)
        signal.sigwait(stop)
