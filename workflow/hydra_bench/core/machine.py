"""What is an error of the machine and no result of a method, and who is told of it.

Full and failing disks are the machine's, and so is a kill that no limit of the job explains. `hydra-bench launch`
keeps the account of a run's attempts: it makes a folder of marks, names it in the environment, and a command below it
that meets such an error takes its mark away, which even a full disk allows.
"""

import errno
import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hydra_bench.core.errors import MachineError
from hydra_bench.core.files import disk_text

MACHINE, MEMORY = CAUSES = ("machine", "memory")
"""Why an attempt ended that is no result: an error of the machine, or more memory than its job may take."""

_ERRNOS = {
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.ENOTCONN, errno.EREMOTEIO, errno.ETIMEDOUT,
    errno.EFBIG, errno.EMFILE, errno.ENFILE,  # limits of a shell or a system on files, and no method's
}  # fmt: skip
_ROOM = 1 << 20
_MARKS = "HYDRA_BENCH_MARKS"
_CGROUPS, _CGROUP_OF_THIS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class TooMuchMemoryError(MachineError):
    """A program was ended because it took more memory than its job may: it is tried again with more."""


def machine_error(error: BaseException, *folders: Path) -> MachineError | None:
    """The machine's error behind an exception, None if there is none.

    folders : those that were written to. Some libraries do not pass on what the system said, and programs of others
    never do: then it is asked whether there is room.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MachineError):
            return link
        if isinstance(link, OSError) and link.errno in _ERRNOS:
            named = f"{os.fsdecode(link.filename)}: " if isinstance(link.filename, str | bytes) else ""
            return MachineError(f"{named}{link.strerror}{''.join(f'; {disk_text(f)}' for f in folders[:1])}")
        link = link.__cause__ or link.__context__
    for folder in folders:
        said = no_room(folder)
        if said:
            return MachineError(f"{folder}: cannot be written ({said}); {disk_text(folder)}")
    return None


def no_room(folder: Path) -> str | None:
    """What the system says against a megabyte in a folder, None if it takes it."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror if error.errno in _ERRNOS else None
    return None


@contextmanager
def marks(environment: dict[str, str]) -> Iterator[Path]:
    """A folder of marks, named in a command's environment; `told` reads it."""
    with tempfile.TemporaryDirectory(prefix="hydra-bench-", ignore_cleanup_errors=True) as folder:
        for cause in CAUSES:
            (Path(folder) / cause).touch()
        environment[_MARKS] = folder
        yield Path(folder)


def tell(error: MachineError) -> None:
    """Take away the mark of this error, if somebody above put one there."""
    folder = os.environ.get(_MARKS)
    if folder:
        with suppress(OSError):
            (Path(folder) / (MEMORY if isinstance(error, TooMuchMemoryError) else MACHINE)).unlink()


def told(marks: Path) -> str:
    """Which mark is gone, "" if none is."""
    return next((cause for cause in CAUSES if not (marks / cause).exists()), "")


@dataclass(frozen=True)
class MemoryLimit:
    """The memory that a job may take, as far as SLURM or its control group says; limit_mb is None without one."""

    limit_mb: float | None
    hits_before: int

    @classmethod
    def of_job(cls) -> Self:
        """The limit, and how often it was hit so far."""
        return cls(_slurm_mb(), _hits())

    def exceeded(self) -> bool:
        """Whether it explains that a child of this process was killed."""
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        return _hits() > self.hits_before or (self.limit_mb is not None and peak_mb > 0.9 * self.limit_mb)


def _slurm_mb() -> float | None:
    node, cpu = os.environ.get("SLURM_MEM_PER_NODE", ""), os.environ.get("SLURM_MEM_PER_CPU", "")
    cpus = os.environ.get("SLURM_CPUS_ON_NODE", "")
    if node.isdigit() and int(node):
        return float(node)
    return float(cpu) * int(cpus) if cpu.isdigit() and cpus.isdigit() and int(cpu) else None


def _hits() -> int:
    """How often this process's control group, or one that it is in, was at its own limit of memory; 0 where none says.

    SLURM limits the group of a job, and its processes are in groups within that. Version 2 tells a group's own limit
    from the whole machine's; version 1 counts kills.
    """
    with suppress(OSError, ValueError):
        for line in _CGROUP_OF_THIS.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds == "":
                own = Path(path.lstrip("/"))
                groups = [_CGROUPS / folder for folder in (own, *own.parents)]
                return sum(_counted(group / "memory.events.local", "oom") for group in groups)
            if "memory" in kinds.split(","):
                return _counted(_CGROUPS / kinds / path.lstrip("/") / "memory.oom_control", "oom_kill")
    return 0


def _counted(file: Path, key: str) -> int:
    """The number after a key in one of a control group's files; 0 where it is not there."""
    if file.is_file():
        for line in file.read_text().splitlines():
            if line.split()[:1] == [key]:
                return int(line.split()[1])
    return 0
