"""A server of entries that answers whatever it likes: the next one is asked, in time, and the cache stays right."""

from __future__ import annotations

import gzip
import random
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import gemmi
import pytest
from structure_files import domain, write_cif
from tally import Tally

from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json, sha256
from hydra_bench.datasets.simulated.fetching import Source, fetch

GROUP = "fetches"
Answer = Callable[[socket.socket], None]
LENGTHS = (
    *(b"abc", b"-1", b"5, 5", b"9" * 5000, b"0x10", b"1e3", b"12 3", b"1" * 15, b"+5", "²".encode()),
    b"5\r\nContent-Length: 6",
)
WAITS = (
    *(b"-1", b"nan", b"1e9", b"9" * 400, b"", b"soon", b"86400", "²".encode()),
    *(b"Wed, 99 Foo 2020 99:99:99 GMT", b"Fri, 31 Dec 9999 23:59:59 GMT"),
)
PLACES = (
    *(b"http://[", b"http://:x/", b"", b"file:///etc/passwd", b"ftp://x/", b"//", b"http://", b"http://127.0.0.1:1/x"),
    *(b"http://me:secret@127.0.0.1:1/", b"http://[::1", "http://é é/".encode(), b"\x00", b"?again"),
    b"http://127.0.0.1:99999/",
)
STATUSES = (
    *(b"HTTP/1.1 999 x", b"HTTP/9.9 200 OK", b"garbage", b"HTTP/1.1 abc", b"HTTP/1.1 204 x", b"HTTP/1.1 301 x"),
    *(b"HTTP/1.1 416 x", b"HTTP/1.1 418 x", b"HTTP/1.1 500 " + b"x" * 5000, b"\x00\xff"),
)
TIMEOUT_S, TOTAL_S, LONGEST_S = 0.3, 0.6, 5.0
MAX_MB = 1.0


def entry(folder: Path, name: str, atoms: int) -> bytes:
    """An entry as the sites have it."""
    path = folder / f"{name}-{atoms}.cif"
    write_cif(path, A=domain(atoms, 0, (0, 0, 0)))
    document = gemmi.cif.read(str(path))
    document[0].name = name.upper()
    document[0].set_pair("_entry.id", name.upper())
    return gzip.compress(document.as_string().encode(), mtime=0)


def raw(*parts: bytes) -> Answer:
    return lambda client: client.sendall(b"".join(parts))


def ok(body: bytes, *headers: bytes, status: bytes = b"HTTP/1.1 200 OK") -> Answer:
    return raw(b"\r\n".join([status, *headers, b"Connection: close", b"", b""]), body)


def whole(body: bytes) -> Answer:
    return ok(body, b"Content-Length: %d" % len(body))


def repeated(first: bytes, again: bytes, pause_s: float) -> Answer:
    """What never ends, unless the client goes."""

    def answer(client: socket.socket) -> None:
        client.sendall(first)
        while True:
            client.sendall(again)
            time.sleep(pause_s)

    return answer


def answers(good: bytes, other: bytes) -> dict[str, Answer]:
    """Every wrong answer by its name."""
    draw = random.Random(17)
    made: dict[str, Answer] = {}
    for value in LENGTHS:
        made[f"Content-Length: {value[:20]!r}"] = ok(good, b"Content-Length: " + value)
    for value in WAITS:
        busy = b"HTTP/1.1 503 x"
        made[f"Retry-After: {value[:20]!r}"] = ok(b"", b"Retry-After: " + value, b"Content-Length: 0", status=busy)
    for value in PLACES:
        elsewhere = b"HTTP/1.1 302 x"
        made[f"Location: {value!r}"] = ok(b"", b"Location: " + value, b"Content-Length: 0", status=elsewhere)
    for status in STATUSES:
        made[f"status {status[:20]!r}"] = ok(b"", b"Content-Length: 0", status=status)
    made["nothing"] = raw()
    made["headers cut off"] = raw(b"HTTP/1.1 200 OK\r\nContent-")
    made["a header of 70 kB"] = ok(good, b"X: " + b"x" * 70000)
    made["a thousand headers"] = ok(good, *[b"X: %d" % n for n in range(1000)])
    for size in (b"zz", b"-5", b"f" * 20, b"", b"5;x"):
        made[f"a chunk of size {size!r}"] = ok(size + b"\r\nhello\r\n", b"Transfer-Encoding: chunked")
    for number in range(8):
        made[f"cut off, {number}"] = whole(good[: draw.randrange(len(good))])
        flipped = bytearray(good)
        flipped[draw.randrange(20, len(good))] ^= 1 << draw.randrange(8)
        made[f"a bit flipped, {number}"] = whole(bytes(flipped))
    for name, body in {
        "another entry": other,
        "a page": b"<html>not here</html>",
        "a packed page": gzip.compress(b"<html>"),
        "no bytes": b"",
        "no atoms": gzip.compress(b"data_1ABC\n_entry.id 1ABC\n"),
        "no text": gzip.compress(b"\xff\xfe\x00"),
        "a bomb": gzip.compress(bytes(30_000_000)),
    }.items():
        made[name] = whole(body)
    made["a byte now and then"] = repeated(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.1)
    made["a header now and then"] = repeated(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.1)
    made["a header without an end"] = repeated(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.1)
    made["continue without an end"] = repeated(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01)
    made["bytes without an end"] = repeated(b"HTTP/1.1 200 OK\r\n\r\n", bytes(100_000), 0.0)
    made["a length of a terabyte"] = ok(b"x", b"Content-Length: 1000000000000")
    made["silence"] = lambda client: time.sleep(1.5 * TIMEOUT_S)
    return made


