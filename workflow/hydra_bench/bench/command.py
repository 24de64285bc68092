"""What `hydra-bench bench` does: one case after the other, every measurement written down at once."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator

import torch

from hydra_bench.bench.context import Bench
from hydra_bench.bench.definitions import CASES_PATH, Case, load_cases
from hydra_bench.bench.machine import busy_warning, circumstances, describe_machine
from hydra_bench.bench.process_cases import memory, two_processes
from hydra_bench.bench.results import Results
from hydra_bench.bench.search_case import pose_search
from hydra_bench.bench.summary import Measurement
from hydra_bench.bench.training_cases import ablation, scaling, training
from hydra_bench.core.errors import InputError
from hydra_bench.core.threads import set_threads
from hydra_bench.methods.hydra.run import choose_device

KINDS: dict[str, Callable[[Bench, Case], Iterator[Measurement]]] = {
    "pose_search": pose_search,
    "training": training,
    "ablation": ablation,
    "scaling": scaling,
    "memory": memory,
    "two_processes": two_processes,
}


def bench_command(args: argparse.Namespace) -> int:
    """Measure. Returns 1 if a case failed, 0 otherwise, bars met or not. Raises InputError."""
    names = [name.strip() for name in args.cases.split(",") if name.strip()]
    cases = load_cases(args.definitions or CASES_PATH, names, _seeds(args.seeds), args.quick)
    for name in ("repeats", "threads"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name}: {getattr(args, name)}; 1 or more is allowed")
    device = choose_device(args.device)
    machine = describe_machine(device, args.threads)
    results = Results.open(args.out, machine, args.quick)
    warning = busy_warning(circumstances().load_average[0], machine.cores, args.threads)
    if warning:
        print(f"hydra-bench: warning: {warning}", file=sys.stderr)
    set_threads(args.threads, device.type)
    if device.type == "cuda":  # as `hydra-bench hydra` does
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
    bench = Bench(args.work, args.structures, device, args.threads, 1 if args.quick else args.repeats)
    failed = 0
    for case in cases:
        failed += not run_case(bench, case, results, warning)
    return int(failed > 0)


def _seeds(text: str | None) -> list[int] | None:
    try:
        seeds = None if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        seeds = []
    if seeds is not None and (not seeds or min(seeds) < 0):
        raise InputError(f"--seeds: {text!r}; numbers from 0 with commas between them are expected")
    return seeds


def run_case(bench: Bench, case: Case, results: Results, warning: str | None) -> bool:
    """Measure one case; whether it got to its end. A failure is written down, and the other cases still run.

    An InputError is the user's to mend, and ends all.
    """
    began, begun, measurements, reason = time.monotonic(), circumstances(), [], ""
    try:
        for measurement in KINDS[case.kind](bench, case):
            measurements.append(measurement)
            results.record(case, begun, warning, measurements, "running")
    except InputError:
        raise
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
    results.record(case, begun, warning, measurements, "failed" if reason else "ok", reason)
    if sys.stderr.isatty():
        print(f"{case.name}: {reason or 'ok'}, {time.monotonic() - began:.0f} s", file=sys.stderr)
    return not reason
