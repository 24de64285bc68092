"""Names of what is not written to its end yet, and clearing those that dead processes left.

A name tells whose it is: .partial-<host>-<process>-<its start>-<name>. On a disk that several machines share nobody can
say whether another machine's process still lives, so only this host's are cleared.
"""

import os
import re
import shutil
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

PREFIX = ".partial-"
_NAME = re.compile(r"\.partial-(?P<host>[^-]+)-(?P<process>\d+)-(?P<start>\d+)-.*", re.DOTALL)
_LONGEST = 255
"""Bytes of a file's name on the usual file systems."""


def partial_path(path: Path) -> Path:
    """The temporary name beside `path`. Its end is that of `path`: writers such as matplotlib choose a format by it."""
    own = f"{PREFIX}{_host()}-{os.getpid()}-{_start(os.getpid()) or 0}-"
    return path.with_name(own + os.fsdecode(os.fsencode(path.name)[len(own) - _LONGEST :]))


def clear_dead(folder: Path) -> None:
    """Remove what processes of this host that live no more left in a folder; looked at once a process and folder."""
    if (os.getpid(), folder) in _cleared:
        return
    _cleared.add((os.getpid(), folder))
    with suppress(OSError):
        for path in folder.glob(f"{PREFIX}*"):
            found = _NAME.fullmatch(path.name)
            if found and found["host"] == _host() and _start(int(found["process"])) != int(found["start"]):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


_cleared: set[tuple[int, Path]] = set()


@cache
def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())[:40] or "host"


def _start(process: int) -> int | None:
    """When a process began, in the kernel's ticks, None for one that is not there; 0 where there is no /proc."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else 0
    except OSError:
        return None
