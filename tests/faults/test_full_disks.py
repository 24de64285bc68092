"""A full disk at any write of any command: one line, exit 2, nothing half-written; with room again, the same bytes.

Every write of a command is tried while it runs once (faults.py says how). Hydra, the bounds, the evaluation and the
report are the real ones, on a stack of 60 images.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from cryosparc_job import ABINIT_MAPS, Job
from definitions import dataset
from hydra_cases import TINY, Case
from tally import Tally
from test_fetches import entry
from warm import Ended, Warm

from faults import KINDS
from hydra_bench.cli import main

GROUP, AGAIN = "full disks at a write", "the same call with room again"
ROOT = Path(__file__).parents[2]
STRUCTURES = ROOT / "resources" / "structures"
OF_COST = ("run.json", "history.csv", "attempts.jsonl", "log.txt", "0.log", "cost.csv", "index.html", "hydra.pt",
           "hydra.pt.previous", "out.checkpoint", "out.checkpoint.previous", "bench.json", "bench.md", "oracle.json",
           "ro-crate-metadata.json", "ro-crate-preview.html")  # fmt: skip
"""Files that say what a run cost, where and when; all others must have the same bytes."""
DATASET = {"name": "tiny", **dataset()}
METHODS = {
    "mixture": {"program": "hydra", "label": "Hydra", "parameters": {"classes": 2, "latent_dim": 1}},
    "oracle": {"program": "backprojection", "label": "Oracle", "parameters": {"labels": "true"}},
}
CONFIGURATION = {
    "datasets": ["tiny"],
    "methods": list(METHODS),
    "structures_folder": str(STRUCTURES),
    "dataset_definitions": {
        "tiny": {
            "species": {s: {"entry": "6zu5", "chains": [f"{s}A0"], "images": 30} for s in ("L", "S")},
            "simulation": {"box_px": 48, "pixel_size_A": 6.6, "delivered_box_px": 32},
        }
    },
    "method_definitions": METHODS,
}


@dataclass(frozen=True)
class Command:
    """A command and its arguments in a folder that has `results`.

    fresh : what is removed before it runs. only_reads : why it writes nothing, if it does not.
    """

    arguments: Callable[[Path], list[str]]
    fresh: str = "new"
    only_reads: str = ""


def of_run(program: str, parameters: dict[str, Any], name: str = "run") -> list[str]:
    """What a method's command is given."""
    stack = Path("results/datasets/tiny/stack")
    definition = {"name": name, "program": program, "parameters": parameters}
    return ["--definition", json.dumps(definition), "--particles", str(stack / "particles.star"), "--evaluation-list",
            str(stack / "evaluation_particles.txt"), "--threads", "1"]  # fmt: skip


