"""Where image files lie that a particle file names by relative or moved paths."""

import re
from collections.abc import Iterable
from pathlib import Path

from hydra_bench.core.errors import InputError

_STACK_MARK = re.compile(r":mrcs?$")
"""What some programs add to a name to say that it is a stack: particles.mrc:mrcs."""

_OTHER_SUFFIX = {".mrc": ".mrcs", ".mrcs": ".mrc"}
_FOLDERS_ABOVE = 3
"""How far above the particle file the project may begin: RELION's job folders are two deep, cryoSPARC's one."""


def locate(names: Iterable[str], named_by: Path, field: str, datadir: Path | None) -> list[Path]:
    """The existing path of each image file that `field` of the file `named_by` names.

    Tried in this order, the first that exists being taken:

    1. in `datadir`, if given: the name with its folders, then with one folder less after the other, since files were
       moved with some of them (`/home/them/project/s1/a.mrcs` may be `s1/a.mrcs` there), at last its last part alone;
    2. an absolute name as it is;
    3. in the folder of the particle file, and if that is a link, in the folder of what it links to;
    4. in the working directory, which is the project's folder when RELION or cryoSPARC run;
    5. in each of the three folders above the particle file's, nearest first: the project's folder, where the
       particle file lies in a job's;
    6. all of these again without a `:mrcs` at the end, which only says that it is a stack;
    7. all of these again with .mrc in place of .mrcs, or the other way round: cryoSPARC writes the one, RELION
       wants the other, and conversions rename what is in the list, not the files.

    Raises
    ------
    InputError
        If a file is in none of them (the message lists what was tried), or if two names come to one file, as
        files of one name from several folders would.
    """
    paths: dict[Path, str] = {}
    for name in names:
        path = _find_image_file(name, named_by, field, datadir)
        if path in paths:
            raise InputError(
                f"{named_by}: {field} names {paths[path]} and {name}, but both are found as {path}; if they are one "
                "file, name it alike in all rows, else name their folder by datadir (--datadir)"
            )
        paths[path] = name
    return list(paths)


def _find_image_file(name: str, named_by: Path, field: str, datadir: Path | None) -> Path:
    tried = list(dict.fromkeys(_candidates(Path(name), named_by, datadir)))
    if _STACK_MARK.search(name):
        name = _STACK_MARK.sub("", name)
        tried += list(dict.fromkeys(_candidates(Path(name), named_by, datadir)))
    other_suffix = _OTHER_SUFFIX.get(Path(name).suffix)
    renamed = [path.with_suffix(other_suffix) for path in tried if path.name == Path(name).name] if other_suffix else []
    for candidate in (*tried, *renamed):
        if candidate.is_file():
            return candidate
    also = f" (and {other_suffix})" if other_suffix else ""
    below = "below which they lie, with as many of their folders as are still there"
    advice = f"name by datadir (--datadir) the folder {below}"
    raise InputError(
        f"{named_by}: {field} names {name}, which does not exist; tried {', '.join(map(str, tried))}{also}; {advice}"
    )


def _candidates(name: Path, named_by: Path, datadir: Path | None) -> list[Path]:
    parts = name.relative_to(name.anchor).parts
    own = [] if datadir is None else [datadir.joinpath(*parts[first:]) for first in range(len(parts))]
    # Images lie beside a link to the particle file, or beside the file itself.
    beside, target = named_by.absolute().parent, named_by.resolve().parent
    above = [parent for folder in (beside, target) for parent in folder.parents[:_FOLDERS_ABOVE]]
    # An absolute name stays what it is in whatever folder it is looked for.
    return own + [place / name for place in (beside, target, Path.cwd(), *above)]
