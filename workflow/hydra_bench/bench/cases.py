"""What is measured in each kind of case, and measuring a case of any kind; each measurement is kept at once."""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator

import numpy as np

from hydra_bench.bench.data import Bench, Dataset
from hydra_bench.bench.definitions import Case, with_delivered_box
from hydra_bench.bench.processes import finished, wall_of_runs, walls_of_epochs
from hydra_bench.bench.results import Results, circumstances
from hydra_bench.bench.search import CPU, gradient_step_s, pose_search
from hydra_bench.bench.summary import Measurement, ratio
from hydra_bench.bench.training import (
    epoch_costs,
    score_of_oracle,
    score_of_training,
    timed_training,
    wall_to_ari_s,
)
from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.machine import machine_error
from hydra_bench.methods.hydra.settings import Settings

MEMORY_WORKER = "hydra_bench.bench.memory_worker"
DEFAULTS = "defaults"
"""The name of the variant that changes nothing."""


def training(bench: Bench, case: Case) -> Iterator[Measurement]:
    """One training a seed: time to the ARI, to the end, and, if asked for, FSC-AUC beside the oracle's."""
    dataset = bench.dataset(case.dataset)
    for seed in case.seeds:
        yield from measured(bench, case, dataset, case.settings(), {"seed": seed})


def measured(
    bench: Bench, case: Case, dataset: Dataset, settings: Settings, run: JsonObject, prefix: str = ""
) -> Iterator[Measurement]:
    """The figures of one training; `run` holds its seed, and `prefix` begins the names of the figures.

    Of quality, if it is asked for: R² of motions, classes and junk, and FSC-AUC of what was trained, of back-projection
    with true poses and classes, and their quotient, also within the truth's mask.
    """
    trained = timed_training(dataset.stack, dataset.truth, settings, run["seed"], bench.device)
    where = {**run, "epochs": [epoch.plain() for epoch in trained.epochs]}
    yield Measurement(f"{prefix}time to ARI {case.ari:g}", "s", wall_to_ari_s(trained.epochs, case.ari), where)
    yield Measurement(f"{prefix}wall", "s", trained.used.wall_s, run)
    yield Measurement(f"{prefix}CPU", "s", trained.used.cpu_s, run)
    yield Measurement(f"{prefix}final ARI", "", trained.epochs[-1].ari if trained.epochs else None, run)
    if not case.quality:
        return
    found = score_of_training(dataset, trained, bench.work)
    ours = found.fsc_auc
    of_oracle = score_of_oracle(dataset)
    oracle = of_oracle.fsc_auc
    for number, r2 in enumerate(found.r2, 1):
        yield Measurement(f"{prefix}R² of coordinate {number}", "", r2, run)
    for name, value in found.classes.items():
        yield Measurement(f"{prefix}{name}", "", value, run)
    yield Measurement(f"{prefix}FSC-AUC", "", ours, run)
    if not prefix:
        yield Measurement("FSC-AUC, oracle", "", oracle, run)
    yield Measurement(f"{prefix}FSC-AUC of the oracle's", "%", 100 * ours / oracle, run)
    yield Measurement(f"{prefix}FSC-AUC of the oracle's, masked", "%", 100 * found.masked / of_oracle.masked, run)


def ablation(bench: Bench, case: Case) -> Iterator[Measurement]:
    """Rounds, one a seed, of the defaults and every variant in turn; ratios are within a round."""
    dataset = bench.dataset(case.dataset)
    for seed in case.seeds:
        wall: dict[str, float | None] = {}
        for variant, differing in {DEFAULTS: {}, **case.variants}.items():
            run = {"seed": seed, "variant": variant, "parameters": differing}
            prefix = f"{variant}: "
            for measurement in measured(bench, case, dataset, case.settings(**differing), run, prefix):
                if measurement.figure == f"{prefix}wall":
                    wall[variant] = measurement.value
                yield measurement
            if variant != DEFAULTS:
                of_defaults = ratio(wall[variant], wall[DEFAULTS])
                yield Measurement(f"{prefix}wall / wall of the defaults", "", of_defaults, run)


SIZES = ("images", "classes", "delivered_box_px", "latent_dim")
"""What scaling is measured along."""


def points(base: dict[str, int], axes: dict[str, list[int]]) -> dict[str, dict[str, int]]:
    """The base with one number varied at a time: what is varied, as text -> all sizes.

    Raises InputError for an axis that is none.
    """
    for name in (*base, *axes):
        if name not in SIZES:
            raise InputError(f"unknown axis {name!r}; {', '.join(SIZES)} are allowed")
    missing = [name for name in SIZES if name not in base]
    if missing:
        raise InputError(f"base lacks {missing[0]}")
    return {f"{axis} {value}": {**base, axis: value} for axis, values in axes.items() for value in values}


