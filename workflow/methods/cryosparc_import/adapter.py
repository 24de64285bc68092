"""A finished CryoSPARC job as a reconstruction: its particles' classes and poses, its maps.

The job must have been run on the benchmark's own stack: particles are matched by the image that they name. CryoSPARC
leaves particles out (those it calls unused); so that nobody is thought to have been classified who was not, they are a
class of their own, the last, whose map is empty and compares with nothing.
"""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from hydra_bench.contracts.poses import most_probable_class
from hydra_bench.contracts.reconstruction import Assignments, write_assignments, write_class_map
from hydra_bench.core.errors import InputError, RunFailedError
from hydra_bench.core.files import read_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.datasets.simulated.density import load_volume
from hydra_bench.methods.programs.programs import program_output
from hydra_bench.methods.programs.task import Task
from hydra_bench.methods.recording import Outcome
from hydra_bench.particles.cryosparc_alignments import ClassAlignments, JobType, read_class_alignments

from .files import JobFiles, job_files

COST_NOTE = "wall time, CPU time and memory are those of reading the job's files, not of the job"


def run(task: Task, folder: Path) -> Outcome:
    """The adapter. The cost that is measured is that of reading files, which is said."""
    files = job_files(task.parameters)
    task.departures.append(COST_NOTE)
    notes = import_job(task, folder, files, task.parameters.get("job_type"))
    return Outcome(0, {"images_seen": "not known", **notes})


def import_job(task: Task, folder: Path, files: JobFiles, job_type: JobType | None) -> JsonObject:
    """Write the reconstruction of a job's files, and return what is to be noted of it.

    Raises RunFailedError that names the file, if one is not usable.
    """
    with program_output(files.particles):
        found = read_class_alignments(files.particles, files.passthrough, job_type, len(files.volumes))
        rows = found.rows_of(task.stack)
    if len(files.volumes) != found.n_classes:
        raise RunFailedError(f"{len(files.volumes)} maps, but {files.particles} is of {found.n_classes} classes")
    volumes = []
    for path in files.volumes:
        with program_output(path):
            volumes.append(_on_grid(path, task).astype(np.float32))
    assignments = _assignments(found, rows)
    if assignments.posteriors.shape[1] > len(volumes):
        volumes.append(np.zeros_like(volumes[0]))
    write_assignments(folder, assignments)
    for k, volume in enumerate(volumes):
        evaluated = task.evaluation[assignments.classes[task.evaluation] == k]
        write_class_map(folder, k, volume, task.stack.pixel_size_A, evaluated)
    missing = int((rows < 0).sum())
    if missing:
        task.departures.append(
            f"{missing:,} of {len(rows):,} particles are not in the job; they are class {len(volumes)}, without a map"
        )
    return {"particles_missing": missing, **_of_job_json(files.job_json, task)}


def _on_grid(path: Path, task: Task) -> np.ndarray:
    """A map at the stack's box and pixel size."""
    volume = load_volume(".", str(path))
    if (len(volume.volume), volume.pixel_size_A) == (task.stack.box_px, task.stack.pixel_size_A):
        return volume.volume
    return volume.on_grid(task.stack.box_px, task.stack.pixel_size_A).numpy()


def _assignments(found: ClassAlignments, rows: np.ndarray) -> Assignments:
    """In the stack's order; particles that are not there are one class more, with no pose."""
    n, k, there = len(rows), found.n_classes, rows >= 0
    posteriors = np.zeros((n, k + bool((~there).any())))
    posteriors[there, :k] = found.posteriors[rows[there]]
    posteriors[~there, k:] = 1
    rotations, shifts = np.broadcast_to(np.eye(3), (n, 3, 3)).copy(), np.zeros((n, 2))
    rotations[there], shifts[there] = found.rotations[rows[there]], found.shifts_A[rows[there]]
    return Assignments(most_probable_class(posteriors), posteriors, rotations, shifts, np.zeros((n, 0)))


def _of_job_json(path: Path | None, task: Task) -> JsonObject:
    """What job.json says, as far as it does: the program's version, the kind of job, how long it ran."""
    content = None
    with suppress(InputError):
        content = None if path is None else read_json(path)
    if not isinstance(content, dict):
        return {}
    version = content.get("version")
    if isinstance(version, str) and version:
        task.programs.versions["CryoSPARC"] = version
    spec = content.get("spec")
    kind = content.get("job_type") or content.get("type") or (spec.get("type") if isinstance(spec, dict) else None)
    started, completed = (_time(content.get(key)) for key in ("started_at", "completed_at"))
    notes: JsonObject = {"job_type": kind} if isinstance(kind, str) else {}
    if started is not None and completed is not None:
        notes["job_wall_s"] = round((completed - started).total_seconds(), 1)
    return notes


def _time(value: Any) -> datetime | None:  # text of a foreign file, if it is any
    """A time as job.json has it: ISO text, or a mapping with $date of such, or of milliseconds."""
    value = value.get("$date") if isinstance(value, dict) else value
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value / 1000).astimezone()
        return datetime.fromisoformat(value).astimezone() if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
