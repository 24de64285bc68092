"""Entries by id, from a server on this machine that answers rightly, wrongly, slowly, partly or not at all."""

from __future__ import annotations

import gzip
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gemmi
import pytest

from hydra_bench.cli.main import main
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json, sha256
from hydra_bench.core.yaml_files import read_yaml
from hydra_bench.datasets.simulated.entries import find_entry
from hydra_bench.datasets.simulated.fetching import Source, check_cached, ensure, fetch
from hydra_bench.datasets.simulated.structures import load_atoms


def entry_text(name: str = "1ABC") -> str:
    """A small mmCIF file as the archive has them, of a hundred atoms."""
    model, chain = gemmi.Model(1), gemmi.Chain("A")
    for i in range(100):
        residue, atom = gemmi.Residue(), gemmi.Atom()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(i + 1, " ")
        atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(i, i % 7, i % 3)
        residue.add_atom(atom)
        chain.add_residue(residue)
    structure = gemmi.Structure()
    structure.name = name
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    return structure.make_mmcif_document().as_string()


RIGHT = gzip.compress(entry_text().encode(), mtime=0)
OTHER = gzip.compress(entry_text("2XYZ").encode(), mtime=0)


@dataclass
class Server:
    """What it answers under each path, one answer after the other, the last one for good; and what it was asked."""

    url: str
    answers: dict[str, list[Callable[[BaseHTTPRequestHandler], None]]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)

    def source(self, cache: Path, *mirrors: str, **settings: object) -> Source:
        urls = tuple(f"{self.url}/{mirror}/{{middle}}/{{entry}}.cif.gz" for mirror in mirrors)
        return Source(cache, urls, **{"timeout_s": 5, "attempts": 2, "wait_s": 0.01, **settings})


