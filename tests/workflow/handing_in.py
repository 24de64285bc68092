"""The commands of docs/how-to/board.md, and what an outsider's RELION would have left."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import starfile
from net_runs import ROOT

PAGE = (ROOT / "docs" / "how-to" / "board.md").read_text()
YOURS, WHOLE = (block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, flags=re.M | re.S))
"""The commands from files of one's own to a row, and of a whole run."""
(SCRIPT,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)


def write_relion_files(folder: Path, reconstruction: Path, stack: Path) -> None:
    """A reconstruction as RELION writes one: in another order, images named from where it was started."""
    table = starfile.read(reconstruction / "particles.star")
    particles = table["particles"] if isinstance(table, dict) else table
    columns = [name for name in particles if name.startswith("rln")]
    given = starfile.read(stack / "particles.star")
    names = given["particles"]["rlnImageName"]
    found = particles[columns].assign(rlnImageName=names.str.replace("@", f"@{stack}/"))
    order = np.random.default_rng(0).permutation(len(found))
    folder.mkdir()
    starfile.write({"optics": given["optics"], "particles": found.iloc[order]}, folder / "run_data.star")
    for path in sorted((reconstruction / "volumes").glob("class_*.mrc")):
        number = int(path.stem.removeprefix("class_"))
        shutil.copy(path, folder / f"run_class{number:03d}.mrc")
