"""Images in MRC files: checked by their headers when opened, read by position when asked for.

A memory map is not used, because its pages count as the process's memory once touched: with reads by
position, memory is that of the batch, however many images there are. A file is open only while it is
read from, so thousands of files need one handle, and threads and forked workers share nothing.
Headers are read by `mrc_header`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hydra_bench.core.errors import InputError
from hydra_bench.core.mrc_header import MrcFile, read_mrc_header
from hydra_bench.core.types import FloatArray, IntArray

_READ_BYTES = 8 << 20
"""The most that one read takes, so that a run of neighbouring frames does not double a batch's memory."""


@dataclass(frozen=True)
class ImageFiles:
    """N square images lying anywhere in a number of files.

    file_index (N,) points into `files`; frame_index (N,) counts from 0 in the file. `listed_as` are the files' names in
    the file that lists the images, if one does.
    """

    files: tuple[MrcFile, ...]
    file_index: IntArray
    frame_index: IntArray
    box_px: int
    listed_as: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        paths: Sequence[Path],
        file_index: IntArray,
        frame_index: IntArray,
        named_by: str,
        box_px: int | None = None,
        box_named_by: str = "",
        listed_as: Sequence[str] = (),
    ) -> ImageFiles:
        """Check all files by header and size.

        `named_by` and `box_named_by` say which file and field named the images and their size, for the messages;
        `box_px` is the image size that the metadata state, if they do; `listed_as` are the files' names there.

        Raises
        ------
        InputError
            If there are no images, a file is missing, unreadable or truncated, images or their pixels are not
            square, images are not all of one size, or a frame lies outside its file.
        """
        if len(file_index) == 0:
            raise InputError(f"{named_by}: no images; at least one is needed")
        files = tuple(read_mrc_header(path, named_by) for path in paths)
        box = files[0].width_px if box_px is None else box_px
        stated_by = f"the first file, {files[0].path}, has" if box_px is None else f"{box_named_by} says"
        for file in files:
            if file.axes[2] != 3:
                raise InputError(f"{file.path}: its sections are no images (MAPS {file.axes[2]}); 3 is expected")
            file.refuse_unequal_voxels("xy")
            if (file.width_px, file.height_px) != (box, box):
                size = f"{file.width_px} x {file.height_px}"
                raise InputError(f"{file.path}: image size {size} px in its header; {stated_by} {box} x {box}")
        held = np.array([file.n_images for file in files])[file_index]
        outside = np.flatnonzero((frame_index < 0) | (frame_index >= held))
        if len(outside):
            i = outside[0]
            raise InputError(
                f"{named_by}: particle {i + 1} is image {frame_index[i] + 1} of {files[file_index[i]].path}, "
                f"which holds images 1..{held[i]}"
            )
        file_index, frame_index = np.asarray(file_index, dtype=np.int32), np.asarray(frame_index, dtype=np.int64)
        return cls(files, file_index, frame_index, box, tuple(listed_as))

    def __len__(self) -> int:
        return len(self.file_index)

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(file.path for file in self.files)

    @property
    def total_bytes(self) -> int:
        """Size of all files together when they were opened."""
        return sum(file.size_bytes for file in self.files)

    def read(self, indices: IntArray) -> FloatArray:
        """The given images (B,), as (B, D, D) float32, in the order asked for; an index may repeat.

        Raises
        ------
        InputError
            If an image holds NaN or inf or is constant, or a file has been cut or removed since it was opened.
        """
        indices = np.asarray(indices, dtype=np.int64)
        images = np.empty((len(indices), self.box_px, self.box_px), dtype=np.float32)
        for file, runs in self._runs(indices):
            try:
                handle = os.open(file.path, os.O_RDONLY)
            except OSError as error:
                raise InputError(f"{file.path}: cannot be read any more ({error.strerror})") from None
            try:
                for rows in runs:
                    frames = self.frame_index[indices[rows]]
                    found = _read_frames(handle, file, int(frames[0]), int(frames[-1]))
                    images[rows] = found if len(found) == len(rows) else found[frames - frames[0]]
            finally:
                os.close(handle)
        self._check(images, indices)
        return images

    def _runs(self, indices: IntArray) -> Iterator[tuple[MrcFile, list[IntArray]]]:
        """Each file with its rows of the batch, cut into runs of neighbouring frames in rising order."""
        order = np.lexsort((self.frame_index[indices], self.file_index[indices]))
        file_index = self.file_index[indices[order]]
        for rows in np.split(order, np.flatnonzero(np.diff(file_index)) + 1):
            if len(rows) == 0:
                continue
            file = self.files[self.file_index[indices[rows[0]]]]
            frames = self.frame_index[indices[rows]]
            # A run ends at a gap, and wherever a block of as many frames as one read may take begins.
            block = frames // max(_READ_BYTES // file.image_bytes, 1)
            cuts = np.flatnonzero((np.diff(frames) > 1) | (np.diff(block) > 0)) + 1
            yield file, np.split(rows, cuts)

    def _check(self, images: FloatArray, indices: IntArray) -> None:
        # NaN and inf come through minimum and maximum, so two passes without temporary arrays see everything.
        pixels = images.reshape(len(images), self.box_px**2)
        lowest, highest = pixels.min(1), pixels.max(1)
        for bad, what in (
            (~(np.isfinite(lowest) & np.isfinite(highest)), "has NaN or infinite pixels"),
            (lowest == highest, "is constant (variance 0)"),
        ):
            if bad.any():
                i = indices[np.argmax(bad)]
                path, frame = self.files[self.file_index[i]].path, self.frame_index[i] + 1
                raise InputError(f"{path}: image {frame} {what}; remove it from the particles (particle {i + 1})")


def _read_frames(handle: int, file: MrcFile, first: int, last: int) -> npt.NDArray[Any]:  # the type is the file's
    """Frames first..last of an open file, (n, D, D) in the file's own type."""
    data = memoryview(bytearray((last - first + 1) * file.image_bytes))
    offset, done = file.data_offset + first * file.image_bytes, 0
    while done < len(data):
        n_bytes = os.preadv(handle, [data[done:]], offset + done)
        if n_bytes == 0:
            raise InputError(f"{file.path}: truncated since it was opened; it ends within image {last + 1} or before")
        done += n_bytes
    frames = np.frombuffer(data, dtype=file.dtype).reshape(-1, file.height_px, file.width_px)
    return frames if file.axes[0] == 1 else frames.swapaxes(1, 2)
