"""A bare image stack: all images of one MRC file, in order, without CTF."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hydra_bench.contracts.stack import Stack
from hydra_bench.core.errors import InputError
from hydra_bench.core.image_files import ImageFiles, read_mrc_header
from hydra_bench.particles.columns import CtfSource


def read_mrcs_stack(path: Path, ctf: CtfSource, pixel_size_A: float | None) -> Stack:
    """All images of an MRC file; its header gives the pixel size (cell length / samples) unless it is given here.

    Raises
    ------
    InputError
        If `ctf` is not "none", the file holds no usable images, or no pixel size is known.
    """
    header = read_mrc_header(path)
    if ctf != "none":
        raise InputError(
            f"{path}: CTF missing: an image stack holds none; give the STAR or .cs file instead, "
            "or ctf = none for images without CTF"
        )
    pixel = header.pixel_size_A if pixel_size_A is None else pixel_size_A
    if not 0 < pixel < np.inf:
        raise InputError(f"{path}: pixel size {pixel:g} Å in its header; above 0 is allowed: give pixel_size_A")
    index = np.zeros(header.n_images, dtype=np.int32)
    images = ImageFiles.open([path], index, np.arange(header.n_images), str(path))
    return Stack(path=path, images=images, pixel_size_A=pixel, optics=None, defocus=None)
