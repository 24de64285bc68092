"""PDB entries by id from the wwPDB's sites, into a cache that checks what it holds.

An entry comes as gzipped mmCIF from the first mirror that gives it whole. A transfer that breaks off is resumed where
it stopped. What came must unpack, and be the mmCIF of that entry, before it gets its name in the cache; beside it
`<entry>.cif.gz.json` records where it came from, its size and its SHA-256, which are compared whenever it is used.
"""

from __future__ import annotations

import gzip
import os
import sys
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hydra_bench import __version__
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json, sha256, write_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.datasets.simulated.entries import Folders, as_folders, entry_path, is_fetchable, is_file_name

if TYPE_CHECKING:
    import requests

_CHUNK_BYTES = 1 << 16
_LONGEST_WAIT_S = 30.0
_WORTH_RETRYING = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Source:
    """How entries are fetched: the configuration's `fetching` block.

    cache: folder; mirrors: URLs with {entry} (in lower case) and {middle} (its second and third character);
    timeout_s: longest silence of a server; attempts: at one mirror; wait_s: before the second one, doubled each time.
    """

    cache: Path
    mirrors: Sequence[str]
    offline: bool = False
    timeout_s: float = 20.0
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


class _UnavailableError(Exception):
    """One mirror did not give the entry; `final` if asking it again is no use."""

    def __init__(self, why: str, final: bool = False, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.final, self.wait_s = final, wait_s


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
    """Bring an entry into the cache. Raises InputError if no mirror gives it, naming what each of them said."""
    source.check_online(entry)
    said = []
    for mirror in source.mirrors:
        url = mirror.format(entry=entry.lower(), middle=entry.lower()[1:3])
        print(f"hydra-bench: fetching {entry} from {url}", file=sys.stderr)
        try:
            return _from_mirror(entry, url, source)
        except _UnavailableError as problem:
            said.append(f"{url}: {problem}")
    raise InputError(f"entry {entry!r} cannot be fetched; {'; '.join(said)}")


def _from_mirror(entry: str, url: str, source: Source) -> Path:
    target = source.cache / f"{entry.lower()}.cif.gz"
    source.cache.mkdir(parents=True, exist_ok=True)
    # Named after the process: two runs at a time must not write into one file.
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")
    partial.unlink(missing_ok=True)
    try:
        _download(url, partial, source)
        why = unusable(partial, entry)
        if why:
            raise _UnavailableError(why)
        record = {"entry": entry.lower(), "url": url, "bytes": partial.stat().st_size, "sha256": sha256(partial)}
        # The record first: a file without one would be refused.
        write_json(_record_path(target), record)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _download(url: str, partial: Path, source: Source) -> None:
    """All attempts at one mirror, each going on where the one before stopped."""
    wait = source.wait_s
    for left in reversed(range(source.attempts)):
        try:
            _one_attempt(url, partial, source)
            return
        except _UnavailableError as problem:
            if problem.final or not left:
                raise
            time.sleep(min(wait if problem.wait_s is None else problem.wait_s, _LONGEST_WAIT_S))
            wait *= 2


def _one_attempt(url: str, partial: Path, source: Source) -> None:
    import requests  # what only reads a configuration does without

    have = partial.stat().st_size if partial.is_file() else 0
    # Bytes as they are stored: "identity" keeps a server from packing the file once more.
    headers = {"User-Agent": f"hydra-bench/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with requests.get(url, headers=headers, stream=True, timeout=source.timeout_s) as answer:
            if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
                partial.unlink()
                raise _UnavailableError("the rest of a broken transfer is not to be had")
            if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
                retry = answer.status_code in _WORTH_RETRYING
                raise _UnavailableError(f"HTTP {answer.status_code} {answer.reason}", not retry, _retry_after(answer))
            expected = answer.headers.get("Content-Length")
            answer.raw.enforce_content_length = False  # it would throw away what came before a break; checked below
            with open(partial, "ab" if answer.status_code == requests.codes.partial_content else "wb") as file:
                before = file.tell()
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                got = file.tell() - before
            if expected is not None and got != int(expected):
                raise _UnavailableError(f"broke off after {before + got} of {before + int(expected)} bytes")
    except requests.Timeout:
        raise _UnavailableError(f"no answer within {source.timeout_s:g} s") from None
    except requests.RequestException as error:
        raise _UnavailableError(_plain(error)) from None


def _retry_after(answer: requests.Response) -> float | None:
    """How long the server asks to be left alone, in seconds."""
    value = answer.headers.get("Retry-After", "")
    if value.isdigit():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None


def _plain(error: Exception) -> str:
    """The innermost cause of a network error, on one line."""
    while (inner := error.__cause__ or error.__context__) is not None and isinstance(inner, Exception):
        error = inner
    return " ".join(f"{type(error).__name__}: {error}".split())


def unusable(path: Path, entry: str) -> str:
    """Why a file cannot be the gzipped mmCIF of an entry; empty if it can."""
    import gemmi

    try:
        with gzip.open(path) as file:
            text = file.read()
    except (OSError, EOFError, zlib.error) as error:
        return f"what came is no whole gzip file ({error})"
    try:
        block = gemmi.cif.read_string(text.decode()).sole_block()
    except (RuntimeError, ValueError) as error:
        return f"what came is no mmCIF ({' '.join(str(error).split())})"
    name = gemmi.cif.as_string(block.find_value("_entry.id") or block.name)
    if name.lower() != entry.lower():
        return f"what came is entry {name}"
    return "" if block.find_loop("_atom_site.id") else "what came holds no atoms"
