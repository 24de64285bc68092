"""GPUs of a machine without a scheduler, handed out one job each.

A job holds a lock on a file for each of its GPUs. The lock is the operating system's: it goes when the job's last
process ends, however it ends, so no GPU stays taken.
"""

import fcntl
import os
import sys
import tempfile
import time
from pathlib import Path

from hydra_bench.core.errors import InputError

WAIT_S = 1.0


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use: CUDA_VISIBLE_DEVICES, or the numbers of all there are."""
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is not None:
        return [name.strip() for name in variable.split(",") if name.strip()]
    known = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number in range(len(list(known.iterdir())))] if known.is_dir() else []


def lock_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"hydra-bench-gpus-{os.getuid()}"


class Claim:
    """GPUs held by this process and by children that inherit `files`."""

    def __init__(self, gpus: list[str], files: list[int]) -> None:
        self.gpus, self.files = gpus, files

    def release(self) -> None:
        for file in self.files:
            os.close(file)
        self.gpus, self.files = [], []


def claim(count: int, gpus: list[str] | None = None) -> Claim:
    """Take `count` free GPUs, of `gpus` or of those visible; wait while other jobs hold them.

    Raises InputError if there are fewer altogether.
    """
    names = visible_gpus() if gpus is None else gpus
    if count > len(names):
        raise InputError(f"--gpus: {count}; this machine has {len(names)} that may be used ({', '.join(names) or '-'})")
    folder = lock_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    told = False
    while True:
        taken = _try(folder, names, count)
        if taken is not None:
            return taken
        if not told:
            print(f"hydra-bench: waiting for {count} of the GPUs {', '.join(names)}", file=sys.stderr, flush=True)
            told = True
        time.sleep(WAIT_S)


def _try(folder: Path, names: list[str], count: int) -> Claim | None:
    """All `count` at once or none, so that two jobs cannot wait for each other's."""
    held = Claim([], [])
    for name in names:
        file = os.open(folder / name.replace("/", "_"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            continue
        held.gpus.append(name)
        held.files.append(file)
        if len(held.gpus) == count:
            return held
    held.release()
    return None
