"""Writing files so that none is left half-written or time-stamped; text, JSON, checksums.

Every writer fills a temporary name beside its target and renames it, and none writes the time of day:
the same content gives the same bytes.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import Json


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: writers such as matplotlib and gzip choose the format by it.
    temporary = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path | str) -> str:
    """Checksum of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_text(folder: Path | str) -> str:
    """The disk that a folder is on and what is free of it, in words: the disk at /scratch has 12 MB free of 800 MB."""
    mount = Path(folder).resolve()
    while not mount.exists() or (not mount.is_mount() and mount != mount.parent):
        mount = mount.parent
    usage = shutil.disk_usage(mount)
    return f"the disk at {mount} has {usage.free / 1e6:,.0f} MB free of {usage.total / 1e6:,.0f} MB"


def write_text(path: Path | str, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path | str, content: Json) -> None:
    """Write sorted, indented JSON; NaN is refused because no other JSON reader takes it."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Json:
    """Raises InputError if the file is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None
