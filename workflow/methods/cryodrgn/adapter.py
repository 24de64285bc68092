"""cryoDRGN 4.3: DRGN-AI (`abinit`), cryoDRGN2 (`abinit_het_old`) and cryoDRGN with given poses (`train_vae`).

Each is the program itself, called with its own defaults but for what the definition says. All have one class and a
latent for each particle; their maps are decoded by `cryodrgn eval_vol`, the class's at the latent that is nearest to
the mean of all, a particle's at its own. This folder has no card: the methods drgnai, cryodrgn2 and cryodrgn_fixed name
its functions in theirs.

Sources: Zhong et al., Nature Methods 18 (2021) 176; Zhong et al., ICCV 2021 (cryoDRGN2); Levy et al., Nature Methods
22 (2025) 1486 (DRGN-AI); https://github.com/ml-struct-bio/cryodrgn, GPL-3, which is run and never imported.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hydra_bench.contracts.places import class_volume_path
from hydra_bench.contracts.reconstruction import HISTORY_NAME, Assignments, sample_path, write_assignments
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.core.mrc import write_map
from hydra_bench.methods import cards as method_cards
from hydra_bench.methods.programs.task import Task
from hydra_bench.methods.recording import Outcome

from . import files

_PROGRAM = "cryodrgn"
_ASK_VERSIONS = "from importlib.metadata import version as v; print(*(f'{p} {v(p)}' for p in ('cryodrgn', 'torch')))"
_CTF, _POSES, _OUTPUT, _LATENTS, _MAPS = "ctf.pkl", "given_poses.pkl", "output", "latents.txt", "maps"
"""Files and folders in the folder that the program runs in."""


@dataclass(frozen=True)
class _Result:
    """What a training left: weights for eval_vol, poses in our terms, latents (N, d), images of its pre-training."""

    weights: Path
    rotations: np.ndarray
    shifts_A: np.ndarray
    latents: np.ndarray
    pretrained: int
    epochs: int


def run_drgnai(task: Task, folder: Path) -> Outcome:
    """DRGN-AI: pose search, then auto-decoding. With given poses the search is left out and decoding starts there.

    Raises RunFailedError, as all here.
    """
    chosen = _Settings("drgnai", "abinit", task)
    fixed = []
    if task.poses is not None:
        chosen.impose(epochs_pose_search=0, n_imgs_pretrain=0)
        files.write_poses(task.work / _POSES, task.poses.rotations, task.poses.shifts_A, task.stack, unit_px=1.0)
        fixed = ["--load-poses", _POSES]
    n, out = len(task.stack), task.work / _OUTPUT
    search = _search_epochs(chosen, n)
    # Loading the last checkpoint of the search would leave the table of poses as it was before the search, so the one
    # before that is taken, whose search is then repeated.
    usable = [epoch for epoch in files.epochs_written(out, "weights") if epoch != search]
    _train(task, chosen, [*fixed, *_resumed(task, usable)])
    last = max(files.epochs_written(out, "pose"), default=0)
    poses = files.read_poses(out / f"pose.{last}.pkl", task.stack, unit_px=1.0)
    latents = files.read_latents(out / f"z.{last}.pkl", n, chosen["zdim"], pickles=1)
    pretrained = min(n, chosen["n_imgs_pretrain"])
    return _finish(task, folder, _Result(out / f"weights.{last}.pkl", *poses, latents, pretrained, last))


def run_cryodrgn2(task: Task, folder: Path) -> Outcome:
    """cryoDRGN2: a variational auto-encoder whose poses are searched anew every few epochs."""
    chosen = _Settings("cryodrgn2", "abinit_het_old", task)
    n, out = len(task.stack), task.work / _OUTPUT
    # Never from a checkpoint: after loading one, the program takes a step at random poses that ruins what was learned.
    _train(task, chosen, ["--shuffle-seed", task.seed, *_resumed(task)])
    poses = files.read_poses(out / "pose.pkl", task.stack, unit_px=task.stack.box_px + 1)
    latents = files.read_latents(out / "z.pkl", n, chosen["zdim"], pickles=2)
    pretrained = min(n, chosen["pretrain"])
    return _finish(task, folder, _Result(out / "weights.pkl", *poses, latents, pretrained, chosen["num_epochs"]))


def run_fixed_poses(task: Task, folder: Path) -> Outcome:
    """CryoDRGN: a variational auto-encoder at given poses."""
    chosen = _Settings("cryodrgn_fixed", "train_vae", task)
    poses = task.poses
    assert poses is not None, "the card says that poses are needed"
    n, out, side = len(task.stack), task.work / _OUTPUT, task.stack.box_px + 1
    files.write_poses(task.work / _POSES, poses.rotations, poses.shifts_A, task.stack, unit_px=side)
    given = ["--poses", _POSES, "--shuffle-seed", task.seed]
    usable = [e for e in files.epochs_written(out, "z") if e < chosen["num_epochs"]]
    # Poses that were being refined are not in its checkpoints, so such a run begins anew.
    _train(task, chosen, [*given, *_resumed(task, [] if chosen["do_pose_sgd"] else usable)])
    found = (poses.rotations, poses.shifts_A)
    if chosen["do_pose_sgd"] and chosen["num_epochs"] >= chosen["pretrain"]:
        found = files.read_poses(out / "pose.pkl", task.stack, unit_px=side)
    latents = files.read_latents(out / "z.pkl", n, chosen["zdim"], pickles=2)
    return _finish(task, folder, _Result(out / "weights.pkl", *found, latents, 0, chosen["num_epochs"]))


class _Settings:
    """A method's parameters, which are options of a command: the same names, and the same defaults, in its schema.

    What the program does unless an option `--no-<name>` forbids it is <name>, true by default.
    """

    def __init__(self, program: str, command: str, task: Task) -> None:
        self.command = command
        properties = method_cards.parameter_schema(program)["properties"]
        self._defaults: JsonObject = {name: schema["default"] for name, schema in properties.items()}
        self._values = self._defaults | task.parameters

    def __getitem__(self, name: str) -> Json:
        return self._values[name]

    def impose(self, **values: object) -> None:
        self._values |= values

    def changed(self) -> Iterator[tuple[list[str], str]]:
        """Words of the option, and the program's default in words, for all that differs from it."""
        for name, default in self._defaults.items():
            value = self._values[name]
            if value == default or value is None or name == "zdim":  # of which the program has no default
                continue
            option = "--" + name.replace("_", "-")
            if isinstance(default, bool):
                yield ["--no-" + option[2:] if default else option], "on" if default else "off"
            else:
                words = value if isinstance(value, list) else [value]
                yield [option, *map(str, words)], "none" if default is None else str(default)


