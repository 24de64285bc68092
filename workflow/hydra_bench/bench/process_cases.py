"""Cases that need processes of their own: peak memory, and two processes against one."""

from __future__ import annotations

import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra_bench.bench.context import Bench
from hydra_bench.bench.data import Dataset, repeated_star
from hydra_bench.bench.definitions import Case
from hydra_bench.bench.summary import Measurement, pairwise_ratios
from hydra_bench.contracts.reconstruction import HISTORY_NAME
from hydra_bench.core.errors import RunFailedError

MEMORY_WORKER = "hydra_bench.bench.memory_worker"


def memory(bench: Bench, case: Case) -> Iterator[Measurement]:
    """Peak resident memory of a process that has tables of all particles and works on some of them in every phase."""
    case.settings()
    star = repeated_star(bench.dataset(case.dataset), case.particles)
    task = {
        "star": str(star),
        "parameters": {**case.parameters, **case.forced},
        "images": case.images,
        "threads": bench.threads,
        "device": str(bench.device),
    }
    for repeat in range(bench.repeats):
        found = json.loads(_finished([sys.executable, "-m", MEMORY_WORKER, json.dumps(task)]))
        run = {"repeat": repeat, "particles": found["particles"], "images": case.images, "phases": found["phases_GB"]}
        yield Measurement("peak RSS", "GB", found["peak_GB"], run)
        yield Measurement("peak RSS before training", "GB", found["before_GB"], run)
        if found["gpu_GB"]:
            yield Measurement("peak GPU memory", "GB", found["gpu_GB"], run)


def two_processes(bench: Bench, case: Case) -> Iterator[Measurement]:
    """Wall time of an epoch in two processes of one thread, and in one of two, measured in turns."""
    case.settings()
    dataset = bench.dataset(case.dataset)
    names = {2: "two processes of one thread", 1: "one process of two threads"}
    for repeat in range(bench.repeats):
        # The order changes from pair to pair, so that neither always finds the machine warmer.
        order = (2, 1) if repeat % 2 == 0 else (1, 2)
        took = {n: _wall_of_epochs(bench, case, dataset, n) for n in order}
        for phase in took[1]:
            run = {"repeat": repeat, "phase": phase, "first": names[order[0]]}
            for n, name in names.items():
                yield Measurement(f"{phase}, {name}: wall of an epoch", "s", took[n][phase], run)
            ratio = pairwise_ratios([took[2][phase]], [took[1][phase]])[0]
            yield Measurement(f"{phase}, two processes / one: wall of an epoch", "", ratio, run)


def _wall_of_epochs(bench: Bench, case: Case, dataset: Dataset, processes: int) -> dict[str, float]:
    """Phase -> median wall seconds of its epochs, of one run in so many processes, on the CPU."""
    out = bench.work / f"run-{case.name}"
    shutil.rmtree(out, ignore_errors=True)
    out.with_name(f"{out.name}.checkpoint").unlink(missing_ok=True)
    definition = {"name": "hydra", "program": "hydra", "parameters": {**case.parameters, **case.forced}}
    command = ["-m", "hydra_bench.cli", "hydra", "--definition", json.dumps(definition), "--device", "cpu"]
    command += ["--particles", str(dataset.star_path), "--out", str(out), "--threads", str(3 - processes)]
    command += ["--checkpoint-minutes", "1000"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    _finished([sys.executable, *(launcher if processes > 1 else []), *command])
    try:
        if not (out / HISTORY_NAME).is_file():
            raise RunFailedError(f"{processes} processes left no {HISTORY_NAME}")
        with open(out / HISTORY_NAME, newline="") as file:
            return phase_medians(list(csv.DictReader(file)))
    finally:
        shutil.rmtree(out)


def phase_medians(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Phase -> median wall seconds of an epoch, from a history whose wall_s runs on.

    The history's first epoch is left out where there are others: it holds all that comes before it.
    """
    walls: dict[str, list[float]] = {}
    before = 0.0
    for number, row in enumerate(rows):
        took, before = float(row["wall_s"]) - before, float(row["wall_s"])
        if number or len(rows) == 1 or rows[1]["phase"] != row["phase"]:
            walls.setdefault(row["phase"], []).append(took)
    return {phase: statistics.median(all_of_it) for phase, all_of_it in walls.items()}


def _finished(command: list[str]) -> str:
    """The standard output of a command. Raises RunFailedError with the reason that it left on stderr.

    This package may have been found by a path that only this process knows, so the command is given it.
    """
    package = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package, known] if known else [package])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        reason = next((line for line in lines if line.startswith("hydra-bench: error")), lines[-1])
        raise RunFailedError(f"{' '.join(command[1:3])}: status {done.returncode}: {reason.strip()}")
    return done.stdout
