"""What a run found, told in the rows of the user's own file: which writer takes it is told by the suffix."""

import pickle
from pathlib import Path

import numpy as np

from hydra_bench.contracts.reconstruction import Assignments
from hydra_bench.contracts.source import Source
from hydra_bench.core.console import say
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic
from hydra_bench.particles.give_back_cs import cs_as_star_rows, write_cs
from hydra_bench.particles.give_back_star import Style, star_rows
from hydra_bench.particles.particle_files import file_format

SUFFIXES = (".star", ".cs", ".ind", ".pkl", ".npy")
"""RELION's, cryoSPARC's, and lists of row numbers from 0, which cryoDRGN's --ind takes."""


def check_form(out: Path, source: Source) -> None:
    """Raises InputError if the source's rows cannot be written as a file of this suffix."""
    if out.suffix not in SUFFIXES:
        raise InputError(f"--out: {out}; {', '.join(SUFFIXES)} are allowed")
    if out.resolve() in (source.path.resolve(), source.passthrough and source.passthrough.resolve()):
        raise InputError(f"--out: {out} is the particles' own file, which is never written over")
    kind = file_format(source.path)
    if out.suffix == ".cs" and kind != "cs":
        raise InputError(
            f"--out: {out}: the particles are those of {source.path}, and only a .cs file has the uids by which "
            "CryoSPARC tells particles; .star is allowed, which CryoSPARC imports"
        )
    if out.suffix == ".star" and kind == "mrcs":
        raise InputError(f"--out: {out}: {source.path} is an image stack, without rows to give back; .ind is allowed")


def give_back(out: Path, source: Source, found: Assignments, style: Style) -> None:
    """Write the source's rows (M), in its order, with what was found of them. Raises InputError.

    Fields of a .cs file that RELION has no columns for are named on the console.
    """
    if out.suffix == ".cs":
        write_cs(out, source, found, style)
    elif out.suffix == ".npy":
        with atomic(out) as temporary, open(temporary, "wb") as file:
            np.save(file, source.rows)
    elif out.suffix in (".ind", ".pkl"):
        with atomic(out) as temporary, open(temporary, "wb") as file:
            pickle.dump(source.rows, file)
    elif file_format(source.path) == "star":
        star_rows(source, found, style).write(out)
    else:
        rows, dropped = cs_as_star_rows(source, found, style)
        rows.write(out)
        if dropped:
            say(f"{out}: not converted to columns of RELION, and left out: {', '.join(dropped)} of {source.path}")
        if "blob/sign" in dropped:
            say(f"{out}: blob/sign is -1, so RELION needs the images inverted (relion_stack_create, relion_preprocess)")
