"""CTF parameters of an experiment's particles, without its images: to simulate with CTFs as a microscope gives them."""

from __future__ import annotations

from pathlib import Path

from hydra_bench.core.errors import InputError
from hydra_bench.particles import cryosparc, relion
from hydra_bench.particles.cryodrgn import read_ctf_table
from hydra_bench.physics.ctf import Defocus, Optics


def read_ctf(path: Path | str) -> tuple[Defocus, Optics]:
    """Defocus and optics of all particles of a STAR, .cs or cryoDRGN .pkl file.

    Raises
    ------
    InputError
        If the file is missing or its CTF parameters are not usable.
    """
    path = Path(path)
    readers = {".star": relion.read_star_ctf, ".cs": cryosparc.read_cs_ctf, ".pkl": read_ctf_table}
    if path.suffix not in readers:
        raise InputError(f"{path}: .star, .cs and .pkl are allowed")
    if not path.is_file():
        raise InputError(f"{path}: no such file; CTF parameters are expected")
    optics, defocus = readers[path.suffix](path)[:2]
    return defocus, optics
