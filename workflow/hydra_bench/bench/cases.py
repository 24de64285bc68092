"""Measuring one case, whatever its kind; every measurement is written down at once."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator

from hydra_bench.bench.context import Bench
from hydra_bench.bench.definitions import Case
from hydra_bench.bench.machine import circumstances
from hydra_bench.bench.process_cases import memory, two_processes
from hydra_bench.bench.results import Results
from hydra_bench.bench.search_case import pose_search
from hydra_bench.bench.summary import Measurement
from hydra_bench.bench.training_cases import ablation, scaling, training
from hydra_bench.core.errors import InputError

KINDS: dict[str, Callable[[Bench, Case], Iterator[Measurement]]] = {
    "pose_search": pose_search,
    "training": training,
    "ablation": ablation,
    "scaling": scaling,
    "memory": memory,
    "two_processes": two_processes,
}


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