class Server:
    """Answers a path by the name in its first part; several names take turns."""

    def __init__(self) -> None:
        self.known: dict[str, Answer] = {}
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                asked = b""
                with suppress(OSError):
                    while b"\r\n\r\n" not in asked and (part := self.request.recv(65536)):
                        asked += part
                    number = asked.split(b"/")[1].split(b"?")[0].decode()
                    server.known[number](self.request)
                    self.request.shutdown(socket.SHUT_WR)

        class Quiet(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass

        self.tcp = Quiet(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.tcp.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def mirror(self, name: str, password: str = "") -> str:
        return f"http://{password}127.0.0.1:{self.tcp.server_address[1]}/{name}/{{entry}}"

    def source(self, cache: Path, *names: str, password: str = "") -> Source:
        mirrors = [self.mirror(name, password) for name in names]
        return Source(cache, mirrors, False, TIMEOUT_S, TOTAL_S, MAX_MB, attempts=2, wait_s=0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.tcp.shutdown()
    server.tcp.server_close()


def wrong_cache(cache: Path, content: list[bytes]) -> str | None:
    """What is wrong with a cache that holds the entry: only it and its record, which agree."""
    names = sorted(path.name for path in cache.iterdir())
    if names != ["1abc.cif.gz", "1abc.cif.gz.json"]:
        return f"the cache holds {names}"
    path = cache / "1abc.cif.gz"
    record = read_json(cache / "1abc.cif.gz.json")
    if path.read_bytes() not in content:
        return "the cache holds something else"
    return None if record["sha256"] == sha256(path) and record["bytes"] == path.stat().st_size else "its record differs"


def test_the_next_site_is_asked_whatever_the_first_one_says(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    good, other = entry(tmp_path, "1abc", 20), entry(tmp_path, "2xyz", 20)
    wrong_ones = answers(good, other)
    # A length that is right but longer than a number may be, or a site that cuts nothing off, is no wrong answer.
    server.known = {"good": whole(good)} | {str(number): answer for number, answer in enumerate(wrong_ones.values())}
    for number, name in enumerate(wrong_ones):
        cache = tmp_path / f"cache{number}"
        began = time.monotonic()
        try:
            fetch("1abc", server.source(cache, str(number), "good"))
            problem = wrong_cache(cache, [good])
        except Exception as error:
            problem = f"{type(error).__name__}: {str(error)[:300]}"
        took = time.monotonic() - began
        tally.check(GROUP, name, problem or (f"{took:.1f} s" if took > LONGEST_S else None))
    said = capsys.readouterr().err
    assert said.count("from http://127.0.0.1") == 2 * len(wrong_ones)


def test_with_no_other_site_it_is_a_line_without_the_password(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], tally: Tally
) -> None:
    good = entry(tmp_path, "1abc", 20)
    wrong_ones = answers(good, entry(tmp_path, "2xyz", 20))
    for number, name in enumerate(("Location: b'http://me:secret@127.0.0.1:1/'", "nothing", "a bomb", "cut off, 3")):
        server.known = {"bad": wrong_ones[name], "good": whole(good)}
        cache = tmp_path / f"cache{number}"
        with pytest.raises(InputError) as refusal:
            fetch("1abc", server.source(cache, "bad", password="me:secret@"))
        said = str(refusal.value) + capsys.readouterr().err
        hidden = "secret" not in said and str(refusal.value).count("\n") == 0
        tally.check(GROUP, f"alone: {name}", None if hidden and not cache.exists() else said)
        fetch("1abc", server.source(cache, "good", password="me:secret@"))
        kept = (cache / "1abc.cif.gz.json").read_text() + capsys.readouterr().err
        tally.check(GROUP, f"password in a record: {name}", kept if "secret" in kept else None)


def test_a_cache_that_is_none_is_a_line(server: Server, tmp_path: Path, tally: Tally) -> None:
    server.known = {"good": whole(entry(tmp_path, "1abc", 20))}
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone" / "too")
    for cache in (
        tmp_path / "file",
        tmp_path / "file" / "in",
        Path("/proc/cache"),
        Path("/sys/cache"),
        tmp_path / "nowhere",
    ):
        try:
            fetch("1abc", server.source(cache, "good"))
            problem = None if cache == tmp_path / "nowhere" else "it was taken"
        except InputError as error:
            problem = None if str(error).startswith(f"{cache}: entry '1abc' cannot be kept") else str(error)
        tally.check(GROUP, f"cache {cache}", problem)


@pytest.mark.parametrize("seed", range(4))
def test_fetches_at_once_agree_with_the_record(seed: int, server: Server, tmp_path: Path, tally: Tally) -> None:
    draw = random.Random(seed)
    versions = [entry(tmp_path, "1abc", 20 + number) for number in range(4)]
    server.known = {str(number): whole(version) for number, version in enumerate(versions)}
    cache = tmp_path / "cache"
    problems: list[str] = []

    def one(number: int, pause_s: float) -> None:
        time.sleep(pause_s)
        try:
            fetch("1abc", server.source(cache, str(number)))
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=one, args=(number, draw.uniform(0, 0.02))) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.check(GROUP, f"four at once, {seed}", "; ".join(problems) or wrong_cache(cache, versions))
