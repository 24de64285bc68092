"""Every reader of a file that somebody else may have written, with a good file of its kind."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gemmi
import numpy as np
import torch
from cryobench_archive import write_archive
from hydra_cases import Case
from particle_files import cs_blob, cs_ctf, cs_poses, joined, relion_30_table, relion_tables, save_cs, write_two_files
from report_results import make_results
from structure_files import domain, write_cif
from torch import nn

from hydra_bench.bench.definitions import load_cases
from hydra_bench.bench.results import Results as Measured
from hydra_bench.bench.results import describe_machine
from hydra_bench.config import by_hand
from hydra_bench.config import configuration as config
from hydra_bench.contracts.analysis import ParticleAnalysis, read_clusters, write_particle_analysis
from hydra_bench.contracts.reconstruction import (
    Assignments,
    Cost,
    Run,
    read_assignments,
    read_history_labels,
    read_run,
    write_assignments,
    write_run,
)
from hydra_bench.contracts.source import Source, read_source, write_source
from hydra_bench.contracts.stack import Stack, read_evaluation_list, read_stack
from hydra_bench.contracts.truth import judged_by, read_truth
from hydra_bench.core.checksums import check_checksums, write_checksums
from hydra_bench.core.files import sha256, write_json
from hydra_bench.core.mrc import read_map
from hydra_bench.core.star import write_star
from hydra_bench.datasets.simulated.fetching import check_cached
from hydra_bench.datasets.simulated.structures import load_atoms
from hydra_bench.jobs import attempts
from hydra_bench.methods.hydra.model.networks import Field
from hydra_bench.methods.hydra.output.reconstruction import read_fields
from hydra_bench.particles.cryodrgn import read_ctf_table, read_numbers, read_pose_table
from hydra_bench.particles.particle_files import read_labels, read_particles, read_poses, read_poses_and_classes
from hydra_bench.report.figures.convergence import convergence
from hydra_bench.report.figures.index import read_index
from hydra_bench.report.results import read_run as read_metrics
from hydra_bench.report.results import settings
from hydra_bench.report.tables.robustness import studies
from hydra_bench.report.tables.tables import write_tables
from hydra_bench.sharing.archive import unpacked, write_zip
from hydra_bench.sharing.board_page import write_page
from hydra_bench.sharing.identity import identity_of, read_sample, write_sample

ROOT = Path(__file__).parents[2]
N = 6
"""Particles of the small lists."""


ROW: dict[str, Any] = {
    "board_version": 1,
    "dataset": {"name": "d", "identity": "0" * 64, "n_particles": 9, "box_px": 32},
    "method": {"name": "m", "label": "M", "program": "p", "version": "1", "reads_truth": False},
    "by": "A. Person",
    "date": "2026-01-01",
    "seeds": [0, 1],
    "scores": {"clustering.ari": {"mean": 0.5, "low": 0.25, "high": None}},
    "cost": {"wall_s": 1.5, "peak_rss_mb": 300.0, "device": "cpu"},
    "re_derived": True,
    "differs": [],
}
MEASURED: dict[str, Any] = {
    "about": "a",
    "date": "2026-01-01",
    "commit": None,
    "warning": None,
    "load_average": [0.5, 0.25, 0.0],
    "state": "ok",
    "reason": "",
    "took_s": 1.5,
    "summary": [
        {"figure": "wall", "unit": "s", "runs": 1, "median": 1.5, "min": 1.5, "max": 1.5, "bar": None, "met": None}
    ],
}


@dataclass(frozen=True)
class Reader:
    """`file` is what is damaged; `read` reads it, and may raise InputError alone."""

    name: str
    file: Path
    read: Callable[[], object]


def readers(folder: Path, case: Case) -> list[Reader]:
    """Each with files in a folder of its own."""
    made = [*_of_configurations(folder / "configurations"), *_of_contracts(folder / "contracts", case)]
    made += [*_of_particles(folder / "particles"), *_of_tables(folder / "tables", case)]
    return [*made, *_of_structures(folder / "structures"), *_of_reports(folder / "reports")]


def _all_images(stack: Stack) -> object:
    return stack.read_images(np.arange(len(stack)))


def _of_configurations(folder: Path) -> list[Reader]:
    folder.mkdir()
    configuration, bench = folder / "c.yaml", folder / "bench.yaml"
    shutil.copy(ROOT / "config" / "config.yaml", configuration)
    shutil.copy(ROOT / "config" / "bench.yaml", bench)
    method = folder / "method.json"
    method.write_text(json.dumps({"name": "m", "program": "hydra", "parameters": {"classes": 3, "latent_dim": [1, 0]}}))
    mask = folder / "mask.yaml"
    mask.write_text("mask: {radius_A: 80}\nmerge_classes: {both: [1, 2], third: [3]}\n")
    return [
        Reader("configuration", configuration, lambda: config.validate(config.load([configuration]), [configuration])),
        Reader("cases of the benchmark", bench, lambda: load_cases(bench, [], None, False)),
        Reader("definition of a method", method, lambda: by_hand.method_definition(str(method))),
        Reader("definition of an evaluation", mask, lambda: by_hand.evaluation_definition(str(mask))),
    ]


def _of_contracts(folder: Path, case: Case) -> list[Reader]:
    stack, truth, run = folder / "stack", folder / "truth", folder / "run"
    shutil.copytree(case.folder, stack)
    shutil.copytree(case.folder.parent / "truth", truth)
    n = len(case.stack)
    write_run(run, Run("m", "hydra", "0", 0, {"classes": 2}, "cpu", "ok", "", n, Cost(1.0, 1.0, 1.0)))
    posteriors = np.random.default_rng(0).dirichlet((1, 1), n)
    given = Assignments(posteriors.argmax(1), posteriors, case.truth.rotations, case.truth.shifts_A, np.ones((n, 1)))
    write_assignments(run, given)
    np.save(run / "history_labels.npy", np.zeros((3, n), np.uint8))
    summed = Path(shutil.copytree(truth, folder / "summed"))
    write_checksums(summed)
    write_source(folder / "source", Source.of_stack(case.stack))
    write_particle_analysis(run / "analysis", ParticleAnalysis(np.arange(n) % 3, np.zeros((n, 1))))
    box, pixel_size_A = case.stack.box_px, case.stack.pixel_size_A
    field = Field(4, 8, 1, 1, 1.0, torch.ones(box // 2 + 1))
    content = {"shape": [4, 8, 1], "latent_dims": [1], "box_px": box, "pixel_size_A": pixel_size_A}
    torch.save(content | {"weights": nn.ModuleList([field]).state_dict()}, run / "fields.pt")
    sample = folder / "sample.mrcs"
    write_sample(folder, sample)
    star, evaluation = stack / "particles.star", stack / "evaluation_particles.txt"
    return [
        Reader("stack", star, lambda: read_stack(star)),
        Reader("images of a stack", stack / "particles.mrcs", lambda: _all_images(read_stack(star))),
        Reader("sample of an archive", sample, lambda: read_sample(sample)),
        Reader("evaluation list", evaluation, lambda: read_evaluation_list(evaluation, n)),
        Reader("truth", truth / "truth.star", lambda: read_truth(truth)),
        Reader("provenance", truth / "provenance.json", lambda: judged_by(truth)),
        Reader("checksums", summed / "SHA256SUMS", lambda: check_checksums(summed)),
        Reader("map", truth / "volumes" / "class_1.mrc", lambda: read_map(truth / "volumes" / "class_1.mrc")),
        Reader("run", run / "run.json", lambda: read_run(run)),
        Reader("assignments", run / "particles.star", lambda: read_assignments(run, n)),
        Reader("where particles came from", folder / "source" / "source.json", lambda: read_source(folder / "source")),
        Reader("rows of particles", folder / "source" / "rows.npy", lambda: read_source(folder / "source")),
        Reader("clusters", run / "analysis" / "particles.star", lambda: read_clusters(run, n)),
        Reader("fields", run / "fields.pt", lambda: read_fields(run)),
        Reader("identity of a dataset", truth / "provenance.json", lambda: identity_of(folder)),
        Reader("labels of a history", run / "history_labels.npy", lambda: read_history_labels(run, n)),
    ]


def _of_particles(folder: Path) -> list[Reader]:
    folder.mkdir()
    write_two_files(folder)
    new, old, cs, posed = folder / "new.star", folder / "old.star", folder / "p.cs", folder / "posed.cs"
    angles = {"rlnAngleRot": 10.0, "rlnAngleTilt": 20.0, "rlnAnglePsi": 30.0}
    origins = {"rlnOriginXAngst": 1.0, "rlnOriginYAngst": -2.0}
    tables = relion_tables()
    write_star(new, tables | {"particles": tables["particles"].assign(**angles, **origins)})
    write_star(old, {"": relion_30_table()})
    save_cs(cs, joined(cs_blob(), cs_ctf()))
    vectors = np.random.default_rng(0).normal(size=(N, 3))
    save_cs(posed, joined(cs_blob(), cs_ctf(), cs_poses("alignments3D", vectors, np.ones((N, 2)), 2.0)))
    stack = read_particles(cs)
    return [
        Reader("RELION 3.1", new, lambda: _all_images(read_particles(new))),
        Reader("poses of RELION 3.1", new, lambda: read_poses(new, stack)),
        Reader("labels of RELION 3.1", new, lambda: read_labels(new, stack)),
        Reader("poses and classes of RELION 3.1", new, lambda: read_poses_and_classes(new, stack)),
        Reader("RELION 3.0", old, lambda: read_particles(old)),
        Reader("CryoSPARC", cs, lambda: read_particles(cs)),
        Reader("poses of CryoSPARC", posed, lambda: read_poses(posed, stack)),
        Reader("image stack", folder / "a.mrcs", lambda: _all_images(read_particles(folder / "a.mrcs", ctf="none"))),
    ]


def _of_tables(folder: Path, case: Case) -> list[Reader]:
    write_archive(folder, case)
    ctf, poses, labels = (folder / f"{name}.pkl" for name in ("combined_ctfs", "combined_poses", "gt_latents"))
    np.save(folder / "numbers.npy", np.arange(20))
    (folder / "numbers.txt").write_text("\n".join(map(str, range(20))))
    return [
        Reader("cryoDRGN's CTF", ctf, lambda: read_ctf_table(ctf)),
        Reader("cryoDRGN's poses", poses, lambda: read_pose_table(poses)),
        Reader("pickled numbers", labels, lambda: read_numbers(labels)),
        Reader("NumPy's numbers", folder / "numbers.npy", lambda: read_numbers(folder / "numbers.npy")),
        Reader("numbers as text", folder / "numbers.txt", lambda: read_numbers(folder / "numbers.txt")),
    ]


def _of_structures(folder: Path) -> list[Reader]:
    folder.mkdir()
    write_cif(folder / "1abc.cif", A=domain(20, 0, (0, 0, 0)), B=domain(20, 1, (35, 0, 0)))
    (folder / "2abc.cif.gz").write_bytes(gzip.compress((folder / "1abc.cif").read_bytes(), mtime=0))
    gemmi.read_structure(str(folder / "1abc.cif")).write_pdb(str(folder / "3abc.pdb"))
    cached = folder / "2abc.cif.gz"
    record = folder / "2abc.cif.gz.json"
    write_json(record, {"bytes": cached.stat().st_size, "entry": "2abc", "sha256": sha256(cached), "url": "http://x"})
    return [
        Reader("mmCIF", folder / "1abc.cif", lambda: load_atoms(folder, "1abc", ["A"])),
        Reader("packed mmCIF", cached, lambda: load_atoms(folder, "2abc")),
        Reader("PDB", folder / "3abc.pdb", lambda: load_atoms(folder, "3abc")),
        Reader("record of the cache", record, lambda: check_cached(cached)),
    ]


def _of_reports(folder: Path) -> list[Reader]:
    metrics = make_results(folder / "results")
    of_k3 = next(path for path in metrics if path.parent.name == "hydra_k3")
    run = read_metrics(of_k3)
    history = run.places.reconstruction / "history.csv"
    history.parent.mkdir(parents=True, exist_ok=True)
    history.write_text("phase,epoch,images_seen,loss,size_1,size_2\nsearch,0,60,1.5,30,30\nsearch,1,120,1.25,31,29\n")
    benchmark = run.places.benchmark("evaluate")
    benchmark.parent.mkdir(parents=True, exist_ok=True)
    benchmark.write_text("s\th:m:s\tmax_rss\tcpu_time\n12.5\t0:00:12\t800.5\t20.5\n")
    provenance = run.places.results.dataset("demo").truth / "provenance.json"
    index = folder / "index.json"
    entry = {"file": "demo/fsc.svg", "dataset": "demo", "title": "t", "caption": "c", "method": None}
    write_json(index, [entry | {"interactive": False}])
    row = folder / "board" / "rows" / "a.json"
    write_json(row, ROW)
    packed = folder / "run.zip"
    write_checksums(folder / "board")
    write_zip(folder / "board", packed)
    bench = folder / "bench" / "bench.json"
    machine = describe_machine(torch.device("cpu"), 1)
    write_json(bench, {**Measured.open(bench.parent, machine, quick=True).identity(), "cases": {"a": MEASURED}})
    account = folder / attempts.NAME
    attempts.add(folder, attempts.Start("node", "1", "", "2026-01-01"))
    attempts.add(folder, attempts.End(1.0, 2.0, 3.0, 0))

    def _unpacked(packed: Path) -> None:
        with TemporaryDirectory(dir=folder) as place:
            unpacked(packed, Path(place) / "content")

    return [
        Reader("metrics", of_k3, lambda: write_tables([of_k3], folder / "made")),
        Reader("history", history, lambda: convergence(run)),
        Reader("cost of a job", benchmark, lambda: write_tables([of_k3], folder / "made")),
        Reader("provenance in a report", provenance, lambda: (settings([run]), studies([run]))),
        Reader("index of figures", index, lambda: read_index(folder)),
        Reader("row of a board", row, lambda: write_page(folder / "board")),
        Reader("archive", packed, lambda: _unpacked(packed)),
        Reader("measurements", bench, lambda: Measured.open(bench.parent, machine, quick=True).page()),
        Reader("account of attempts", account, lambda: attempts.read(folder)),
    ]