def listed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them."""
    return json.loads(json.dumps(settings))  # type: ignore[no-any-return]


def metrics(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in sorted(folder.glob("results/metrics/tiny/*/0.json"))]


TRUTH = "results/datasets/tiny/truth"
HYDRA = [*of_run("hydra", listed(TINY)), "--resume", "--keep-checkpoint"]
ORACLE = [*of_run("backprojection", {"labels": "true", "mask": "none", "coordinates": "none"}), "--truth", TRUTH]


def evaluate(method: str, out: str) -> list[str]:
    stack, run = "results/datasets/tiny/stack", f"results/reconstructions/tiny/{method}/0"
    named = ["--dataset", "tiny", "--method", method, "--label", method]
    files = ["--particles", f"{stack}/particles.star", "--truth", TRUTH, "--reconstruction", run]
    return ["evaluate", *named, *files, "--out", f"{out}/0.json", "--aligned", f"{out}/0_aligned"]


def launched(command: list[str]) -> list[str]:
    return ["launch", "--state", "new/state", "--out", "new/out", "--log", "new/0.log", "--", *command]


def paper(figure: str) -> Callable[[Path], list[str]]:
    return lambda folder: ["figure", figure, "--dataset", "tiny", "--metrics", *metrics(folder), "--out", "new/figure"]


COMMANDS: dict[str, Command] = {
    "simulate": Command(
        lambda _: ["simulate", "--definition", json.dumps(DATASET), "--structures", str(STRUCTURES), "--stack",
                   "new/stack", "--truth", "new/truth", "--threads", "1"]),
    "gallery": Command(
        lambda _: ["gallery", "--particles", "results/datasets/tiny/stack/particles.star", "--truth", TRUTH, "--out",
                   "new/gallery.png"]),
    "bound": Command(lambda _: ["bound", *ORACLE, "--out", "new/out"]),
    "hydra": Command(lambda _: ["hydra", *HYDRA, "--out", "new/out", "--checkpoint", "new/state/hydra.pt"]),
    "hydra, a checkpoint after each chunk": Command(
        lambda _: ["hydra", *HYDRA, "--out", "new/out", "--checkpoint-minutes", "0"]),
    "hydra-volume": Command(
        lambda _: ["hydra-volume", "--run", "results/reconstructions/tiny/mixture/0", "--class", "1", "--kmeans", "2",
                   "--out", "new/volumes"]),
    "analyse": Command(
        lambda _: ["analyse", "results/reconstructions/tiny/mixture/0", "--points", "2", "--clusters", "2"],
        fresh="results/reconstructions/tiny/mixture/0/analysis"),
    "select": Command(
        lambda _: ["select", "results/reconstructions/tiny/mixture/0", "--class", "1", "--out", "new/chosen.star"]),
    "select, a list of rows for each class": Command(
        lambda _: ["select", "results/reconstructions/tiny/mixture/0", "--one-a-class", "--out", "new/rows.npy"]),
    "reconstruct": Command(
        lambda _: ["reconstruct", *of_run("cryosparc_import", {"job": "P3/J42"}), "--state", "new/state", "--out",
                   "new/out"]),
    "evaluate": Command(lambda _: evaluate("oracle", "new")),
    "launch": Command(lambda _: launched(["sh", "-c", "mkdir -p new/out && cp results/run.json new/out"])),
    "tables": Command(lambda folder: ["tables", "--metrics", *metrics(folder), "--out", "new/tables"]),
    "figures": Command(lambda folder: ["figures", "--metrics", *metrics(folder), "--out", "new/figures"]),
    "page": Command(
        lambda folder: ["page", "--metrics", *metrics(folder), "--tables", "results/tables", "--figures",
                        "results/figures", "--out", "new/index.html"]),
    "figure": Command(paper("fig2")),
    "figure, the supplement": Command(paper("figs")),
    "compare": Command(lambda _: ["compare", "results", "results", "--out", "new/compared.csv"]),
    "summarise": Command(
        lambda _: ["summarise", "--configuration", "results/configuration.json", "--results", "results"],
        fresh="results/tables"),
    "start": Command(lambda _: ["start", "--configuration", json.dumps(CONFIGURATION), "--results", "new"]),
    "board": Command(
        lambda _: ["board", "add", "results/reconstructions/tiny/oracle/0", "--by", "A. Person", "--dataset",
                   "results/datasets/tiny", "--board", "new"]),
    "board, an archive": Command(
        lambda _: ["board", "add", "handed_in.zip", "--by", "A. Person", "--method", "oracle", "--board", "new"]),
    "archive": Command(lambda _: ["archive", "handed_in", "--out", "new/run.zip"]),
    "bench": Command(
        lambda _: ["bench", "--work", "new/work", "--out", "new/bench", "--cases", "tiny", "--definitions",
                   "bench.yaml", "--structures", str(STRUCTURES), "--threads", "1", "--device", "cpu"]),
    "dataset": Command(lambda _: ["dataset", "check", "c.yaml", "--gallery", "new"]),
    "dataset, without a gallery": Command(lambda _: ["dataset", "check", "c.yaml"], only_reads="it prints"),
    "dataset, degraded": Command(
        lambda _: ["dataset", "degrade", "results/datasets/tiny/stack/particles.star", "--out", "new/degraded",
                   "--noise-excess", "1"]),
    "dataset, fetched": Command(lambda _: ["dataset", "fetch", "fetched.yaml"]),
    "check-config": Command(lambda _: ["check-config", "c.yaml"], only_reads="it checks"),
    "doctor": Command(lambda _: ["doctor", "--configuration", "c.yaml"], only_reads="it prints its findings"),
}  # fmt: skip


BENCH = {
    "dataset_definitions": {
        "tiny": {
            "species": {"S": {"entry": "6zu5", "chains": ["SA0"], "images": 20}},
            "simulation": {"box_px": 48, "pixel_size_A": 6.6, "delivered_box_px": 16},
            "evaluation_particles_per_class": 1,
        }
    },
    "quick": {"images": 30, "particles": 60, "simulation": {}, "parameters": {}},
    "cases": {
        "tiny": {
            "kind": "training",
            "about": "a training of a moment, and its maps",
            "dataset": "tiny",
            "parameters": {**listed(TINY), "classes": 1, "spare_fields": 0},
            "seeds": [0],
            "quality": True,
        }
    },
}


@contextmanager
def entries(folder: Path) -> Iterator[str]:
    """The address of a site of entries, which has 1abc.cif.gz."""
    folder.mkdir()
    (folder / "1abc.cif.gz").write_bytes(entry(folder, "1abc", 40))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{{entry}}.cif.gz"
        server.shutdown()


@pytest.fixture(scope="module")
def results(case: Case, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder as the workflow leaves it, with a dataset, two methods and a report."""
    with entries(tmp_path_factory.mktemp("site") / "entries") as site:
        fetched = {"tiny": {"species": {"a": {"entry": "1abc", "images": 30}}}}
        fetching = {"mirrors": [site], "cache": "new/cache", "attempts": 1}
        folder = tmp_path_factory.mktemp("results")
        content = CONFIGURATION | {"dataset_definitions": fetched, "fetching": fetching}
        (folder / "fetched.yaml").write_text(yaml.safe_dump(content))
        fill(folder, case, warm)
        yield folder


