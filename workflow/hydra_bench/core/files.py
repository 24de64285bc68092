"""Writing files so that none is left half-written or time-stamped; text, JSON, checksums.

Every writer fills a temporary name beside its target and renames it, and none writes the time of day:
the same content gives the same bytes. Text is UTF-8, whatever the locale.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hydra_bench.core.errors import InputError, MachineError
from hydra_bench.core.json_values import Json
from hydra_bench.core.partial import PREFIX, clear_dead, partial_path
from hydra_bench.core.reading import read_text


@contextmanager
def atomic(path: Path | str, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` if the block succeeds.

    durable : whether the disk must have it before it has its name, so that it outlives a loss of power.
    Raises MachineError if it cannot be written.
    """
    path = Path(path)
    temporary = partial_path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_dead(path.parent)
        try:
            yield temporary
            if durable:
                sync(temporary)
            temporary.replace(path)
            if durable:
                sync(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def partial_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`, under a temporary name; what is left of it goes in the end.

    So do folders above it that were not there before and hold nothing. Raises MachineError if it cannot be made.
    """
    folder = partial_path(path.with_name(f"{path.name}.d"))  # `atomic` may meanwhile write `path` itself
    new = [parent for parent in path.parents if not parent.exists()]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_dead(path.parent)
        folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # of the first that holds something, and so of all above it
            for parent in new:
                parent.rmdir()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """While a file or folder is written: what the system says against it becomes a MachineError that names it."""
    try:
        yield
    except OSError as error:
        named = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
        # A file that is read meanwhile is another matter.
        if named is not None and not _is_of(named, path):
            raise
        raise MachineError(unwritten(path, error)) from error


def _is_of(named: Path, path: Path) -> bool:
    """Whether a file is `path`, under its temporary name or its own, within it, or a folder that it lies in."""
    partial = any(part.startswith(PREFIX) for part in named.parts)
    return partial or named in (path, *path.parents) or path in named.parents


def unwritten(path: Path, error: Exception) -> str:
    """Why a file or folder cannot be written, in words."""
    said = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
    return f"{path}: cannot be written ({said}); {disk_text(path.parent)}"


def sync(path: Path) -> None:
    """Have the disk keep a file's content, or a folder's entries. Raises OSError."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sync_all(folder: Path) -> None:
    """The same for a folder and all that is in it."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def sha256(path: Path | str) -> str:
    """Checksum of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_text(folder: Path | str) -> str:
    """The disk that a folder is on and what is free of it, in words: the disk at /scratch has 12 MB free of 800 MB."""
    mount = Path(folder).resolve()
    try:
        while not mount.exists() or (not mount.is_mount() and mount != mount.parent):
            mount = mount.parent
        usage = shutil.disk_usage(mount)
    except OSError as error:
        return f"the disk at {mount} does not answer ({error.strerror})"
    return f"the disk at {mount} has {usage.free / 1e6:,.0f} MB free of {usage.total / 1e6:,.0f} MB"


def write_text(path: Path | str, text: str, durable: bool = False) -> None:
    with atomic(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, content: Json, durable: bool = False) -> None:
    """Write sorted, indented JSON; NaN is refused because no other JSON reader takes it."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", durable)


def read_json(path: Path | str) -> Json:
    """Raises InputError if the file is missing or is not JSON."""
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
