"""PDB entries by id from the wwPDB's sites, into a cache that checks what it holds.

An entry comes as gzipped mmCIF from the first mirror that gives it whole (`transfer`). What came must unpack, and be
the mmCIF of that entry, before it gets its name in the cache; beside it `<entry>.cif.gz.json` records where it came
from, its size and its SHA-256, which are compared whenever it is used. Of several processes that fetch an entry at
once, the first one's file stays, with its record.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json, sha256, write_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.partial import clear_dead, partial_path
from hydra_bench.core.reading import unpacked_bytes
from hydra_bench.datasets.simulated.entries import Folders, as_folders, entry_path, is_fetchable, is_file_name


@dataclass(frozen=True)
class Source:
    """How entries are fetched: the configuration's `fetching` block.

    cache: folder; mirrors: URLs with {entry} (in lower case) and {middle} (its second and third character);
    timeout_s: longest silence of a server; total_s: longest time at one mirror; max_mb: largest size of an entry,
    packed and unpacked; attempts: at one mirror; wait_s: before the second one, doubled each time.
    """

    cache: Path
    mirrors: Sequence[str]
    offline: bool = False
    timeout_s: float = 20.0
    total_s: float = 600.0
    max_mb: float = 2000.0
    attempts: int = 3
    wait_s: float = 1.0

    @classmethod
    def from_definition(cls, fetching: JsonObject) -> Source:
        """From the configuration; the environment variable HYDRA_BENCH_OFFLINE, if set and not 0, is the switch too."""
        offline = fetching["offline"] or os.environ.get("HYDRA_BENCH_OFFLINE", "0") not in ("", "0")
        return cls(**{**fetching, "cache": Path(fetching["cache"]), "offline": offline})

    def check_online(self, entry: str) -> None:
        """Raises InputError if an entry that is not there may not be fetched."""
        if self.offline:
            raise InputError(
                f"entry {entry!r} is not there, and fetching is switched off (fetching.offline, or "
                f"HYDRA_BENCH_OFFLINE); put its file into the structures' folder or into {self.cache}"
            )


def ensure(entries: Iterable[str], folders: Folders, source: Source) -> None:
    """Fetch those entries that lie in none of the folders; check those that lie in the cache.

    Raises
    ------
    InputError
        If an entry cannot be had, or one in the cache is not what was fetched.
    """
    for entry in dict.fromkeys(entries):
        path = entry_path([*as_folders(folders), source.cache], entry)
        if path is None and not is_file_name(entry) and is_fetchable(entry):
            fetch(entry, source)
        elif path is not None and path.parent == source.cache:
            check_cached(path)


def check_cached(path: Path) -> None:
    """Compare a file of the cache with its record. Raises InputError if they differ."""
    record_path = _record_path(path)
    if not record_path.is_file():
        raise InputError(f"{path}: nothing is recorded of it in {record_path}; delete it, and it is fetched again")
    record = read_json(record_path)
    size = path.stat().st_size
    if not isinstance(record, dict) or not {"bytes", "sha256"} <= set(record):
        raise InputError(f"{record_path}: lacks bytes or sha256; delete it and {path}, and both are made again")
    if size != record["bytes"] or sha256(path) != record["sha256"]:
        raise InputError(
            f"{path}: is not what was fetched from {record.get('url')}: {size} bytes of other content; delete it, and "
            "it is fetched again"
        )


def fetch(entry: str, source: Source) -> Path:
    """Bring an entry into the cache.

    Raises InputError if no mirror gives it, naming what each of them said, or if the cache cannot be written.
    """
    from hydra_bench.datasets.simulated.transfer import UnavailableError  # what only reads a configuration does without

    source.check_online(entry)
    said = []
    for mirror in source.mirrors:
        url = mirror.replace("{entry}", entry.lower()).replace("{middle}", entry.lower()[1:3])
        print(f"hydra-bench: fetching {entry} from {without_password(url)}", file=sys.stderr)
        try:
            return _from_mirror(entry, url, source)
        except UnavailableError as problem:
            said.append(without_password(f"{url}: {problem}"))
        except OSError as error:
            problem_text = error.strerror or str(error)
            raise InputError(f"{source.cache}: entry {entry!r} cannot be kept in this cache ({problem_text})") from None
    raise InputError(f"entry {entry!r} cannot be fetched; {'; '.join(said)}")


def without_password(text: str) -> str:
    """A text without the user's name and password that addresses in it may have."""
    return re.sub(r"(?<=//)[^/@\s]*@", "", text)


def _from_mirror(entry: str, url: str, source: Source) -> Path:
    """Raises UnavailableError if this mirror does not give the entry, OSError if the cache cannot be written."""
    from hydra_bench.datasets.simulated.transfer import Limits, UnavailableError, download

    target = source.cache / f"{entry.lower()}.cif.gz"
    limits = Limits(source.timeout_s, source.total_s, source.max_mb * 1e6, source.attempts, source.wait_s)
    with _partial(target) as partial:
        download(url, partial, limits)
        why = unusable(partial, entry, source.max_mb)
        if why:
            raise UnavailableError(why)
        record = {"entry": entry.lower(), "url": without_password(url), "bytes": partial.stat().st_size}
        record["sha256"] = sha256(partial)
        with _alone(source.cache):
            if not target.is_file():
                # The record first: a file without one would be refused.
                write_json(_record_path(target), record)
                partial.replace(target)
    return target


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """An empty file in the target's folder, which goes if it is there in the end; so does the folder if it is empty."""
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_dead(target.parent)
    # Of one process, too, several threads may fetch an entry.
    handle, name = tempfile.mkstemp(prefix=f"{partial_path(target).name}-", dir=target.parent)
    os.fchmod(handle, 0o644)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        with suppress(OSError):
            target.parent.rmdir()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While this lasts, no other process, or thread, is in here with the same folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def unusable(path: Path, entry: str, max_mb: float = 2000.0) -> str:
    """Why a file cannot be the gzipped mmCIF of an entry; empty if it can."""
    import gemmi

    try:
        if unpacked_bytes(path, max_mb * 1e6) > max_mb * 1e6:
            return f"what came unpacks to more than {max_mb:,g} MB (fetching.max_mb)"
        with gzip.open(path) as file:
            text = file.read()
    except (OSError, EOFError, zlib.error) as error:
        return f"what came is no whole gzip file ({error})"
    try:
        block = gemmi.cif.read_string(text.decode()).sole_block()
        name = gemmi.cif.as_string(block.find_value("_entry.id") or block.name)
    except (RuntimeError, ValueError, IndexError) as error:
        return f"what came is no mmCIF ({' '.join(str(error).split())[:200]})"
    if name.lower() != entry.lower():
        return f"what came is entry {name[:50]}"
    return "" if block.find_loop("_atom_site.id") else "what came holds no atoms"
