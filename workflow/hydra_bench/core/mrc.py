"""Cubic maps, read and written, and image stacks written. Anybody's image files are read by `image_files`."""

from __future__ import annotations

import math
from pathlib import Path

import mrcfile
import numpy as np

from hydra_bench.core.console import say
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic
from hydra_bench.core.mrc_header import MRC_HEADER_BYTES, read_mrc_header
from hydra_bench.core.reading import regular_file
from hydra_bench.core.types import FloatArray, IntArray

_LARGEST_MAP_BYTES = 1 << 34
"""A map of 1,600 px; what is larger is a mistake, or a sparse file that would fill the memory."""


def write_map(path: Path | str, volume: FloatArray, pixel_size_A: float) -> None:
    """Write a cubic map (z, y, x; the origin at voxel D//2) as float32 MRC."""
    with atomic(path) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
        mrc.set_data(np.ascontiguousarray(volume, dtype=np.float32))
        mrc.voxel_size = pixel_size_A
        _set_label(mrc)


def read_map(path: Path | str) -> tuple[FloatArray, float]:
    """Return (volume float32 (D, D, D) in z, y, x; pixel size in Å).

    Columns, rows and sections may be any of x, y and z, as the header says. Its origin and first voxel are not used,
    which is said where they are not zero: the map's centre is at voxel D//2.

    Raises
    ------
    InputError
        If there is no map, or it is not cubic, or its voxels are not, or hold what is no number.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; an MRC map is expected")
    regular_file(path, _LARGEST_MAP_BYTES)
    try:
        header = read_mrc_header(path)
    except InputError as error:
        raise InputError(str(error).replace(f"{path}: ", f"{path}: not a readable MRC map: ", 1)) from None
    shape = (header.n_images, header.height_px, header.width_px)
    header.refuse_unequal_voxels("xyz")
    if any(angle not in (0, 90) for angle in header.angles_deg):
        angles = ", ".join(f"{angle:g}" for angle in header.angles_deg)
        raise InputError(f"{path}: the angles of its cell are {angles} degrees; 90 are expected")
    if len(set(shape)) != 1:
        raise InputError(f"{path}: shape {shape}; a cubic map is expected")
    data = np.fromfile(path, header.dtype, math.prod(shape), offset=header.data_offset).reshape(shape)
    columns, rows, sections = header.axes
    written = (sections, rows, columns)
    if not np.isfinite(data).all():
        raise InputError(f"{path}: values that are no numbers")
    if not 0 <= header.pixel_size_A < np.inf:
        raise InputError(f"{path}: pixel size {header.pixel_size_A:g} Å in its header; a number above 0 is allowed")
    volume = data.transpose([written.index(axis) for axis in (3, 2, 1)])
    if any(header.origin_A) or any(header.start):
        origin, start = (", ".join(f"{x:g}" for x in place) for place in (header.origin_A, header.start))
        centre = shape[0] // 2
        say(f"{path}: its origin ({origin}) Å and first voxel ({start}) are not used; its centre is voxel {centre}")
    return np.ascontiguousarray(volume, dtype=np.float32), header.pixel_size_A


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
