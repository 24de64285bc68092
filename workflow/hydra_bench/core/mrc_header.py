"""What the header of anybody's MRC file says, of maps and image stacks alike: read rightly, or refused.

What old and odd programs get wrong does not matter here: the machine stamp, the word MAP and the version are not
looked at. The byte order is that in which size and mode can be. Mode 0 was unsigned before MRC2014 made it signed;
IMOD's stamp says which, else the header's own minimum and maximum do.

Sources: Cheng et al., J. Struct. Biol. 192 (2015) 146 (MRC2014); for the unsigned bytes, IMOD's description of its MRC
header (imodStamp, imodFlags).
"""

import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hydra_bench.core.errors import InputError

MRC_HEADER_BYTES = 1024

_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_LARGEST_SIDE_PX = 65535
_IMOD_STAMP, _IMOD_SIGNED_BYTES = 1146047817, 1
_AS_WRITTEN = (1, 2, 3)
_SAME_VOXEL = 1e-3
_COMPRESSED = {b"\x1f\x8b\x08": "gunzip", b"BZh": "bunzip2", b"\x28\xb5\x2f\xfd": "unzstd", b"\xfd7zXZ": "unxz"}
"""What compressed files begin with, and what unpacks them; no size that an image can have begins so."""

XYZ: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class MrcFile:
    """What the header says of one file; `pixel_size_A` is that along x, 0 where it says nothing.

    n_images: sections; voxel_A: along x, y and z; axes: which of x, y, z (1, 2, 3) columns, rows and sections are;
    start: number of the first column, row and section; origin_A: along x, y and z; angles_deg: of the cell.
    """

    path: Path
    n_images: int
    height_px: int
    width_px: int
    dtype: np.dtype[Any]  # of whatever type the file has
    data_offset: int
    size_bytes: int
    voxel_A: XYZ = (0.0, 0.0, 0.0)
    axes: tuple[int, int, int] = _AS_WRITTEN
    start: tuple[int, int, int] = (0, 0, 0)
    origin_A: XYZ = (0.0, 0.0, 0.0)
    angles_deg: XYZ = (90.0, 90.0, 90.0)

    @property
    def pixel_size_A(self) -> float:
        return self.voxel_A[0]

    @property
    def image_bytes(self) -> int:
        return self.height_px * self.width_px * self.dtype.itemsize

    @property
    def data_end(self) -> int:
        """Bytes that the file must at least have."""
        return self.data_offset + self.n_images * self.image_bytes

    def refuse_unequal_voxels(self, axes: str) -> None:
        """Raise InputError if voxels are not as long along one of some axes ("xyz") as along another."""
        sizes = [self.voxel_A["xyz".index(axis)] for axis in axes]
        if min(sizes) > 0 and max(sizes) > min(sizes) * (1 + _SAME_VOXEL):
            found = " x ".join(f"{size:g}" for size in sizes)
            raise InputError(f"{self.path}: voxels of {found} Å in its header; equal sides are expected: resample it")


def read_mrc_header(path: Path, named_by: str = "") -> MrcFile:
    """Read and check one file's header; the images are not touched.

    `named_by` (file and field, such as ``particles.star: rlnImageName``) is quoted if the file is missing.

    Raises
    ------
    InputError
        If the file is missing, is no MRC file, has a mode that is not supported, has axes that are none, or is
        truncated.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise InputError(f"{path}: not an MRC file (it is a folder, pipe or device)")
        with open(path, "rb") as file:
            header = file.read(MRC_HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise InputError(f"{path}: {what}" + (f"; named by {named_by}" if named_by else "")) from None
    order = _byte_order(header)
    packed = next((program for start, program in _COMPRESSED.items() if header.startswith(start)), None)
    if packed is not None:
        raise InputError(
            f"{path}: is compressed; images are read from where they lie in the file: unpack it ({packed})"
        )
    if order is None:
        raise InputError(f"{path}: not an MRC file (no valid size and mode in its header)")
    width, height, n_images, mode, *start = struct.unpack_from(f"{order}7i", header)
    if mode not in _TYPES:
        raise InputError(f"{path}: MRC mode {mode} in its header; allowed are {', '.join(map(str, _TYPES))}")
    samples = struct.unpack_from(f"{order}3i", header, 28)
    cell_A = struct.unpack_from(f"{order}6f", header, 40)
    axes = struct.unpack_from(f"{order}3i", header, 64)
    (extended,) = struct.unpack_from(f"{order}i", header, 92)
    if axes == (0, 0, 0):  # of programs that know but one order
        axes = _AS_WRITTEN
    if sorted(axes) != [1, 2, 3]:
        found = ", ".join(map(str, axes))
        raise InputError(
            f"{path}: MAPC, MAPR and MAPS are {found} in its header; 1, 2 and 3 in some order are expected"
        )
    x, y, z = (length / n if n > 0 else 0.0 for length, n in zip(cell_A[:3], samples, strict=True))
    mrc = MrcFile(
        path=Path(path),
        n_images=n_images,
        height_px=height,
        width_px=width,
        dtype=np.dtype(order + ("u1" if mode == 0 and _has_unsigned_bytes(header, order) else _TYPES[mode])),
        data_offset=MRC_HEADER_BYTES + max(extended, 0),
        size_bytes=size,
        voxel_A=(x, y, z),
        axes=axes,
        start=(start[0], start[1], start[2]),
        origin_A=struct.unpack_from(f"{order}3f", header, 196),
        angles_deg=cell_A[3:],
    )
    if size < mrc.data_end:
        raise InputError(
            f"{path}: truncated: {size} bytes; the {n_images} images of {width} x {height} px in its header "
            f"need {mrc.data_end}"
        )
    return mrc


def _byte_order(header: bytes) -> str | None:
    """'<' or '>', by which of them gives a size and a mode that can be; the machine stamp is often wrong."""
    if len(header) == MRC_HEADER_BYTES:
        for order in "<>":
            width, height, n_images, mode = struct.unpack_from(f"{order}4i", header)
            sides_are_possible = 0 < width <= _LARGEST_SIDE_PX and 0 < height <= _LARGEST_SIDE_PX
            if sides_are_possible and n_images >= 0 and 0 <= mode <= 101:
                return order
    return None


def _has_unsigned_bytes(header: bytes, order: str) -> bool:
    lowest, highest = struct.unpack_from(f"{order}2f", header, 76)
    stamp, flags = struct.unpack_from(f"{order}2i", header, 152)
    if stamp == _IMOD_STAMP:
        return not flags & _IMOD_SIGNED_BYTES
    # A highest value below the lowest says that both are not known; the standard's signed bytes are taken then.
    return bool(0 <= lowest <= highest and highest > 127)
