"""Checksums of a folder's files, in a file of the form that `sha256sum --check` reads: what a later job trusts."""

from collections.abc import Collection
from pathlib import Path

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import sha256, write_text
from hydra_bench.core.reading import regular_file

NAME = "SHA256SUMS"
_MOST_BYTES = 1 << 28
"""Of a list of a million files."""
_LONGEST_NAME = 200
"""Characters of a file's name and its folders here; the system's limit for a name alone is 255."""


def write_checksums(folder: Path, without: Collection[str] = ()) -> None:
    """Write SHA256SUMS of all files in a folder but those of these names, if there are others. Raises MachineError."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in (NAME, *without))
    if not files:
        return
    write_text(folder / NAME, "".join(f"{sha256(path)}  {path.relative_to(folder)}\n" for path in files))


def added_since(folder: Path, without: Collection[str] = ()) -> list[str]:
    """Files, by their paths in a folder, that SHA256SUMS does not name, nor `without` by name or first folder: sorted.

    None where there is no SHA256SUMS: what was there at first is not known then.
    """
    if not (folder / NAME).is_file():
        return []
    lines = regular_file(folder / NAME, _MOST_BYTES).read_text(encoding="utf-8", errors="replace").splitlines()
    known = {line.partition("  ")[2] for line in lines}
    there = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    ours = {NAME, *without}
    return sorted(str(file) for file in there if str(file) not in known and not ours & {file.parts[0], file.name})


def check_checksums(folder: Path) -> None:
    """Read every file that SHA256SUMS names; a folder without one, of somebody else's making, is taken as it is.

    Raises InputError that names the first file that is not there, or is not as it was written.
    """
    path = folder / NAME
    if not path.is_file():
        return
    for line in regular_file(path, _MOST_BYTES).read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        if len(name) > _LONGEST_NAME or "\x00" in name:
            raise InputError(f"{path}: {line[:80]!r}; a checksum and the name of a file beside it are expected")
        file = folder / name
        if not name or file.resolve() == path.resolve() or not file.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{path}: {line[:80]!r}; a checksum and the name of a file beside it are expected")
        if not file.is_file():
            raise InputError(f"{file}: no such file; {NAME} beside it names it, so it was there")
        if sha256(file) != digest:
            raise InputError(f"{file}: is not as it was written: its checksum is not that of {NAME}; make it anew")
