"""MRC files that are written here: cubic maps and image stacks. Anybody's image files are read by `image_files`."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic
from hydra_bench.core.types import FloatArray, IntArray

MRC_HEADER_BYTES = 1024


def write_map(path: Path | str, volume: FloatArray, pixel_size_A: float) -> None:
    """Write a cubic map (z, y, x; the origin at voxel D//2) as float32 MRC."""
    with atomic(path) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(volume, dtype=np.float32))
        mrc.voxel_size = pixel_size_A
        _set_label(mrc)


def read_map(path: Path | str) -> tuple[FloatArray, float]:
    """Return (volume float32 (D, D, D) in z, y, x; pixel size in Å). Raises InputError."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; an MRC map is expected")
    try:
        with mrcfile.open(path, permissive=False) as mrc:
            volume = np.array(mrc.data, dtype=np.float32)
            pixel_size_A = float(mrc.voxel_size.x)
    except ValueError as error:
        raise InputError(f"{path}: not a readable MRC map ({error})") from None
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise InputError(f"{path}: shape {volume.shape}; a cubic map is expected")
    return volume, pixel_size_A


def _set_label(mrc: mrcfile.mrcfile.MrcFile) -> None:
    mrc.header.label[:] = b""
    mrc.header.label[0] = b"hydra-bench"
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

    def write(self, positions: IntArray, images: FloatArray) -> None:
        """Put images (B, D, D) at positions (B,) of the stack, from 0."""
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
