"""The board: results that anybody hands in, a JSON file a row, and a page that shows them.

A row is one method of one submitter on one dataset. Where the dataset is at hand, its scores are computed from the
files that were handed in, by this version's evaluation; where not, they are what an archive says, and the row says so.
"""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hydra_bench.contracts.measures import Measure
from hydra_bench.contracts.metrics_file import MEASURES, MetricsFile
from hydra_bench.contracts.places import PARTICLES_NAME, RUN_NAME, Results, is_name
from hydra_bench.contracts.reconstruction import OK, read_run
from hydra_bench.core.console import say
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import partial_folder, read_json, write_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.records import checked, read_record
from hydra_bench.metrics.evaluate import EvaluationSettings, RunFiles, evaluate
from hydra_bench.report.results import EvaluatedRun, by_method
from hydra_bench.report.results import read_run as read_evaluated
from hydra_bench.report.tables.rows import aggregate
from hydra_bench.report.tables.uncertainty import interval
from hydra_bench.sharing.archive import IDENTITY, SAMPLE, unpacked
from hydra_bench.sharing.identity import DatasetIdentity, check_same_images, identity_of, read_sample, sample_of

BOARD_VERSION = 1
ROWS = "rows"
SHOWN = tuple(measure for measure in MEASURES if measure.quality and {"table", "page"} & set(measure.shown))
"""The measures of a row."""
SAME = 5e-4
"""Claimed and computed scores that differ by less agree: half a unit of the third digit."""


@dataclass(frozen=True)
class Submission:
    """What is handed in: an archive, or a folder that holds one reconstruction; by whom.

    `dataset`, a folder datasets/<name> of results, is where the stack and the truth lie, None if they are not at hand.
    `method` is the one to take from an archive, None for all that are no bounds; of a reconstruction, its name.
    """

    source: Path
    by: str
    dataset: Path | None = None
    method: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class RowDataset:
    """Of a row, what its page shows of the dataset; all else is for who reads the file."""

    name: str
    identity: str
    n_particles: int
    box_px: int


@dataclass(frozen=True)
class RowMethod:
    """Likewise of the method."""

    name: str
    label: str
    program: str
    version: str
    reads_truth: bool