def whole(content: bytes = RIGHT) -> Callable[[BaseHTTPRequestHandler], None]:
    """The file, or the rest of it if that is asked for."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        request.wfile.write(content[start:])

    return answer


def status(code: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def truncated(
    n_bytes: int, content: bytes = RIGHT, says: int | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Some bytes of the file, of which the header promises all, or `says`."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content) if says is None else says))
        request.end_headers()
        request.wfile.write(content[:n_bytes])

    return answer


def slow(seconds: float) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        whole()(request)

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror = self.path.split("/")[1]
            state.asked[mirror] += 1
            if "Range" in self.headers:
                state.ranges.append(self.headers["Range"])
            assert self.path == f"/{mirror}/ab/1abc.cif.gz"
            left = state.answers[mirror]
            (left.pop(0) if len(left) > 1 else left[0])(self)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:  # a client that went away is what some tests are about
            pass

    http = Quiet(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(InputError) as error:
        work()
    assert "\n" not in str(error.value)
    return str(error.value)


def nothing_but(cache: Path, *names: str) -> bool:
    return sorted(path.name for path in cache.glob("*")) == sorted(names)


def test_an_entry_is_fetched_recorded_and_used(server: Server, tmp_path: Path) -> None:
    server.answers["a"] = [whole()]
    source = server.source(tmp_path / "cache", "a")
    ensure(["1ABC", "1abc"], tmp_path, source)
    assert server.asked == {"a": 1}
    path = tmp_path / "cache" / "1abc.cif.gz"
    assert path.read_bytes() == RIGHT
    record = read_json(tmp_path / "cache" / "1abc.cif.gz.json")
    assert (record["bytes"], record["sha256"]) == (len(RIGHT), sha256(path))
    assert record["url"] == f"{server.url}/a/ab/1abc.cif.gz"
    assert nothing_but(tmp_path / "cache", "1abc.cif.gz", "1abc.cif.gz.json")
    assert len(load_atoms([tmp_path, tmp_path / "cache"], "1abc").positions_A) == 100
    ensure(["1abc"], tmp_path, source)
    assert server.asked == {"a": 1}


def test_an_entry_in_the_folder_is_not_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "1abc.cif").write_text(entry_text())
    ensure(["1abc"], tmp_path, server.source(tmp_path / "cache", "a"))
    assert not server.asked


def test_a_changed_file_in_the_cache_is_refused(server: Server, tmp_path: Path) -> None:
    server.answers["a"] = [whole()]
    source = server.source(tmp_path, "a")
    path = fetch("1abc", source)
    path.write_bytes(OTHER)
    for work in (lambda: check_cached(path), lambda: ensure(["1abc"], tmp_path / "mine", source)):
        assert f"{path}: is not what was fetched from" in refused(work)
    (tmp_path / "1abc.cif.gz.json").unlink()
    assert "nothing is recorded of it" in refused(lambda: check_cached(path))


@pytest.mark.parametrize(
    ("answer", "asked", "said"),
    [
        (status(404), 1, "HTTP 404"),
        (status(503), 2, "HTTP 503"),
        (status(500), 2, "HTTP 500"),
        (whole(b"<html>not here</html>"), 1, "no whole gzip file"),
        (whole(gzip.compress(b"<html>")), 1, "no mmCIF"),
        (whole(gzip.compress(b"data_1ABC\n_entry.id 1ABC\n")), 1, "no atoms"),
        (whole(OTHER), 1, "what came is entry 2XYZ"),
        (truncated(300, says=300), 1, "no whole gzip file"),
    ],
)
def test_the_next_mirror_is_asked(
    server: Server, tmp_path: Path, answer: Callable, asked: int, said: str, capsys: pytest.CaptureFixture
) -> None:
    server.answers = {"bad": [answer], "good": [whole()]}
    assert fetch("1abc", server.source(tmp_path / "cache", "bad", "good")).read_bytes() == RIGHT
    assert server.asked == {"bad": asked, "good": 1}
    assert [line.split("/")[3] for line in capsys.readouterr().err.splitlines()] == ["bad", "good"]
    message = refused(lambda: fetch("1abc", server.source(tmp_path / "other", "bad")))
    assert said in message
    assert f"{server.url}/bad/ab/1abc.cif.gz" in message
    assert nothing_but(tmp_path / "other")


def test_a_transfer_that_breaks_off_is_resumed(server: Server, tmp_path: Path) -> None:
    server.answers["a"] = [truncated(400), whole()]
    assert fetch("1abc", server.source(tmp_path, "a")).read_bytes() == RIGHT
    assert server.ranges == ["bytes=400-"]


def test_a_server_that_cannot_resume_is_taken_from_the_start(server: Server, tmp_path: Path) -> None:
    server.answers["a"] = [truncated(400), truncated(len(RIGHT))]
    assert fetch("1abc", server.source(tmp_path, "a")).read_bytes() == RIGHT


def test_a_file_that_changed_between_two_attempts_is_not_taken(server: Server, tmp_path: Path) -> None:
    server.answers["a"] = [truncated(400), whole(OTHER)]
    assert "no whole gzip file" in refused(lambda: fetch("1abc", server.source(tmp_path, "a")))
    assert nothing_but(tmp_path)


def test_a_silent_server_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers = {"slow": [slow(1.5)], "good": [whole()]}
    begun = time.monotonic()
    assert fetch("1abc", server.source(tmp_path, "slow", "good", timeout_s=0.2)).read_bytes() == RIGHT
    assert server.asked["slow"] == 2
    assert time.monotonic() - begun < 1.5


def test_a_slow_server_is_waited_for(server: Server, tmp_path: Path) -> None:
    server.answers["a"] = [slow(0.3)]
    assert fetch("1abc", server.source(tmp_path, "a")).is_file()


def test_a_server_that_asks_to_wait_is_obeyed(server: Server, tmp_path: Path) -> None:
    server.answers["a"] = [status(503, Retry_After="1"), whole()]
    begun = time.monotonic()
    fetch("1abc", server.source(tmp_path, "a"))
    assert time.monotonic() - begun > 0.9


def test_nobody_there(tmp_path: Path) -> None:
    source = Source(tmp_path, ("http://127.0.0.1:9/{entry}",), attempts=1, wait_s=0)
    assert "refused" in refused(lambda: fetch("1abc", source)).lower()


def test_offline_nothing_is_asked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(lambda: fetch("1abc", server.source(tmp_path, "a", offline=True)))
    assert "entry '1abc' is not there, and fetching is switched off" in message
    definition = {"cache": "c", "mirrors": ["m"], "offline": False, "timeout_s": 1, "attempts": 1, "wait_s": 0}
    for value, expected in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("HYDRA_BENCH_OFFLINE", value)
        assert Source.from_definition(definition).offline is expected
    assert not server.asked


def test_other_names_are_not_fetched_but_looked_for(server: Server, tmp_path: Path) -> None:
    source = server.source(tmp_path / "cache", "a")
    ensure(["mine", "./x.cif", "a1bc"], tmp_path, source)
    assert not server.asked
    (tmp_path / "1abc.pdb").write_text("")
    for entry, said in (("mine", "there are 1abc"), ("./x.cif", r"no such file")):
        assert said in refused(lambda entry=entry: find_entry([tmp_path, source.cache], entry))


@pytest.mark.parametrize(
    ("file", "asked"),
    [("4v5d_70S.cif.gz", "4v5d_70S"), ("1abc.cif", "1ABC"), ("1ABC.pdb", "1abc"), ("Mine.pdb.gz", "Mine")],
)
def test_what_is_listed_as_there_is_found(tmp_path: Path, file: str, asked: str) -> None:
    (tmp_path / file).write_text("")
    assert find_entry(tmp_path, asked) == tmp_path / file


def test_a_configuration_fetches_what_it_needs(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """From the command line: the first time over the network, then offline; what cannot be had names its key."""
    server.answers["a"] = [whole()]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "structures").mkdir()
    text = f"""
datasets: [d]
methods: [m]
structures_folder: structures
fetching: {{cache: cache, mirrors: ["{server.url}/a/{{middle}}/{{entry}}.cif.gz"], attempts: 1, wait_s: 0}}
dataset_definitions:
  d:
    entries: [1abc]
    images: 20
method_definitions:
  m: {{program: hydra, label: M}}
"""
    Path("c.yaml").write_text(text)
    assert main(["dataset", "fetch", "c.yaml"]) == 0
    assert (tmp_path / "cache" / "1abc.cif.gz").is_file()
    monkeypatch.setenv("HYDRA_BENCH_OFFLINE", "1")
    assert main(["dataset", "check", "c.yaml"]) == 0
    assert "1abc: 20 images, 1 kDa" in capsys.readouterr().out
    Path("c.yaml").write_text(text.replace("[1abc]", "[1abd]"))
    assert main(["check-config", "c.yaml"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "dataset_definitions.d.species.1abd.entry: entry '1abd' is not there, and fetching is switched off" in error
    assert read_yaml("c.yaml")["fetching"]["attempts"] == 1
