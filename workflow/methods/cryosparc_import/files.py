"""Which files a finished CryoSPARC job left that an import needs: particles, passthrough, a map for each class.

File names begin with the job (J42, or cryosparc_P3_J42 before version 4) and have the iteration in them, or `final`:
J42_final_particles.cs or J42_00062_particles.cs of all classes, J42_class_00_00062_volume.mrc of each (from 00),
J42_007_volume_map.mrc of a homogeneous refinement, J42_passthrough_particles_all_classes.cs. Nothing heavy is imported
here: this runs whenever a configuration is checked.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject

_ITERATION = re.compile(r"(?:^|_)(final|\d{3,5})_(?:particles|volume)")
_CLASS = re.compile(r"_class_(\d+)_")
_LEFT_OVER = ("unused", "excluded", "rejected", "remainder", "incomplete", "uncategorized")
_FINAL = 10**6


@dataclass(frozen=True)
class JobFiles:
    """particles and passthrough .cs files; volumes, one a class in their order; job_json, what the job says of itself.

    Without a passthrough file, or job.json, those are None.
    """

    particles: Path
    passthrough: Path | None
    volumes: tuple[Path, ...]
    job_json: Path | None


def job_files(parameters: JsonObject) -> JobFiles:
    """The files that parameters name, or that the folder `job` holds where they name none. Raises InputError."""
    job = _folder(parameters)
    named = {key: parameters[key] for key in ("particles", "passthrough", "volumes") if parameters.get(key) is not None}
    particles = _existing(named["particles"], "particles") if job is None or "particles" in named else _particles(job)
    folder = particles.parent if job is None else job
    volumes = tuple(_existing(name, "volumes") for name in named["volumes"]) if "volumes" in named else _volumes(folder)
    passthrough = _existing(named["passthrough"], "passthrough") if "passthrough" in named else _passthrough(folder)
    json_path = folder / "job.json"
    return JobFiles(particles, passthrough, volumes, json_path if json_path.is_file() else None)


def used_files(parameters: JsonObject) -> list[Path]:
    """Every file that the import reads; a change of one reruns it. Raises InputError."""
    files = job_files(parameters)
    read = (files.particles, *files.volumes, files.passthrough, files.job_json)
    return [path for path in read if path is not None]


def _folder(parameters: JsonObject) -> Path | None:
    if parameters.get("job") is None:
        for key in ("particles", "volumes"):
            if parameters.get(key) is None:
                raise InputError(f"{key}: is missing, as is job; a finished job's folder, or its files, are expected")
        return None
    job = Path(parameters["job"])
    if not job.is_dir():
        raise InputError(f"job: {job} is not there; the folder of a finished CryoSPARC job is expected")
    return job


def _existing(name: str, key: str) -> Path:
    if not Path(name).is_file():
        raise InputError(f"{key}: {name}: no such file")
    return Path(name)


def _iteration(path: Path) -> int:
    """A file's iteration; `final` is after all of them, and a name without one before."""
    found = _ITERATION.search(path.name)
    return -1 if found is None else _FINAL if found[1] == "final" else int(found[1])


def _particles(job: Path) -> Path:
    """The .cs file of the particles of all classes, of the last iteration."""
    names = [path for path in sorted(job.glob("*particles*.cs")) if not _CLASS.search(path.name)]
    names = [path for path in names if not any(word in path.name for word in ("passthrough", *_LEFT_OVER))]
    if not names:
        raise InputError(f"job: {job} holds no *_particles.cs of all classes; name the file by particles")
    # Of one iteration, the file with all slots before an export of one slot alone, which has a longer name.
    return max(names, key=lambda path: (_iteration(path), -len(path.name)))


def _passthrough(job: Path) -> Path | None:
    names = [path for path in sorted(job.glob("*passthrough*particles*.cs")) if not _CLASS.search(f"{path.stem}_")]
    names = [path for path in names if not any(word in path.name for word in _LEFT_OVER)]
    return names[0] if len(names) == 1 else None


def _volumes(job: Path) -> tuple[Path, ...]:
    """The last map of each class; of a job without classes its one map, not sharpened."""
    of_classes: dict[int, Path] = {}
    for path in sorted(job.glob("*_volume.mrc"), key=_iteration):
        if found := _CLASS.search(path.name):
            of_classes[int(found[1])] = path
    if of_classes:
        missing = sorted(set(range(max(of_classes) + 1)) - set(of_classes))
        if missing:
            raise InputError(f"job: {job} holds no map of class {missing[0]}, *_class_{missing[0]:02d}_*_volume.mrc")
        return tuple(of_classes[k] for k in sorted(of_classes))
    single = sorted([*job.glob("*_volume_map.mrc"), *job.glob("*_volume.mrc")], key=_iteration)
    if not single:
        raise InputError(f"job: {job} holds no *_volume.mrc and no *_volume_map.mrc; name the maps by volumes")
    return (single[-1],)
