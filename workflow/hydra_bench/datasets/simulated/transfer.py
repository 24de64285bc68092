"""One file from one web server, whatever that answers: within a time and a size, and resumed where it breaks off.

The time limit of `requests` is one of silence, which a server that sends a byte now and then keeps for ever, as one
does with headers that go on, or answers "100 Continue" again and again. Here a timer ends the connection.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import PoolManager

from hydra_bench import __version__

_CHUNK_BYTES = 1 << 16
_LONGEST_WAIT_S = 30.0
_WORTH_RETRYING = (408, 425, 429, 500, 502, 503, 504)


class UnavailableError(Exception):
    """A server did not give the file; `final` if asking it again is no use."""

    def __init__(self, why: str, final: bool = False, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.final = final
        self.wait_s = wait_s


@dataclass(frozen=True)
class Limits:
    """timeout_s: longest silence; total_s: of all attempts together; max_bytes: of the file; attempts, and wait_s:
    before the second one, doubled each time, where the server does not ask for another wait.
    """

    timeout_s: float
    total_s: float
    max_bytes: float
    attempts: int
    wait_s: float


@dataclass
class _Deadline:
    """The moment when all is over; ends the connections that were opened until then."""

    total_s: float
    ends: float
    over: bool = False
    open: list[socket.socket] = field(default_factory=list)

    def watch(self, connection: socket.socket) -> None:
        # A handle of its own: TLS takes the first one's over.
        self.open.append(socket.socket(fileno=os.dup(connection.fileno())))

    def end(self) -> None:
        self.over = True
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                continue

    @property
    def error(self) -> UnavailableError:
        return UnavailableError(f"no whole answer within {self.total_s:g} s", final=True)


def download(url: str, target: Path, limits: Limits) -> None:
    """All attempts at one address, each going on where the one before stopped.

    Raises UnavailableError if the server does not give the file, and OSError if it cannot be written.
    """
    deadline = _Deadline(limits.total_s, time.monotonic() + limits.total_s)
    timer = threading.Timer(limits.total_s, deadline.end)
    timer.daemon = True
    timer.start()
    wait = limits.wait_s
    try:
        for left in reversed(range(limits.attempts)):
            try:
                _one_attempt(url, target, limits, deadline)
                return
            except UnavailableError as problem:
                if deadline.over:
                    raise deadline.error from None
                if problem.final or not left:
                    raise
                pause = min(wait if problem.wait_s is None else problem.wait_s, _LONGEST_WAIT_S)
                if time.monotonic() + pause > deadline.ends:
                    raise
                time.sleep(pause)
                wait *= 2
    finally:
        timer.cancel()
        for connection in deadline.open:
            connection.close()


def _one_attempt(url: str, target: Path, limits: Limits, deadline: _Deadline) -> None:
    have = target.stat().st_size
    with _answer(url, have, limits, deadline) as answer:
        if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
            os.truncate(target, 0)
            raise UnavailableError("the rest of a broken transfer is not to be had")
        if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
            retry = answer.status_code in _WORTH_RETRYING
            what = f"HTTP {answer.status_code} {answer.reason}"[:200]
            raise UnavailableError(what, not retry, _retry_after(answer.headers.get("Retry-After", "")))
        expected = _length(answer.headers.get("Content-Length"))
        goes_on = answer.status_code == requests.codes.partial_content
        with open(target, "ab" if goes_on else "wb") as file:
            before = have if goes_on else 0
            got = before
            _check_size(before + (expected or 0), limits)
            for chunk in _chunks(answer, deadline):
                got += len(chunk)
                _check_size(got, limits)
                file.write(chunk)
    if expected is not None and got != before + expected:
        raise UnavailableError(f"broke off after {got} of {before + expected} bytes")


@contextmanager
def _answer(url: str, have: int, limits: Limits, deadline: _Deadline) -> Iterator[requests.Response]:
    """The server's answer, of which nothing has been read but the headers."""
    # Bytes as they are stored: "identity" keeps a server from packing the file once more.
    headers = {"User-Agent": f"hydra-bench/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Watched(deadline))
        with _unavailable(limits, deadline):
            answer = session.get(url, headers=headers, stream=True, timeout=limits.timeout_s)
        with answer:
            answer.raw.enforce_content_length = False  # it would throw away what came before a break
            answer.raw.decode_content = False  # nor is anything unpacked on the way, to any size
            yield answer


def _chunks(answer: requests.Response, deadline: _Deadline) -> Iterator[bytes]:
    while True:
        with _unavailable(None, deadline):
            chunk: bytes = answer.raw.read(_CHUNK_BYTES)
        if deadline.over:
            raise deadline.error
        if not chunk:
            return
        yield chunk


@contextmanager
def _unavailable(limits: Limits | None, deadline: _Deadline) -> Iterator[None]:
    """Whatever the network raises is the server's fault, a malformed address that it sends us on to, too."""
    try:
        yield
    except requests.Timeout:
        raise UnavailableError(f"no answer within {limits.timeout_s:g} s" if limits else "fell silent") from None
    except (requests.RequestException, HTTPError, OSError, ValueError, LookupError) as error:
        if deadline.over:
            raise deadline.error from None
        raise UnavailableError(_plain(error)) from None


class _Watched(HTTPAdapter):
    """Hands every connection that is opened to a deadline."""

    def __init__(self, deadline: _Deadline) -> None:
        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                connection = super()._new_conn()
                deadline.watch(connection)
                return connection

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                connection = super()._new_conn()
                deadline.watch(connection)
                return connection

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self._pools = {"http": PlainPool, "https": SecurePool}
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # as requests hands them on
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> PoolManager:  # as above
        manager: PoolManager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _check_size(n_bytes: float, limits: Limits) -> None:
    if n_bytes > limits.max_bytes:
        raise UnavailableError(f"larger than {limits.max_bytes / 1e6:,g} MB (fetching.max_mb)", final=True)


def _length(value: str | None) -> int | None:
    """What Content-Length says."""
    if value is not None and not re.fullmatch(r"[0-9]{1,15}", value):
        raise UnavailableError(f"malformed answer (Content-Length: {value[:50]})", final=True)
    return None if value is None else int(value)


def _retry_after(value: str) -> float | None:
    """How long the server asks to be left alone, in seconds."""
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, LookupError, OverflowError):
        return None


def _plain(error: Exception) -> str:
    """The innermost cause of a network error, on one line."""
    while (inner := error.__cause__ or error.__context__) is not None and isinstance(inner, Exception):
        error = inner
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
