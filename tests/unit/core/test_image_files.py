"""Images in MRC files: every type and byte order reads back, in any order, and what is wrong is named."""

import struct
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from particle_files import write_images

from hydra_bench.core import image_files
from hydra_bench.core.errors import InputError
from hydra_bench.core.image_files import ImageFiles
from hydra_bench.core.mrc_header import read_mrc_header

BOX = 8


def noise(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-100, 100, (n, BOX, BOX)).astype(np.float32)


def opened(paths: list[Path], counts: list[int]) -> ImageFiles:
    """All images of some files, in the order of the files."""
    file_index = np.repeat(np.arange(len(paths)), counts)
    return ImageFiles.open(paths, file_index, np.concatenate([np.arange(n) for n in counts]), "p.star: rlnImageName")


@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f2", "f4"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extended", [0, 160])
def test_every_mode_and_byte_order_is_read(tmp_path: Path, dtype: str, order: str, extended: int) -> None:
    images = np.abs(noise(5)) if dtype == "u2" else noise(5)
    path = write_images(tmp_path / "a.mrcs", images.astype(dtype))
    little = path.read_bytes()
    header = bytearray(little[:1024])
    header[92:96] = struct.pack("<i", extended)
    if order == ">":
        header = bytearray(np.frombuffer(bytes(header), "<u4").astype(">u4").tobytes())
    path.write_bytes(bytes(header) + b"x" * extended + images.astype(order + dtype).tobytes())
    read = opened([path], [5]).read(np.array([4, 0, 2]))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, images[[4, 0, 2]])
    assert read_mrc_header(path).pixel_size_A == pytest.approx(2.0)


def test_the_unsigned_bytes_of_imod_are_unsigned(tmp_path: Path) -> None:
    path = write_images(tmp_path / "a.mrcs", noise(2).astype("i1"))
    content = bytearray(path.read_bytes())
    content[152:160] = struct.pack("<2i", 1146047817, 0)
    content[1024:] = bytes(range(100, 228))
    path.write_bytes(bytes(content))
    read = opened([path], [2]).read(np.arange(2))
    assert (read.min(), read.max()) == (100, 227)


def test_any_order_from_many_files_with_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [4, 1, 6]
    everything = noise(sum(counts))
    parts = np.split(everything, np.cumsum(counts)[:-1])
    paths = [write_images(tmp_path / f"{i}.mrcs", part) for i, part in enumerate(parts)]
    images = opened(paths, counts)
    wanted = np.array([10, 3, 3, 4, 0, 9, 8, 1, 10])
    np.testing.assert_array_equal(images.read(wanted), everything[wanted])
    monkeypatch.setattr(image_files, "_READ_BYTES", 3 * 4 * BOX**2)
    np.testing.assert_array_equal(images.read(wanted), everything[wanted])
    np.testing.assert_array_equal(images.read(np.arange(11)[::-1]), everything[::-1])
    assert images.read(np.array([], dtype=np.int64)).shape == (0, BOX, BOX)
    assert len(images) == 11


def test_neighbouring_frames_are_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = opened([write_images(tmp_path / "a.mrcs", noise(50))], [50])
    read, calls = image_files.os.preadv, []
    monkeypatch.setattr(image_files.os, "preadv", lambda *call: calls.append(call) or read(*call))
    images.read(np.random.default_rng(0).permutation(50))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda path: path.unlink(), r"a\.mrcs: no such file; named by p\.star: rlnImageName"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), r"a\.mrcs: truncated: .* 3 images of 8 x 8 px"),
        (lambda path: path.write_bytes(b"short"), r"a\.mrcs: not an MRC file"),
        (lambda path: path.write_bytes(b"\xff" * 4096), r"a\.mrcs: not an MRC file"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:12] + struct.pack("<i", 4) + path.read_bytes()[16:]),
            r"a\.mrcs: MRC mode 4 in its header; allowed are 0, 1, 2, 6, 12",
        ),
    ],
)
def test_files_that_are_refused(tmp_path: Path, edit: object, message: str) -> None:
    path = write_images(tmp_path / "a.mrcs", noise(3))
    edit(path)
    with pytest.raises(InputError, match=message) as error:
        opened([path], [3])
    assert "\n" not in str(error.value)


def test_frames_and_sizes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path, other = write_images(tmp_path / "a.mrcs", noise(3)), tmp_path / "b.mrcs"
    with pytest.raises(InputError, match=r"p\.star: rlnImageName: particle 4 is image 4 of .*a\.mrcs.* images 1\.\.3"):
        opened([path], [4])
    with pytest.raises(InputError, match=r"p\.star: rlnImageName: no images"):
        opened([], [0])
    write_images(other, np.zeros((2, 6, 6), dtype=np.float32))
    with pytest.raises(InputError, match=r"b\.mrcs: image size 6 x 6 px .* the first file, .*a\.mrcs, has 8 x 8"):
        opened([path, other], [3, 2])
    write_images(path, np.zeros((2, 6, 8), dtype=np.float32))
    with pytest.raises(InputError, match=r"a\.mrcs: image size 8 x 6 px"):
        opened([path], [2])


@pytest.mark.parametrize(("value", "what"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")])
def test_images_that_are_not_finite_are_named(tmp_path: Path, value: float, what: str) -> None:
    stack = opened([write_images(tmp_path / "a.mrcs", noise(5))], [5])
    with mrcfile.mmap(tmp_path / "a.mrcs", mode="r+") as mrc:
        mrc.data[3, 2, 1] = value
    stack.read(np.arange(3))
    with pytest.raises(InputError, match=rf"a\.mrcs: image 4 has .*{what}.*particle 4"):
        stack.read(np.arange(5))


def test_constant_images_are_named(tmp_path: Path) -> None:
    images = noise(5)
    images[1] = 7
    stack = opened([write_images(tmp_path / "a.mrcs", images)], [5])
    with pytest.raises(InputError, match=r"a\.mrcs: image 2 is constant \(variance 0\)"):
        stack.read(np.array([0, 1]))


def test_a_file_that_is_cut_or_removed_after_opening_is_named(tmp_path: Path) -> None:
    path = write_images(tmp_path / "a.mrcs", noise(5))
    stack = opened([path], [5])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"a\.mrcs: truncated since it was opened"):
        stack.read(np.array([4]))
    path.unlink()
    with pytest.raises(InputError, match=r"a\.mrcs: cannot be read any more"):
        stack.read(np.array([4]))
