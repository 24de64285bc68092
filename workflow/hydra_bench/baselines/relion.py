"""RELION: initial models of K classes by gradient descent, then 3D classification; the program relion_refine.

The stack of the contract is what RELION reads: its STAR file, white particles, background of mean 0 and standard
deviation 1. Angles and origins are RELION's in the reconstruction contract, too. During gradient descent most particles
are in no batch of an iteration and have class 0, so classes are those of the classification that follows it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hydra_bench.baselines.programs import program_output
from hydra_bench.baselines.task import Task
from hydra_bench.errors import InputError, RunFailedError
from hydra_bench.files import read_map, read_star, write_map, write_star
from hydra_bench.reconstruction import Assignments, class_volume_path, sample_path, write_assignments
from hydra_bench.recording import Outcome
from hydra_bench.truth import poses_from_table

_PROGRAM = "relion_refine"
_DIAMETER_OF_BOX = 0.95
_FIRST_WITH_GRAD = 4
"""The version from which initial models are made by --grad; before it, by --sgd."""

_DONE = "done"
"""A file that says that an attempt before has made the initial models."""

_DEFAULTS: dict[str, Any] = {
    "--sgd_ini_iter": 50,
    "--sgd_inbetween_iter": 200,
    "--sgd_fin_iter": 50,
    "--sgd_ini_resol": 35,
    "--sgd_fin_resol": 15,
    "--sgd_ini_subset": 100,
    "--sgd_fin_subset": 500,
    "--healpix_order": 2,
    "--offset_range": 6,
    "--offset_step": 2,
    "--iter": 50,
    "--tau2_fudge": 1,
    "--pad": 2,
}
"""What relion_refine takes where it is not told."""


def run(task: Task, folder: Path) -> Outcome:
    """Write the reconstruction of one run. Raises RunFailedError, or InputError for references that do not fit."""
    parameters, images_seen = task.parameters, 0
    classes = parameters["classes"]
    version = relion_version(task)
    references = [Path(path) for path in parameters.get("references") or []]
    if references and len(references) != classes:
        raise InputError(
            f"parameters.references: {len(references)} maps; one for each of {classes} classes is expected"
        )
    if not references:
        initial = task.work / "initial"
        options = initial_options(task, version)
        if not (initial / _DONE).is_file():
            refine(task, initial, options)
            (initial / _DONE).touch()
        references = last_maps(initial, classes)
        images_seen += batches_of(parameters, len(task.stack)) if version < _FIRST_WITH_GRAD else 0
        list_departures(task, "initial models", options)
    write_references(task.work / "references.star", references)
    options = classification_options(task)
    list_departures(task, "classification", options)
    classified = task.work / "classified"
    # A classification that was killed goes on from its last iteration.
    so_far = sorted(classified.glob("run_it*_optimiser.star"))
    if so_far and not is_last(so_far[-1], parameters["iterations"]):
        options = {"--continue": so_far[-1]}
    if not so_far or "--continue" in options:
        refine(task, classified, options)
    images_seen += parameters["iterations"] * len(task.stack)
    write_result(task, classified, folder)
    return Outcome(images_seen)


def relion_version(task: Task) -> int:
    """The major version; the whole one goes into the notes. Raises RunFailedError."""
    said = task.programs.output(_PROGRAM, "--version")
    found = re.search(r"(\d+)(?:\.\w+)+", said)
    if found is None:
        raise RunFailedError(f"{_PROGRAM} --version says {' '.join(said.split())[:80]!r}, which names no version")
    task.programs.versions["RELION"] = found[0]
    return int(found[1])


def common_options(task: Task) -> dict[str, Any]:
    """Options of both steps; a value of None is a flag without one."""
    parameters, stack = task.parameters, task.stack
    diameter = parameters.get("particle_diameter_A", _DIAMETER_OF_BOX * stack.box_px * stack.pixel_size_A)
    return {
        "--i": stack.path.name,
        "--K": parameters["classes"],
        "--ctf": None,
        "--particle_diameter": f"{diameter:.1f}",
        "--zero_mask": None,
        "--flatten_solvent": None,
        "--norm": None,
        "--scale": None,
        "--oversampling": 1,
        "--offset_range": parameters["offset_range_px"],
        "--offset_step": parameters["offset_step_px"],
        "--pad": parameters["padding"],
        "--pool": 10,
        "--j": task.threads,
        "--random_seed": task.seed,
        "--dont_combine_weights_via_disc": None,
        **({"--gpu": None} if task.device == "cuda" else {}),
    }


def initial_options(task: Task, version: int) -> dict[str, Any]:
    """Options for initial models from random orientations."""
    parameters = task.parameters
    options = common_options(task) | {"--denovo_3dref": None, "--healpix_order": parameters["sgd_healpix_order"]}
    iterations = [parameters[f"sgd_{which}_iterations"] for which in ("initial", "between", "final")]
    if version >= _FIRST_WITH_GRAD:
        return options | {"--grad": None, "--iter": sum(iterations)}
    return options | {
        "--sgd": None,
        "--sgd_ini_iter": iterations[0],
        "--sgd_inbetween_iter": iterations[1],
        "--sgd_fin_iter": iterations[2],
        "--sgd_ini_resol": parameters["sgd_initial_resolution_A"],
        "--sgd_fin_resol": parameters["sgd_final_resolution_A"],
        "--sgd_ini_subset": min(parameters["sgd_initial_batch"], len(task.stack)),
        "--sgd_fin_subset": min(parameters["sgd_final_batch"], len(task.stack)),
        "--sgd_write_iter": 50,
    }


def classification_options(task: Task) -> dict[str, Any]:
    parameters = task.parameters
    options = common_options(task) | {
        "--ref": task.work / "references.star",
        "--iter": parameters["iterations"],
        "--healpix_order": parameters["healpix_order"],
        "--tau2_fudge": parameters["tau2_fudge"],
    }
    if "initial_resolution_A" in parameters:
        options["--ini_high"] = parameters["initial_resolution_A"]
    return options | ({"--firstiter_cc": None} if parameters["correlate_first"] else {})


def list_departures(task: Task, step: str, options: dict[str, Any]) -> None:
    for name, default in _DEFAULTS.items():
        if name in options and options[name] != default:
            task.departures.append(f"{step}: {name} {options[name]}, not {default}")


def refine(task: Task, out: Path, options: dict[str, Any]) -> None:
    """Run relion_refine in the folder of the stack, to which the STAR file's image names are relative."""
    out.mkdir(parents=True, exist_ok=True)
    words = [word for name, value in options.items() for word in ([name] if value is None else [name, str(value)])]
    task.programs.run(_PROGRAM, "--o", (out / "run").resolve(), *words, cwd=task.stack.path.parent)


