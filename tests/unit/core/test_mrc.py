"""Maps of other programs: every axis order, byte order and mode is the same density; what cannot be read is refused."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import gemmi
import numpy as np
import pytest

from hydra_bench.core.errors import InputError
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.mrc import read_map, write_map

BOX = 6
DENSITY = np.random.default_rng(0).integers(0, 100, (BOX,) * 3).astype(np.float32)
"""In z, y, x."""


def write(path: Path, data: np.ndarray, order: str = "<", extended: int = 0, **words: tuple[int, str, tuple]) -> Path:
    """An MRC file made by hand: `data` as it lies in the file; words are (offset, format, values) in its header."""
    modes = {"i1": 0, "i2": 1, "f4": 2, "u1": 0, "u2": 6, "f2": 12}
    header = bytearray(1024)
    n = data.shape[::-1]
    struct.pack_into(f"{order}10i", header, 0, *n, modes[data.dtype.str[1:]], 0, 0, 0, *n)
    struct.pack_into(f"{order}6f3i", header, 40, *(2.0 * side for side in n), 90, 90, 90, 1, 2, 3)
    struct.pack_into(f"{order}3f", header, 76, data.min(), data.max(), data.mean())
    struct.pack_into(f"{order}i", header, 92, extended)
    header[208:216] = b"MAP " + (b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0")
    for offset, form, values in words.values():
        struct.pack_into(f"{order}{form}", header, offset, *values)
    path.write_bytes(bytes(header) + b"x" * extended + data.astype(data.dtype.newbyteorder(order)).tobytes())
    return path


@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
def test_columns_rows_and_sections_may_be_any_axis(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    """As gemmi, which was not written here, reads the same file."""
    columns, rows, sections = axes
    data = DENSITY.transpose([3 - axis for axis in (sections, rows, columns)])
    path = write(tmp_path / "a.mrc", np.ascontiguousarray(data), axes=(64, "3i", axes))
    volume, pixel = read_map(path)
    np.testing.assert_array_equal(volume, DENSITY)
    assert pixel == pytest.approx(2.0)
    grid = gemmi.read_ccp4_map(str(path), setup=True).grid
    np.testing.assert_array_equal(np.array(grid).transpose(2, 1, 0), DENSITY)


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "words",
    [
        {},
        {"stamp": (212, "4s", (b"\x44\x20\x20\x20",))},
        {"map": (208, "8s", (b"\0" * 8,))},
        {"axes": (64, "3i", (0, 0, 0))},
    ],
    ids=["as it should be", "odd stamp", "no MAP, no stamp", "no axes"],
)
def test_modes_orders_and_odd_headers(tmp_path: Path, dtype: str, order: str, words: dict) -> None:
    path = write(tmp_path / "a.mrc", DENSITY.astype(dtype), order, 320, **words)
    np.testing.assert_array_equal(read_map(path)[0], DENSITY)


@pytest.mark.parametrize(
    ("words", "unsigned"),
    [
        ({}, True),  # minimum 0, maximum 200
        ({"range": (76, "2f", (-56.0, 99.0))}, False),
        ({"range": (76, "2f", (0.0, -1.0))}, False),  # not known
        ({"imod": (152, "2i", (1146047817, 0)), "range": (76, "2f", (0.0, 0.0))}, True),
        ({"imod": (152, "2i", (1146047817, 1))}, False),
    ],
)
def test_bytes_are_signed_or_not_as_the_header_says(tmp_path: Path, words: dict, unsigned: bool) -> None:
    data = (DENSITY * 2).astype("u1")
    path = write(tmp_path / "a.mrc", data, **words)
    np.testing.assert_array_equal(read_map(path)[0], data if unsigned else data.view("i1"))
    images = ImageFiles.open([path], np.zeros(BOX, dtype=int), np.arange(BOX), "p.star")
    np.testing.assert_array_equal(images.read(np.arange(BOX)), data if unsigned else data.view("i1"))


def test_the_origin_is_not_used_and_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_map(write(tmp_path / "a.mrc", DENSITY))
    assert not capsys.readouterr().err
    read_map(write(tmp_path / "b.mrc", DENSITY, origin=(196, "3f", (-6.0, 0.0, 0.0))))
    assert "b.mrc: its origin (-6, 0, 0) Å and first voxel (0, 0, 0) are not used" in capsys.readouterr().err
    read_map(write(tmp_path / "c.mrc", DENSITY, start=(16, "3i", (-3, -3, -3))))
    assert "first voxel (-3, -3, -3)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"cell": (40, "3f", (12.0, 12.0, 14.4))}, "voxels of 2 x 2 x 2.4 Å in its header; equal sides are expected"),
        ({"cell": (40, "3f", (12.1, 12.0, 12.0))}, "voxels of 2.01667 x 2 x 2 Å"),
        ({"samples": (28, "3i", (BOX, BOX, 2 * BOX))}, "voxels of 2 x 2 x 1 Å"),
        ({"axes": (64, "3i", (1, 1, 3))}, "MAPC, MAPR and MAPS are 1, 1, 3 in its header"),
        ({"mode": (12, "i", (4,))}, "MRC mode 4 in its header"),
        ({"angles": (52, "3f", (90.0, 90.0, 120.0))}, "the angles of its cell are 90, 90, 120 degrees"),
    ],
)
def test_maps_that_are_refused(tmp_path: Path, words: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_map(write(tmp_path / "a.mrc", DENSITY, **words))
    assert "\n" not in str(error.value)


def test_images_whose_columns_are_y_come_upright(tmp_path: Path) -> None:
    turned = np.ascontiguousarray(DENSITY.swapaxes(1, 2))
    path = write(tmp_path / "a.mrcs", turned, axes=(64, "3i", (2, 1, 3)))
    every = np.arange(BOX)
    images = ImageFiles.open([path], np.zeros(BOX, dtype=int), every, "p.star")
    np.testing.assert_array_equal(images.read(every), DENSITY)
    write(path, DENSITY, axes=(64, "3i", (3, 2, 1)))
    with pytest.raises(InputError, match=r"a\.mrcs: its sections are no images \(MAPS 1\)"):
        ImageFiles.open([path], np.zeros(BOX, dtype=int), every, "p.star")
    write(path, DENSITY, cell=(40, "3f", (12.0, 13.0, 12.0)))
    with pytest.raises(InputError, match=r"a\.mrcs: voxels of 2 x 2.16667 Å"):
        ImageFiles.open([path], np.zeros(BOX, dtype=int), every, "p.star")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_map(tmp_path / "a.mrc", DENSITY, 1.5)
    volume, pixel = read_map(tmp_path / "a.mrc")
    np.testing.assert_array_equal(volume, DENSITY)
    assert pixel == pytest.approx(1.5)