def _search_epochs(chosen: _Settings, n_particles: int) -> int:
    """Epochs of pose search of `abinit`, which its documentation gives as 3 unless asked for otherwise."""
    images, epochs = chosen["n_imgs_pose_search"], chosen["epochs_pose_search"]
    if images is not None:
        return max(2, int(images) // n_particles + 1)
    return 3 if epochs is None else int(epochs)


def _resumed(task: Task, epochs: Sequence[int] = ()) -> list[str]:
    """Options that go on from the last whole checkpoint of an attempt that was killed; none if there is none."""
    out = task.work / _OUTPUT
    for epoch in reversed(epochs):
        if files.is_whole_checkpoint(out / f"weights.{epoch}.pkl"):
            print(f"hydra-bench: going on after epoch {epoch} of an attempt that was stopped", flush=True)
            task.departures.append(f"resumed after epoch {epoch}, since the attempt before was stopped")
            return ["--load", f"{_OUTPUT}/weights.{epoch}.pkl"]
    shutil.rmtree(out, ignore_errors=True)
    return []


def _train(task: Task, chosen: _Settings, more: list[object]) -> None:
    """Run the training to its end. Raises RunFailedError."""
    _note_versions(task)
    files.write_ctf(task.work / _CTF, task.stack)
    defocus = task.stack.defocus
    if defocus is not None and (defocus.b_factor_A2 is not None or defocus.scale is not None):
        task.departures.append(
            "B-factors and scales of the CTF are left out: the program's table has no place for them"
        )
    # Paths from the folder that it runs in, so that the command says nothing of this machine.
    images = os.path.relpath(task.stack.images.paths[0], task.work)
    words: list[object] = [images, "--ctf", _CTF, "--outdir", _OUTPUT, "--zdim", chosen["zdim"], "--seed", task.seed]
    for option, default in chosen.changed():
        words += option
        task.departures.append(f"{' '.join(option)} (the program's default: {default})")
    task.departures.append(f"--max-threads {task.threads}: the threads that every method has")
    task.departures.append("--no-analysis: the program's own plots of the result are not made")
    _run(task, chosen.command, *words, "--max-threads", task.threads, "--no-analysis", *more)
    log = task.work / _OUTPUT / "run.log"
    if task.device == "cuda" and "Use cuda False" in (log.read_text(errors="replace") if log.is_file() else ""):
        task.departures.append("on the CPU: the PyTorch of its environment has no GPU")


def _run(task: Task, *command: object) -> None:
    environment = {"CUDA_VISIBLE_DEVICES": ""} if task.device == "cpu" else {}
    task.programs.run(_PROGRAM, *map(str, command), cwd=task.work, environment=environment)


def _note_versions(task: Task) -> None:
    """Versions of the program and of PyTorch, from its environment's packages: the program takes seconds to start."""
    words = task.programs.output("python3", "-c", _ASK_VERSIONS).split()
    if len(words) != 4:  # it lies on PATH, apart from that Python
        words = [_PROGRAM, task.programs.output(_PROGRAM, "--version").split()[-1]]
    task.programs.versions.update(zip(words[::2], words[1::2], strict=True))


def _finish(task: Task, folder: Path, result: _Result) -> Outcome:
    """Write the reconstruction: one class, latents, and maps decoded at the class's latent and at each particle's."""
    n, stack = len(task.stack), task.stack
    assignments = Assignments(
        np.zeros(n, dtype=np.int64), np.ones((n, 1)), result.rotations, result.shifts_A, result.latents
    )
    write_assignments(folder, assignments)
    mean = result.latents.mean(0)
    middle = int(np.linalg.norm(result.latents - mean, axis=1).argmin())
    particles = [middle, *map(int, task.evaluation)]
    paths = [class_volume_path(folder, 0), *(sample_path(folder, i) for i in particles[1:])]
    decoded = _decode(task, result.weights, result.latents[particles])
    for path, source in zip(paths, decoded, strict=True):
        write_map(path, files.read_volume(source, stack.box_px), stack.pixel_size_A)
    history = files.read_history(task.work / _OUTPUT / "run.log", result.pretrained, n)
    if len(history):
        history.to_csv(folder / HISTORY_NAME, index=False)
    return Outcome(images_seen=result.pretrained + result.epochs * n)


def _decode(task: Task, weights: Path, latents: np.ndarray) -> list[Path]:
    """Maps at latents (M, d), by `cryodrgn eval_vol`. Raises RunFailedError."""
    np.savetxt(task.work / _LATENTS, latents, fmt="%.9g")
    shutil.rmtree(task.work / _MAPS, ignore_errors=True)
    words = [weights.relative_to(task.work), "--config", f"{_OUTPUT}/config.yaml", "-o", _MAPS, "--zfile", _LATENTS]
    _run(task, "eval_vol", *words, "--Apix", f"{task.stack.pixel_size_A:.6g}")
    return [task.work / _MAPS / f"vol_{i + 1:03d}.mrc" for i in range(len(latents))]
