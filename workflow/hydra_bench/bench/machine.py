"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from hydra_bench import __version__

_IDLE_LOAD = 0.5
"""A machine with nothing to do still has a load of some tenths."""


@dataclass(frozen=True)
class Machine:
    """What must be the same for two measurements to stand in one table."""

    cpu: str
    cores: int
    memory_GB: float
    device: str
    threads: int
    python: str
    torch: str
    hydra_bench: str


@dataclass(frozen=True)
class Circumstances:
    """When and from which sources: commit is None outside a git checkout, and ends in "-dirty" with changes.

    load_average : over one, five and fifteen minutes, when the measurement began.
    """

    date: str
    commit: str | None
    load_average: tuple[float, ...]


def describe_machine(device: torch.device, threads: int) -> Machine:
    name = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        cpu=_cpu_model(),
        cores=cores,
        memory_GB=round(memory, 1),
        device=name,
        threads=threads,
        python=platform.python_version(),
        torch=torch.__version__,
        hydra_bench=__version__,
    )


def circumstances() -> Circumstances:
    load = tuple(round(average, 2) for average in os.getloadavg())
    return Circumstances(datetime.now(UTC).isoformat(timespec="seconds"), _commit(), load)


def busy_warning(load: float, cores: int, threads: int) -> str | None:
    """A line if the threads to be measured will have to share cores with other work."""
    if load <= max(0, cores - threads) + _IDLE_LOAD:
        return None
    return f"the machine is busy: load {load:.1f} on {cores} cores before measuring with {threads} threads"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    here = Path(__file__).parent
    commit = _git(here, "rev-parse", "HEAD")
    if commit is None:
        return None
    return f"{commit}-dirty" if _git(here, "status", "--porcelain", "--untracked-files=no") else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