@dataclass(frozen=True)
class RowScore:
    """A mean and the ends of its interval, None where there is none."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RowCost:
    """What it cost, and where it ran."""

    wall_s: float
    peak_rss_mb: float
    device: str


@dataclass(frozen=True)
class Row:
    """A row of a board, as its file has it."""

    dataset: RowDataset
    method: RowMethod
    by: str
    date: str
    seeds: list[int]
    scores: dict[str, RowScore]
    cost: RowCost
    re_derived: bool
    differs: list[str]


@dataclass(frozen=True)
class Named:
    """What a run is called."""

    dataset: str
    method: str
    label: str
    seed: int


def add(board: Path, submission: Submission) -> list[Path]:
    """Score what is handed in, write its rows, and return their files. Raises InputError, and then writes none."""
    if not submission.by.strip():
        raise InputError("--by: is empty; the name of who hands it in is expected")
    if submission.dataset is not None and not (submission.dataset / "stack" / PARTICLES_NAME).is_file():
        raise InputError(
            f"--dataset: {submission.dataset} holds no stack/{PARTICLES_NAME}; the folder of a dataset is expected, "
            f"such as {Results().dataset('demo').stack.parent}"
        )
    with partial_folder(board / "scored") as work:
        if submission.source.is_dir():
            rows = [_row_of_reconstruction(submission, work)]
        else:
            try:
                rows = list(_rows_of_archive(submission, work / "archive"))
            except InputError as error:
                # Who handed it in knows the archive, and not where it was unpacked.
                said = str(error).replace(f"{work / 'archive'}/", f"{submission.source}: ")
                raise InputError(said) from None
    paths = [board / ROWS / file_name(row) for row in rows]
    for path, row in zip(paths, rows, strict=True):
        write_json(path, row)
    return paths


def read_rows(board: Path) -> list[JsonObject]:
    """The rows of a board, sorted by dataset and method. Raises InputError for one of another version."""
    rows = []
    for path in sorted((board / ROWS).glob("*.json")):
        row = read_json(path)
        if not isinstance(row, dict) or row.get("board_version") != BOARD_VERSION:
            raise InputError(f"{path}: no row of a board of version {BOARD_VERSION}")
        checked(row, Row, path)
        rows.append(row)
    return sorted(rows, key=lambda row: (row["dataset"]["name"], row["dataset"]["identity"], row["method"]["label"]))


def file_name(row: JsonObject) -> str:
    """The file of a row: the same for the same method, submitter and dataset, which replaces it."""
    words = (row["dataset"]["name"], row["method"]["name"], row["by"])
    slugs = [re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") or "x" for word in words]
    return f"{'--'.join([*slugs, row['dataset']['identity'][:8]])}.json"


def _row_of_reconstruction(submission: Submission, work: Path) -> JsonObject:
    """The row of a folder of contract 3."""
    folder = submission.source
    if not (folder / RUN_NAME).is_file():
        parts = f"{PARTICLES_NAME}, volumes/, samples/, {RUN_NAME}"
        raise InputError(
            f"{folder}: holds no {RUN_NAME}; a reconstruction ({parts}) is expected, or an archive of a results folder"
        )
    if submission.dataset is None:
        raise InputError(
            "--dataset: is missing; a reconstruction is scored with the stack and the truth in that folder"
        )
    run = read_run(folder)
    if run.state != OK:
        raise InputError(f"{folder / RUN_NAME}: state is {run.state}; a reconstruction that ended well is expected")
    identity = identity_of(submission.dataset)
    method = submission.method or run.method
    named = Named(identity.name, method, submission.label or method, run.seed)
    scored = _scored(submission.dataset, folder, named, work)
    return _row(submission, identity, [scored], None, "reconstruction")


def _rows_of_archive(submission: Submission, folder: Path) -> Iterator[JsonObject]:
    """A row for each method of an archive, of each of its datasets or of that which is at hand.

    It is unpacked into `folder`, beside which scores are computed. What gets no row is said.
    """
    results = Results(unpacked(submission.source, folder))
    source = submission.source
    work = folder.parent
    ours = None if submission.dataset is None else identity_of(submission.dataset)
    datasets, methods = [], []
    found = False
    for place in sorted(results.datasets.glob(f"*/{IDENTITY}")):
        theirs = read_record(place, DatasetIdentity)
        if not is_name(theirs.name):
            raise InputError(f"{source}: {theirs.name[:100]!r} is no name of a dataset")
        datasets.append(_in_words(theirs))
        if ours is not None and theirs.digest != ours.digest:
            say(f"{source}: its dataset {_in_words(theirs)} is another than --dataset, {_in_words(ours)}; no row of it")
            continue
        if ours is not None and submission.dataset is not None:
            sample = read_sample(place.with_name(SAMPLE))
            check_same_images(sample_of(submission.dataset), sample, str(source))
        claims = [read_evaluated(path) for path in sorted((results.metrics / theirs.name).glob("*/*.json"))]
        for method, seeds in by_method(claims).items():
            methods.append(method)
            good = [run for run in seeds if _is_wanted(run, submission) and _ended_well(run, source)]
            if not good:
                continue
            found = True
            if submission.dataset is None:
                yield _row(submission, theirs, good, None, "archive")
            else:
                scored = [_scored(submission.dataset, run.places.reconstruction, run.metrics, work) for run in good]
                yield _row(submission, ours or theirs, scored, good, "archive")
    if ours is not None and not methods:
        there = ", ".join(datasets) or "none"
        raise InputError(f"{source}: holds nothing on --dataset, {_in_words(ours)}; it has {there}")
    if not found:
        wanted, there = submission.method or "method but bounds", ", ".join(dict.fromkeys(methods)) or "none"
        raise InputError(f"{source}: holds no {wanted} that ended well; it has {there}")


def _in_words(dataset: DatasetIdentity) -> str:
    return f"{dataset.name} ({dataset.digest[:12]})"


def _ended_well(run: EvaluatedRun, source: Path) -> bool:
    """Whether a run has scores; one that has not is said."""
    if not run.ok:
        say(f"{source}: {run.method}, seed {run.seed}, on {run.dataset}: {run.state} ({run.reason}); no row of it")
    return run.ok


def _is_wanted(run: EvaluatedRun, submission: Submission) -> bool:
    """Whether a run of an archive is of the method that is asked for; of none, bounds are left out."""
    if submission.method is None:
        return not run.metrics.reads_truth
    return run.method == submission.method


def _scored(dataset: Path, reconstruction: Path, named: Named | MetricsFile, work: Path) -> EvaluatedRun:
    """A reconstruction scored from its files; `named` says what it is called."""
    place = Results(work / "scored").run(named.dataset, named.method, named.seed)
    stack = dataset / "stack" / PARTICLES_NAME
    files = RunFiles(stack, dataset / "truth", reconstruction, named.dataset, named.method, named.label)
    evaluate(files, place.metrics, place.aligned, EvaluationSettings())
    return read_evaluated(place.metrics)


def _row(
    submission: Submission,
    identity: DatasetIdentity,
    runs: list[EvaluatedRun],
    claimed: list[EvaluatedRun] | None,
    kind: str,
) -> JsonObject:
    """One row: of runs of one method that differ in their seeds."""
    metrics = runs[0].metrics
    scores = {measure.key: _score(measure, runs) for measure in SHOWN if aggregate(measure, runs).mean is not None}
    said = None if claimed is None else {key: aggregate(_measure(key), claimed).mean for key in scores}
    apart = [key for key in scores if said and abs((said[key] or 0) - scores[key]["mean"]) > SAME]
    return {
        "board_version": BOARD_VERSION,
        "dataset": {
            "name": identity.name,
            "identity": identity.digest,
            "made_of": identity.made_of,
            "n_particles": identity.n_particles,
            "box_px": identity.box_px,
            "pixel_size_A": identity.pixel_size_A,
            "species": metrics.class_names,
        },
        "method": {
            "name": metrics.method,
            "label": metrics.label,
            "program": metrics.program,
            "version": metrics.program_version,
            "parameters": metrics.parameters,
            "reads_truth": metrics.reads_truth,
        },
        "by": submission.by,
        "date": datetime.date.today().isoformat(),
        "handed_in_as": kind,
        "seeds": [run.seed for run in runs],
        "scores": scores,
        "cost": _cost(runs) | {"device": metrics.device, "images_seen": metrics.images_seen},
        "re_derived": submission.dataset is not None,
        "claimed": said,
        "differs": apart,
    }


def _measure(key: str) -> Measure:
    return next(measure for measure in SHOWN if measure.key == key)


def _score(measure: Measure, runs: list[EvaluatedRun]) -> JsonObject:
    """A measure over runs: its mean, a 95 % interval and what that speaks of, null where there is none."""
    value = aggregate(measure, runs).mean
    ends = interval(measure, runs)
    return {
        "name": measure.name,
        "mean": None if value is None else round(value, 4),
        "low": None if ends is None else round(ends.low, 4),
        "high": None if ends is None else round(ends.high, 4),
        "of": None if ends is None else ends.target,
    }


def _cost(runs: list[EvaluatedRun]) -> JsonObject:
    """What a run cost: times are means over runs, peaks the largest."""
    costs = [run.metrics.cost.model_dump() for run in runs]
    means = {key: round(float(np.mean([cost[key] for cost in costs])), 1) for key in ("wall_s", "cpu_s")}
    return means | {key: max(cost[key] for cost in costs) for key in ("peak_rss_mb", "gpu_memory_mb")}