def is_last(optimiser: Path, iterations: int) -> bool:
    return optimiser.name == f"run_it{iterations:03d}_optimiser.star"


def last_maps(folder: Path, classes: int) -> list[Path]:
    """The class maps of the last iteration that has them all. Raises RunFailedError."""
    for first in sorted(folder.glob("run_it*_class001.mrc"), reverse=True):
        maps = [first.with_name(first.name.replace("class001", f"class{k + 1:03d}")) for k in range(classes)]
        if all(path.is_file() for path in maps):
            return maps
    raise RunFailedError(f"unusable output: {_PROGRAM} left no map of each class")


def batches_of(parameters: dict[str, Any], n_particles: int) -> int:
    """Images that gradient descent sees: batches grow evenly between the first and the last size."""
    first, last = (min(parameters[f"sgd_{which}_batch"], n_particles) for which in ("initial", "final"))
    between = parameters["sgd_between_iterations"] * (first + last) // 2
    return parameters["sgd_initial_iterations"] * first + between + parameters["sgd_final_iterations"] * last


def write_references(path: Path, maps: list[Path]) -> None:
    write_star(path, {"": pd.DataFrame({"rlnReferenceImage": [str(one.resolve()) for one in maps]})})


def write_result(task: Task, classified: Path, folder: Path) -> None:
    """Translate the last iteration. Raises RunFailedError if something of it is missing or broken."""
    stem = classified / f"run_it{task.parameters['iterations']:03d}"
    classes, n = task.parameters["classes"], len(task.stack)
    data = Path(f"{stem}_data.star")
    with program_output(data):
        table = in_stack_order(read_star(data)["particles"], n, data)
        labels = table["rlnClassNumber"].to_numpy(np.int64) - 1
        rotations, shifts_A = poses_from_table(table)
    if labels.min() < 0 or labels.max() >= classes:
        raise RunFailedError(f"unusable output: {data.name}: a particle has no class")
    none = np.zeros((n, 0))
    write_assignments(folder, Assignments(labels, np.eye(classes)[labels], rotations, shifts_A, none))
    for k in range(classes):
        path = Path(f"{stem}_class{k + 1:03d}.mrc")
        with program_output(path):
            volume, _ = read_map(path)
            if volume.shape != (task.stack.box_px,) * 3:
                raise ValueError(f"a map of {volume.shape} voxels")
        write_map(class_volume_path(folder, k), volume, task.stack.pixel_size_A)
        for particle in task.evaluation[labels[task.evaluation] == k]:
            write_map(sample_path(folder, int(particle)), volume, task.stack.pixel_size_A)


def in_stack_order(table: pd.DataFrame, n: int, path: Path) -> pd.DataFrame:
    """Rows in the order of the stack, which RELION does not keep. Raises ValueError if not each is there once."""
    numbers = table["rlnImageName"].str.partition("@")[0].astype(int).to_numpy() - 1
    if not np.array_equal(np.sort(numbers), np.arange(n)):
        raise ValueError(f"{path.name} lists {len(table)} of {n} particles")
    return table.iloc[np.argsort(numbers)].reset_index(drop=True)