def scaling(bench: Bench, case: Case) -> Iterator[Measurement]:
    """CPU time of every epoch of search and of decoding; rounds over all points, so that drift meets all alike."""
    todo = points(case.base, case.axes)
    for repeat in range(bench.repeats):
        for name, sizes in todo.items():
            classes, latent_dim = sizes["classes"], sizes["latent_dim"]
            whole = bench.dataset(with_delivered_box(case.dataset, sizes["delivered_box_px"])).stack
            # The first ones are a random sample: simulated stacks are in random order.
            stack = whole.take(np.arange(min(sizes["images"], len(whole))))
            settings = case.settings(classes=classes, latent_dim=latent_dim)
            trained = timed_training(stack, None, settings, repeat, bench.device)
            run = {"repeat": repeat, "images": len(stack), "box_px": stack.box_px, "classes": classes}
            run["latent_dim"] = latent_dim
            for epoch, took in epoch_costs(trained.epochs, trained.before_epochs):
                where = {**run, "epoch": epoch.number, "l": epoch.l, "wall_s": took.wall_s}
                yield Measurement(f"{name}: CPU of an epoch, {epoch.phase}", "s", took.cpu_s, where)


def epochs(bench: Bench, case: Case) -> Iterator[Measurement]:
    """Wall time of every epoch and its most GPU memory, of a training on the first images of a stack.

    And of one gradient step of auto-decoding, if there is any, on the device and on a GPU's machine's CPU, too.
    """
    dataset = bench.dataset(case.dataset)
    stack = dataset.stack.take(np.arange(min(case.images, len(dataset.stack))))
    settings = case.settings()
    trained = timed_training(stack, None, settings, case.seeds[0], bench.device)
    run = {"images": len(stack), "box_px": stack.box_px, "classes": settings.classes}
    phases: dict[str, float] = {}
    for epoch, took in epoch_costs(trained.epochs, trained.before_epochs):
        where = {**run, "epoch": epoch.number, "l": epoch.l}
        phases[epoch.phase] = phases.get(epoch.phase, 0.0) + took.wall_s
        yield Measurement(f"{epoch.phase}: wall of an epoch", "s", took.wall_s, where)
        if bench.device.type == "cuda":
            yield Measurement(f"{epoch.phase}: most GPU memory", "GB", epoch.gpu_GB, where)
    for phase, wall_s in phases.items():
        yield Measurement(f"{phase}: wall of all its epochs", "s", wall_s, run)
    if settings.decode_epochs:
        for device in dict.fromkeys((bench.device, CPU)):
            step_ms = 1000 * gradient_step_s(case, stack, device)
            yield Measurement(f"decode: wall of a gradient step, {device.type}", "ms", step_ms, run)


def memory(bench: Bench, case: Case) -> Iterator[Measurement]:
    """Peak resident memory of a process that has tables of all particles and works on some of them in every phase."""
    case.settings()
    task = {
        "star": str(bench.dataset(case.dataset).star_path),
        "particles": case.particles,
        "parameters": {**case.parameters, **case.forced},
        "images": case.images,
        "threads": bench.threads,
        "device": str(bench.device),
    }
    for repeat in range(bench.repeats):
        found = json.loads(finished([sys.executable, "-m", MEMORY_WORKER, json.dumps(task)]))
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
        took = {n: walls_of_epochs(bench, case, dataset, n) for n in order}
        for phase in took[1]:
            run = {"repeat": repeat, "phase": phase, "first": names[order[0]]}
            for n, name in names.items():
                yield Measurement(f"{phase}, {name}: wall of an epoch", "s", took[n][phase], run)
            of_two = ratio(took[2][phase], took[1][phase])
            yield Measurement(f"{phase}, two processes / one: wall of an epoch", "", of_two, run)


def side_by_side(bench: Bench, case: Case) -> Iterator[Measurement]:
    """Wall time of a run alone, and of two at once, in turns; on as many cores as a run has threads, that is two.

    A fair share of a machine is half of it, so that two at once take as long as two runs one after the other.
    """
    case.settings()
    dataset = bench.dataset(case.dataset)
    for repeat in range(bench.repeats):
        order = (1, 2) if repeat % 2 == 0 else (2, 1)
        took = {n: wall_of_runs(bench, case, dataset, n) for n in order}
        run = {"repeat": repeat, "alone first": order[0] == 1, "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT")}
        yield Measurement("alone: wall of a run", "s", took[1], run)
        yield Measurement("two at once: wall until both have ended", "s", took[2], run)
        yield Measurement("two at once / twice alone: wall", "", ratio(took[2], 2 * took[1]), run)


_KINDS = (pose_search, epochs, training, ablation, scaling, memory, two_processes, side_by_side)
KINDS: dict[str, Callable[[Bench, Case], Iterator[Measurement]]] = {kind.__name__: kind for kind in _KINDS}


def run_case(bench: Bench, case: Case, results: Results, warning: str | None) -> bool:
    """Measure one case; whether it got to its end. A failure is written down, and the other cases still run.

    An InputError is the user's to mend, and ends all; so does a MachineError, which says nothing of the case.
    """
    began = time.monotonic()
    begun = {**circumstances(), "warning": warning}
    measurements: list[Measurement] = []
    reason = ""

    def record(state: str) -> None:
        so_far = {"state": state, "reason": reason, "took_s": time.monotonic() - began}
        results.record(case, begun | so_far, measurements)

    try:
        for measurement in KINDS[case.kind](bench, case):
            measurements.append(measurement)
            record("running")
    except InputError:
        raise
    except Exception as error:
        if machine := machine_error(error, results.folder):
            raise machine from error
        traceback.print_exc(file=sys.stderr)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
    record("failed" if reason else "ok")
    if sys.stderr.isatty():
        print(f"{case.name}: {reason or 'ok'}, {time.monotonic() - began:.0f} s", file=sys.stderr)
    return not reason
