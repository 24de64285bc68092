"""The commands of docs/how-to/board.md, and what an outsider's RELION would have left."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import starfile
from net_runs import ROOT

PAGE = (ROOT / "docs" / "how-to" / "board.md").read_text()
YOURS, WHOLE = (
    block.replace("\\\n", "").splitlines() for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.M | re.S)
)
"""The commands from files of one's own to a row, and of a whole run."""
(SCRIPT,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)


def write_relion_files(folder: Path, reconstruction: Path, stack: Path) -> None:
    """A reconstruction as RELION's Class3D writes one: in another order, and after an iteration that is not the last.

    Of its classes the last one has ended empty.
    """
    table = starfile.read(reconstruction / "particles.star")
    particles = table["particles"] if isinstance(table, dict) else table
    columns = [name for name in particles if name.startswith("rln")]
    given = starfile.read(stack / "particles.star")
    found = particles[columns].assign(rlnImageName=given["particles"]["rlnImageName"])
    order = np.random.default_rng(0).permutation(len(found))
    folder.mkdir()
    for iteration, rows in ((9, order[:0]), (25, order)):
        tables = {"optics": given["optics"], "particles": found.iloc[rows]}
        starfile.write(tables, folder / f"run_it{iteration:03d}_data.star")
    maps = sorted((reconstruction / "volumes").glob("class_*.mrc"))
    for number, path in enumerate([*maps, maps[0]], 1):
        shutil.copy(path, folder / f"run_it025_class{number:03d}.mrc")
