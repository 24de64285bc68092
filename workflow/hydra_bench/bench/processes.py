"""Measuring in processes of their own, since memory and what processes cost each other cannot be told apart in one."""

import csv
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hydra_bench.bench.data import Bench, Dataset
from hydra_bench.bench.definitions import Case
from hydra_bench.contracts.reconstruction import HISTORY_NAME
from hydra_bench.core.errors import RunFailedError
from hydra_bench.core.files import partial_folder
from hydra_bench.core.json_values import JsonObject


def walls_of_epochs(bench: Bench, case: Case, dataset: Dataset, processes: int) -> dict[str, float]:
    """Phase -> median wall seconds of its epochs, of one run in so many processes, on the CPU."""
    command = _hydra(case, dataset, 3 - processes)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with partial_folder(bench.work / "run") as folder:
        out = folder / "run"
        finished([sys.executable, *(launcher if processes > 1 else []), *command, "--out", str(out)])
        if not (out / HISTORY_NAME).is_file():
            raise RunFailedError(f"{processes} processes left no {HISTORY_NAME}")
        with open(out / HISTORY_NAME, newline="") as file:
            return phase_medians(list(csv.DictReader(file)))


def wall_of_runs(bench: Bench, case: Case, dataset: Dataset, at_once: int) -> float:
    """Wall seconds until so many runs, begun at once, of two threads each, have all ended, on the CPU."""
    command = [sys.executable, *_hydra(case, dataset, 2), "--out"]
    with partial_folder(bench.work / "run") as folder, ThreadPoolExecutor(at_once) as runs:
        began = time.monotonic()
        list(runs.map(finished, [[*command, str(folder / f"run_{number}")] for number in range(at_once)]))
        return time.monotonic() - began


def _hydra(case: Case, dataset: Dataset, threads: int) -> list[str]:
    """Python's arguments for a run on the CPU; `--out` is still to be said."""
    definition = {"name": "hydra", "program": "hydra", "parameters": {**case.parameters, **case.forced}}
    command = ["-m", "hydra_bench.cli", "hydra", "--definition", json.dumps(definition), "--device", "cpu"]
    command += ["--particles", str(dataset.star_path), "--threads", str(threads), "--checkpoint-minutes", "1000"]
    return command


def phase_medians(rows: list[JsonObject]) -> dict[str, float]:
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


def finished(command: list[str]) -> str:
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
