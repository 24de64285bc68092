"""Anybody's files, opened with care: only regular ones, of no more bytes than their kind can need, text as UTF-8.

A pipe or a device in a file's place would be waited for without an end, and a sparse file of a terabyte would fill the
memory with its zeros.
"""

import gzip
import stat
from pathlib import Path

from hydra_bench.core.errors import InputError

_CHUNK_BYTES = 1 << 20
MOST_TEXT_BYTES = 8 << 30
"""Of a text that is read whole. A list of ten million particles takes less."""


def regular_file(path: Path | str, most_bytes: int | None = None) -> Path:
    """The path, if a regular file of no more than so many bytes lies there. Raises InputError."""
    try:
        about = Path(path).stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{str(path)!r}: cannot be read ({error})") from None
    if stat.S_ISDIR(about.st_mode):
        raise InputError(f"{path}: cannot be read (Is a directory)")
    if not stat.S_ISREG(about.st_mode):
        raise InputError(f"{path}: is a pipe, socket or device; a file is expected")
    if most_bytes is not None and about.st_size > most_bytes:
        raise InputError(f"{path}: {about.st_size:,} bytes; at most {most_bytes:,} are allowed in a file of this kind")
    return Path(path)


def unpacked_bytes(path: Path, most: float) -> int:
    """The size of what a gzip file holds, or a size above `most`: a few MB can unpack to more than there is memory.

    Raises what gzip does for a file that is none.
    """
    size = 0
    with gzip.open(path) as file:
        while size <= most and (chunk := file.read(_CHUNK_BYTES)):
            size += len(chunk)
    return size


def read_bytes(path: Path | str, most_bytes: int) -> bytes:
    """All of a file. Raises InputError."""
    try:
        return regular_file(path, most_bytes).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def read_text(path: Path | str, most_bytes: int = MOST_TEXT_BYTES) -> str:
    """All of a text file. Raises InputError."""
    try:
        return read_bytes(path, most_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text in UTF-8 (byte {error.start + 1} of {len(error.object)})") from None