def fill(folder: Path, case: Case, warm: Warm) -> None:
    (folder / "c.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    (folder / "bench.yaml").write_text(yaml.safe_dump(BENCH))
    shutil.copytree(case.folder.parent, folder / "results" / "datasets" / "tiny")
    job = Job(folder / "P3" / "J42", case)
    job.write("J42_final_particles.cs", job.fields() | job.multi())
    job.write_maps(ABINIT_MAPS)
    runs = "results/reconstructions/tiny"
    for arguments in (
        ["hydra", *HYDRA, "--out", f"{runs}/mixture/0"],
        ["bound", *ORACLE, "--out", f"{runs}/oracle/0"],
        evaluate("mixture", "results/metrics/tiny/mixture"),
        evaluate("oracle", "results/metrics/tiny/oracle"),
    ):
        ended = warm.run(*arguments, cwd=folder)
        assert ended.status == 0, ended.err
    shutil.copy(folder / runs / "oracle" / "0" / "run.json", folder / "results")
    from hydra_bench.config.configuration import load, validate
    from hydra_bench.config.identity import write_configuration

    write_configuration(folder / "results" / "configuration.json", validate(load([folder / "c.yaml"])))
    hand_in(folder)
    for name in ("summarise", "archive"):
        ended = warm.run(*COMMANDS[name].arguments(folder), cwd=folder, CLONE=str(folder / "clone"))
        assert ended.status == 0, ended.err
    (folder / "new" / "run.zip").rename(folder / "handed_in.zip")
    (folder / "new").rmdir()


def hand_in(folder: Path) -> None:
    """What an archive is made of: the results of one method, and a workflow of two files."""
    for part in ("datasets", "metrics/tiny/oracle", "reconstructions/tiny/oracle"):
        shutil.copytree(folder / "results" / part, folder / "handed_in" / part)
    shutil.copy(folder / "results" / "configuration.json", folder / "handed_in")
    (folder / "clone" / "workflow").mkdir(parents=True)
    for name in ("Snakefile", "workflow/Snakefile", "CITATION.cff"):
        shutil.copy(ROOT / name, folder / "clone" / name)


def content(folder: Path) -> dict[str, object]:
    """All files but those that say what a run cost; of an archive, what it holds."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".zip":
            with ZipFile(path) as archive:
                entries = [(entry.filename, entry.CRC) for entry in archive.infolist()]
            found[str(path.relative_to(folder))] = [(name, crc) for name, crc in entries if name not in OF_COST]
        elif path.is_file() and path.name not in OF_COST:
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def test_every_command_has_its_full_disks() -> None:
    assert {name.partition(",")[0] for name in COMMANDS} == set(main.COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_is_full_at_any_write(name: str, results: Path, warm: Warm, tmp_path: Path, tally: Tally) -> None:
    command = COMMANDS[name]
    folder, report = Path(shutil.copytree(results, tmp_path / "folder")), tmp_path / "report"
    shutil.rmtree(folder / command.fresh, ignore_errors=True)
    report.mkdir()
    (folder / "tmp").mkdir()  # its temporary files are on that disk, too
    ended = run(warm, command, folder, FAULT=f"each:{report}:{folder}:{name}")
    assert ended.status == 0, ended.err
    writes = len(list(report.glob("[0-9]*.json")))
    for number in range(1, writes + 1):
        at, problem = how_ended(report, str(number))
        tally.check(GROUP, f"{name}, write {at}", problem)
    print(f"{name}: {writes} writes")
    assert bool(writes) != bool(command.only_reads), f"{writes} writes; {command.only_reads}"
    expected = content(folder)
    for kind in KINDS if writes else ():
        at, problem = how_ended(report, kind) if kind == "EIO" else ("", None)
        again = run(warm, command, report / kind)
        found = content(report / kind)
        differ = [path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path)]
        wrong = problem or again.wrong(0) or (f"differ: {differ}" if differ else None)
        tally.check(AGAIN, f"{name}, after {kind} at write {at}", wrong)


def run(warm: Warm, command: Command, folder: Path, **environment: str) -> Ended:
    """Run a command in a folder whose `tmp` is that for temporary files."""
    variables = {"TMPDIR": str(folder / "tmp"), "CLONE": str(folder / "clone"), **environment}
    return warm.run(*command.arguments(folder), cwd=folder, **variables)


def how_ended(report: Path, name: str) -> tuple[str, str | None]:
    """At which write a disk was full, and what is wrong with how the command then ended."""
    child = json.loads((report / f"{name}.json").read_text())
    return child["at"], wrong(child, (report / f"{name}.err").read_text(errors="replace"))


def wrong(child: dict[str, Any], said: str) -> str | None:
    """What is wrong with how a command ended on a full disk."""
    if "Traceback (most recent call last)" in said or "Exception ignored" in said:
        return f"a traceback:\n{said}"
    if child["status"] != 2:
        return f"exit status {child['status']}; 2 is expected\n{said}"
    if len([line for line in said.splitlines() if line.startswith("hydra-bench: error: ")]) != 1:
        return f"not one line of error:\n{said}"
    return f"left: {child['left']}" if child["left"] else None
