"""Reading and writing of the file formats, so that no half-written or time-stamped file is left behind.

Every writer fills a temporary name beside its target and renames it, and none writes the time of day:
the same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import starfile

from hydra_bench.errors import InputError

MRC_HEADER_BYTES = 1024
_LABEL = b"hydra-bench"


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


def write_json(path: Path | str, content: Any) -> None:
    """Write sorted, indented JSON; NaN is refused because no other JSON reader takes it."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Raises InputError if the file is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from None


def write_star(path: Path | str, tables: dict[str, pd.DataFrame]) -> None:
    """Write STAR data blocks, name -> table, without starfile's time-stamped first line."""
    with atomic(path) as temporary:
        # starfile's own <NA> is no number to programs that read the file with C's functions.
        starfile.write(tables, temporary, na_rep="nan")
        lines = temporary.read_text().splitlines()
        body = [line.rstrip() for line in lines if not line.startswith("# Created by")]
        temporary.write_text("\n".join(body).strip() + "\n")


def read_star(path: Path | str) -> dict[str, pd.DataFrame]:
    """Read every data block of a STAR file, name -> table. Raises InputError if there is none."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; a STAR file is expected")
    try:
        tables = starfile.read(path, always_dict=True)
    except Exception as error:  # starfile raises whatever its parser met
        raise InputError(f"{path}: not a readable STAR file ({error})") from None
    tables = {name: table for name, table in tables.items() if isinstance(table, pd.DataFrame)}
    if not tables:
        raise InputError(f"{path}: holds no STAR table; a loop_ block is expected")
    return tables


def write_map(path: Path | str, volume: np.ndarray, pixel_size_A: float) -> None:
    """Write a cubic map (z, y, x; the origin at voxel D//2) as float32 MRC."""
    with atomic(path) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(volume, dtype=np.float32))
        mrc.voxel_size = pixel_size_A
        _set_label(mrc)


def read_map(path: Path | str) -> tuple[np.ndarray, float]:
    """Return (volume float32 (D, D, D) in z, y, x; pixel size in Å). Raises InputError."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; an MRC map is expected")
    try:
        with mrcfile.open(path, permissive=False) as mrc:
            volume, pixel = np.array(mrc.data, dtype=np.float32), float(mrc.voxel_size.x)
    except ValueError as error:
        raise InputError(f"{path}: not a readable MRC map ({error})") from None
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise InputError(f"{path}: shape {volume.shape}; a cubic map is expected")
    return volume, pixel


def _set_label(mrc: mrcfile.mrcfile.MrcFile) -> None:
    mrc.header.label[:] = b""
    mrc.header.label[0] = _LABEL
    mrc.header.nlabl = 1


class ImageStackWriter:
    """Writes an image stack (N, D, D) float32 image by image, in any order, with flat memory.

    Images are written to the file with seek, not through a memory map, whose dirty pages would count
    as the process's memory. Use as a context manager on a path from `atomic`.
    """

    def __init__(self, path: Path, n_images: int, box_px: int, pixel_size_A: float) -> None:
        with mrcfile.new_mmap(path, shape=(n_images, box_px, box_px), mrc_mode=2, overwrite=True) as mrc:
            mrc.set_image_stack()
            mrc.voxel_size = pixel_size_A
            _set_label(mrc)
        self._path, self._box, self._n = path, box_px, n_images
        self._file = open(path, "r+b")  # noqa: SIM115 - closed by __exit__
        self._sum = self._sum_squares = 0.0
        self._lowest, self._highest = np.inf, -np.inf

    def __enter__(self) -> ImageStackWriter:
        return self

    def write(self, positions: np.ndarray, images: np.ndarray) -> None:
        """Put images (B, D, D) at the given places (B,) of the stack."""
        images = np.ascontiguousarray(images, dtype="<f4")
        for position, image in zip(positions, images, strict=True):
            self._file.seek(MRC_HEADER_BYTES + int(position) * 4 * self._box**2)
            self._file.write(image.tobytes())
        self._sum += float(images.sum(dtype=np.float64))
        self._sum_squares += float(np.square(images, dtype=np.float64).sum())
        self._lowest = min(self._lowest, float(images.min()))
        self._highest = max(self._highest, float(images.max()))

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.close()
        if kind is not None:
            return
        count = self._n * self._box**2
        mean = self._sum / count
        with mrcfile.mmap(self._path, mode="r+") as mrc:
            mrc.header.dmin, mrc.header.dmax, mrc.header.dmean = self._lowest, self._highest, mean
            mrc.header.rms = np.sqrt(max(self._sum_squares / count - mean**2, 0.0))
