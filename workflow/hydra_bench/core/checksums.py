"""Checksums of a folder's files, in a file of the form that `sha256sum --check` reads: what a later job trusts."""

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from hydra_bench.core.errors import InputError, MachineError
from hydra_bench.core.files import read_json, sha256, write_json, write_text
from hydra_bench.core.json_values import JsonObject
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
    known = {name for _, name in _lines(folder)}
    there = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    ours = {NAME, *without}
    return sorted(str(file) for file in there if str(file) not in known and not ours & {file.parts[0], file.name})


def check_checksums(folder: Path) -> None:
    """Read every file that SHA256SUMS names; a folder without one, of somebody else's making, is taken as it is.

    Raises InputError that names the first file that is not there, or is not as it was written.
    """
    path = folder / NAME
    for digest, name in _lines(folder):
        file = folder / name
        is_name = bool(name) and len(name) <= _LONGEST_NAME and "\x00" not in name
        if not is_name or file.resolve() == path.resolve() or not file.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{path}: {name[:80]!r}; a checksum and the name of a file beside it are expected")
        _check(file, digest)


def check_file(path: Path) -> None:
    """The same for one file, if SHA256SUMS beside it names it."""
    for digest, name in _lines(path.parent):
        if name == path.name:
            _check(path, digest)


def check_unchanged(folder: Path, names: Collection[str]) -> None:
    """The same for files of many gigabytes: each is read once, and again only where its size or its times are others.

    names : what SHA256SUMS must name, and no more; another list is somebody else's, and is left alone. What was read is
    remembered among the user's caches; where that cannot be written, all is read each time.
    """
    listed = {name: digest for digest, name in _lines(folder)}
    if listed.keys() != set(names):
        return
    known = _remembered(folder)
    found = {}
    for name, digest in listed.items():
        found[name] = _as_it_is(folder / name, digest)
        if known.get(name) != found[name]:
            _check(folder / name, digest)
    if found != known:
        _remember(folder, found)


def trust(folder: Path) -> None:
    """Take the files for read that SHA256SUMS names and that were written just now."""
    _remember(folder, {name: _as_it_is(folder / name, digest) for digest, name in _lines(folder)})


def _lines(folder: Path) -> Iterator[tuple[str, str]]:
    """Checksum and name of each line of SHA256SUMS; of none without it."""
    path = folder / NAME
    if path.is_file():
        for line in regular_file(path, _MOST_BYTES).read_text(encoding="utf-8", errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            yield digest, name


def _check(file: Path, digest: str) -> None:
    if not file.is_file():
        raise InputError(f"{file}: no such file; {NAME} beside it names it, so it was there")
    if sha256(file) != digest:
        raise InputError(
            f"{file}: is not as it was written: its checksum is not that of {NAME}; make it anew, or delete {NAME}, if "
            "the change was wanted"
        )


def _as_it_is(file: Path, digest: str) -> list[str | int]:
    """Checksum, size, and when content and entry were changed, of which no program can set the second back."""
    if not file.is_file():
        return [digest]
    about = file.stat()
    return [digest, about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def _memory(folder: Path) -> Path | None:
    """Where it is remembered what was read of a folder; None for a user without a place for caches."""
    home = os.environ.get("HOME")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else ""))
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    return caches / "hydra-bench" / "checked" / f"{name}.json" if caches.is_absolute() else None


def _remembered(folder: Path) -> JsonObject:
    path = _memory(folder)
    if path is not None and path.is_file():
        with suppress(InputError):
            content = read_json(path)
            return content if isinstance(content, dict) else {}
    return {}


def _remember(folder: Path, found: JsonObject) -> None:
    path = _memory(folder)
    if path is not None:
        with suppress(MachineError, OSError):
            write_json(path, found)
