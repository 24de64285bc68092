"""What SLURM says of its partitions, and of jobs that an earlier Snakemake left behind."""

import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hydra_bench.core.errors import InputError

_LIMITS = {"OUT_OF_MEMORY": "memory", "TIMEOUT": "time", "DEADLINE": "time"}
"""States of a job that its own limits explain; NODE_FAIL, PREEMPTED, CANCELLED and others are not the method's."""
_TIMEOUT_S = 30
_END_S = 300


@dataclass(frozen=True)
class Partition:
    """The largest of its nodes. longest_min: time limit in minutes, None for none; gpus: of one node, model -> number.

    Where nodes differ, the largest memory, CPUs and number of each GPU count, each for itself.
    """

    name: str
    up: bool
    longest_min: int | None
    cpus: int
    memory_mb: int
    nodes: int
    gpus: dict[str, int]


def available() -> bool:
    return shutil.which("sinfo") is not None


def partitions() -> dict[str, Partition]:
    """All partitions by name. Raises InputError if SLURM does not answer."""
    found: dict[str, Partition] = {}
    for line in _said("sinfo", "--noheader", "--format=%R|%a|%l|%c|%m|%D|%G").splitlines():
        name, state, limit, cpus, memory, nodes, gres = line.strip().split("|")
        part = Partition(name, state == "up", minutes(limit), number(cpus), number(memory), int(nodes), gpus_of(gres))
        found[name] = _joined(found[name], part) if name in found else part
    return found


def _joined(a: Partition, b: Partition) -> Partition:
    gpus = {model: max(a.gpus.get(model, 0), b.gpus.get(model, 0)) for model in a.gpus | b.gpus}
    cpus, memory_mb = max(a.cpus, b.cpus), max(a.memory_mb, b.memory_mb)
    return Partition(a.name, a.up, a.longest_min, cpus, memory_mb, a.nodes + b.nodes, gpus)


def jobs_of_folder(folder: Path) -> dict[str, str]:
    """Jobs of this user that Snakemake submitted from a folder and that have not ended: number -> comment.

    Raises InputError.
    """
    said = _said("squeue", "--me", "--noheader", "--format=%i|%k|%Z").splitlines()
    rows = [line.split("|", 2) for line in said if line.count("|") >= 2]
    return {
        number: comment
        for number, comment, workdir in rows
        if comment.startswith(("rule_", "group_")) and Path(workdir.strip()) == folder.resolve()
    }


def exceeded_limit(job: str) -> str:
    """Which limit of its own SLURM ended a job for: "memory", "time", or "" if none, or if SLURM does not say.

    A job that ended some minutes ago is known to the controller, an earlier one to the accounting, if it is kept.
    """
    asked = (
        (("scontrol", "--oneliner", "show", "job", job), r"\bJobState=(\w+)"),
        (("sacct", f"--jobs={job}", "--allocations", "--noheader", "--parsable2", "--format=State"), r"^(\w+)"),
    )
    for command, pattern in asked:
        with suppress(InputError):
            found = re.search(pattern, _said(*command), flags=re.MULTILINE)
            if found:
                return _LIMITS.get(found[1], "")
    return ""


def seconds_remembered() -> int | None:
    """How long squeue knows a job that has ended (MinJobAge), None if SLURM does not say. Raises InputError."""
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", _said("scontrol", "show", "config"), flags=re.MULTILINE)
    return int(found[1]) if found else None


def minutes(limit: str) -> int | None:
    """A time limit as SLURM writes it, [days-]hours:minutes:seconds; None for none."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if found is None:
        return None
    days, hours, mins, _ = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + mins


def number(text: str) -> int:
    """A number; where nodes differ sinfo adds a plus."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def gpus_of(gres: str) -> dict[str, int]:
    """GPUs of a node by their model, "" for one without: gpu:h100:4(S:0-1) is {"h100": 4}."""
    found: dict[str, int] = {}
    for model, count in re.findall(r"(?:^|,)gpu(?::([A-Za-z][\w.-]*))?(?::(\d+))?", gres):
        found[model] = found.get(model, 0) + int(count or 1)
    return found


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{command[0]}: SLURM does not answer ({type(error).__name__})") from None
    if done.returncode:
        raise InputError(f"{command[0]}: {' '.join(done.stderr.split())[:200]}")
    return done.stdout


def end_left_over_jobs(folder: Path) -> None:
    """End the jobs that a Snakemake which was killed left running in its folder, and wait until they are gone.

    They would go on beside the jobs that take their place, on the same files. What they did is not lost: they save
    their state when they are asked to end, and their successors go on from it. Raises InputError if one does not end.
    """
    left = jobs_of_folder(folder)
    if not left:
        return
    names = ", ".join(f"{number} ({comment})" for number, comment in left.items())
    print(f"hydra-bench: ending SLURM jobs that an earlier run left behind: {names}", file=sys.stderr, flush=True)
    _said("scancel", *left)  # sends SIGTERM, on which methods save their state
    end = time.monotonic() + _END_S
    while jobs_of_folder(folder):
        if time.monotonic() > end:
            raise InputError(f"SLURM jobs {names} of an earlier run do not end; end them with scancel, then try again")
        time.sleep(1)
