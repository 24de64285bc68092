"""RELION: maps of K classes by stochastic gradient descent, then 3D classification that starts from them.

Two runs of `relion_refine` in the task's working folder: `sgd/run_it*` from random poses, and `class3d/run_it*` from
the maps of the first. In the first each iteration sees a mini-batch, and who was never in one has class 0; the
second's iterations are over all particles, so its last gives everyone a class and a pose. RELION's angles and
origins are this project's, and so are its maps. It keeps no posteriors: a particle's is 1 in its class.

Source of the method: Scheres, J. Struct. Biol. 180 (2012) 519.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hydra_bench.contracts.places import IMAGES_NAME, PARTICLES_NAME
from hydra_bench.contracts.poses import poses_from_table
from hydra_bench.contracts.reconstruction import Assignments, GivenPoses, write_assignments, write_class_map
from hydra_bench.contracts.stack import Stack, optics_table, particle_table
from hydra_bench.core.errors import InputError, RunFailedError
from hydra_bench.core.mrc import read_map, write_map
from hydra_bench.core.star import read_star, write_star
from hydra_bench.methods.bounds.backprojection import back_project
from hydra_bench.methods.programs.programs import program_output
from hydra_bench.methods.programs.task import Task
from hydra_bench.methods.recording import Outcome
from hydra_bench.physics.preparation import radius_in_half_boxes, ring_inside_window

from . import options

REFINE, PREPROCESS = "relion_refine", "relion_preprocess"

_CHECKED_IMAGES = 1000
"""Images whose background is looked at, to tell whether a stack is normalised."""


def run(task: Task, folder: Path) -> Outcome:
    """Run RELION on the task's stack; write the reconstruction into a folder.

    Raises
    ------
    RunFailedError
        If a program failed or left something unusable.
    InputError
        If the references are not K maps of the stack's box.
    """
    programs, parameters = task.programs, task.parameters
    version = relion_version(programs.output(REFINE, "--version"))
    programs.versions["relion"] = ".".join(map(str, version))
    defaults = options.printed_defaults(programs.output(REFINE, "--help"))
    for name in ("sgd", "class3d"):
        (task.work / name).mkdir(exist_ok=True)
    prepare_particles(task)
    shared = options.shared_options(task)
    task.departures.extend(options.departures("all steps", shared, defaults))
    images_seen = parameters["iter"] * len(task.stack)
    if "references" in parameters:
        references = given_references(task)
    elif task.poses is not None:
        references = averages(task, task.poses)
    else:
        descent = options.descent_options(parameters, len(task.stack), version[0])
        task.departures.extend(options.departures("ab initio", descent, defaults))
        references = ab_initio(task, [*shared, *descent])
        images_seen += sum(options.batch_sizes(parameters, len(task.stack)))
    write_star(task.work / "references.star", {"": pd.DataFrame({"rlnReferenceImage": references})})
    classification = options.classification_options(parameters)
    task.departures.extend(options.departures("classification", classification, defaults))
    classify(task, [*shared, "--ref", "references.star", *classification])
    write_reconstruction(task, task.work / "class3d" / f"run_it{parameters['iter']:03d}", folder)
    return Outcome(images_seen)


def relion_version(said: str) -> tuple[int, ...]:
    """(3, 1, 3) of what `relion_refine --version` says. Raises RunFailedError."""
    found = re.search(r"version:?\s*(\d+(?:\.\d+)*)", said, re.IGNORECASE)
    if found is None:
        raise RunFailedError(f"{REFINE} --version: no version in {' '.join(said.split())[:80]!r}")
    return tuple(int(part) for part in found.group(1).split("."))


def background_is_normal(stack: Stack) -> bool:
    """Whether images have, on the whole, mean 0 and deviation 1 (to a tenth) outside the circle that the box holds.

    Of images that were windowed, inside the window's edge.
    """
    sample = np.unique(np.linspace(0, len(stack) - 1, min(len(stack), _CHECKED_IMAGES)).astype(np.int64))
    radius = radius_in_half_boxes(stack.box_px)
    images = torch.from_numpy(stack.read_images(sample))
    outside = radius > 1
    ring = ring_inside_window(images, outside)
    if ring is not None:
        outside = (radius > ring[0]) & (radius <= ring[1])
    background = images[:, outside]
    mean, deviation = float(background.mean()), float(background.std(1, correction=0).mean())
    return abs(mean) < 0.1 and abs(deviation - 1) < 0.1


def prepare_particles(task: Task) -> None:
    """Put the stack into the working folder, normalised as is wanted."""
    stack, wanted = task.stack, task.parameters["normalise"]
    # A link, so that no path of this machine is in the command lines that the report shows.
    link = task.work / IMAGES_NAME
    link.unlink(missing_ok=True)
    link.symlink_to(stack.images.paths[0].resolve())
    images = IMAGES_NAME
    if wanted == "never" or (wanted == "auto" and background_is_normal(stack)):
        task.departures.append(f"particles as they are in the stack, not normalised by {PREPROCESS}")
    else:
        images = f"normalised_{IMAGES_NAME}"
        normalise = ["--norm", "--bg_radius", str(stack.box_px // 2 - 1)]
        task.programs.run(PREPROCESS, "--operate_on", link.name, *normalise, "--operate_out", images, cwd=task.work)
    assert stack.optics is not None, "a stack of the benchmark has a CTF"
    assert stack.defocus is not None
    optics, groups = optics_table(stack.optics, stack.box_px, stack.pixel_size_A)
    particles = particle_table(len(stack), stack.defocus, images, groups)
    write_star(task.work / PARTICLES_NAME, {"optics": optics, "particles": particles})


def ab_initio(task: Task, words: list[str]) -> list[str]:
    """Run the first step, unless an earlier attempt has ended it; return its maps, relative to the working folder."""
    parameters, done = task.parameters, task.work / "sgd" / "done"
    if not done.is_file():
        task.programs.run(REFINE, *words, "--o", "sgd/run", cwd=task.work)
    total = sum(parameters[f"sgd_{part}_iter"] for part in ("ini", "inbetween", "fin"))
    names = [f"sgd/run_it{total:03d}_class{k + 1:03d}.mrc" for k in range(parameters["classes"])]
    for name in names:
        read_class_map(task.work / name, task.stack)
    done.touch()
    return names


def classify(task: Task, words: list[str]) -> None:
    """Run the second step; one that was killed goes on from its last iteration."""
    so_far = sorted((task.work / "class3d").glob("run_it*_optimiser.star"))
    if so_far and so_far[-1].name == f"run_it{task.parameters['iter']:03d}_optimiser.star":
        return
    if so_far:
        words = ["--continue", f"class3d/{so_far[-1].name}", *options.execution_options(task)]
    task.programs.run(REFINE, *words, "--o", "class3d/run", cwd=task.work)


def given_references(task: Task) -> list[str]:
    """Copy the maps to start from into the working folder; return their names. Raises InputError."""
    paths = [Path(path) for path in task.parameters["references"]]
    if len(paths) != task.parameters["classes"]:
        raise InputError(f"parameters.references: {len(paths)} maps; there are {task.parameters['classes']} classes")
    names = [f"reference_{k + 1:03d}.mrc" for k in range(len(paths))]
    for path, name in zip(paths, names, strict=True):
        volume, pixel_size_A = read_map(path)
        if len(volume) != task.stack.box_px or not np.isclose(pixel_size_A, task.stack.pixel_size_A, rtol=1e-3):
            wanted = f"{task.stack.box_px} px of {task.stack.pixel_size_A:g} Å"
            raise InputError(f"{path}: {len(volume)} px of {pixel_size_A:g} Å; the stack has {wanted}")
        write_map(task.work / name, volume, task.stack.pixel_size_A)
    return names


def averages(task: Task, poses: GivenPoses) -> list[str]:
    """Average the particles of each given class at the given poses, as maps to start from; return their names.

    RELION is not given the poses themselves. Started from the truth it tells what its classification can hold.
    """
    assert poses.classes is not None, "a run of the benchmark has them"
    found = int(poses.classes.max()) + 1
    if found > task.parameters["classes"]:
        raise RunFailedError(f"parameters.classes: {task.parameters['classes']}; {poses.source} has {found} classes")
    task.departures.append(f"classification started from averages at the classes and poses of {poses.source}")
    names = [f"reference_{k + 1:03d}.mrc" for k in range(task.parameters["classes"])]
    for k, name in enumerate(names):
        volume = back_project(task.stack, np.flatnonzero(poses.classes == k), poses.rotations, poses.shifts_A)
        write_map(task.work / name, volume, task.stack.pixel_size_A)
    return names


def read_class_map(path: Path, stack: Stack) -> np.ndarray:
    """A map (D, D, D) that RELION wrote. Raises RunFailedError if it is missing, broken or of another box."""
    with program_output(path):
        volume, _ = read_map(path)
    if len(volume) != stack.box_px:
        raise RunFailedError(f"unusable output: {path}: {len(volume)} px; the stack has {stack.box_px}")
    return volume


def read_particles(path: Path, n_particles: int, n_classes: int) -> Assignments:
    """What a *_data.star says of the particles, in the order of the stack. Raises RunFailedError."""
    with program_output(path):
        table = read_star(path)["particles"]
        rows = table["rlnImageName"].str.split("@").str[0].astype(int).to_numpy() - 1
        classes = table["rlnClassNumber"].to_numpy(np.int64) - 1
        rotations, shifts_A = poses_from_table(table, str(path))
    if not np.array_equal(np.sort(rows), np.arange(n_particles)):
        raise RunFailedError(f"unusable output: {path}: {len(rows)} particles; the stack has {n_particles}")
    if classes.min() < 0 or classes.max() >= n_classes:
        raise RunFailedError(f"unusable output: {path}: rlnClassNumber must lie in 1..{n_classes}")
    order = np.argsort(rows)
    return Assignments.of_classes(classes[order], n_classes, rotations[order], shifts_A[order])


def write_reconstruction(task: Task, root: Path, folder: Path) -> None:
    """Translate RELION's files <root>_data.star and <root>_class<k>.mrc into the contract. Raises RunFailedError."""
    n_classes = task.parameters["classes"]
    assignments = read_particles(root.with_name(f"{root.name}_data.star"), len(task.stack), n_classes)
    write_assignments(folder, assignments)
    for k in range(n_classes):
        volume = read_class_map(root.with_name(f"{root.name}_class{k + 1:03d}.mrc"), task.stack)
        evaluated = task.evaluation[assignments.classes[task.evaluation] == k]
        write_class_map(folder, k, volume, task.stack.pixel_size_A, evaluated)
