"""A run's folder as `hydra-bench hydra` leaves it, of particles that are made up: what can be given back from it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hydra_bench.cli.main import main
from hydra_bench.contracts.places import SOURCE_FOLDER, class_volume_path
from hydra_bench.contracts.reconstruction import OK, Assignments, Cost, Run, write_assignments, write_run
from hydra_bench.contracts.source import source_of_particles, write_source
from hydra_bench.contracts.stack import Stack
from hydra_bench.core.mrc import write_map
from hydra_bench.methods.hydra.model.networks import Field
from hydra_bench.methods.hydra.output.reconstruction import FIELDS_NAME
from hydra_bench.physics.rotations import random_rotations


def found_of(n: int, n_classes: int = 3, latent_dim: int = 2, seed: int = 0) -> Assignments:
    """Classes 1, 2, 3, 1, ... with posteriors from 0.5 to 1, random poses, shifts in Å and latents."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % n_classes
    own = np.linspace(0.5, 1, n)
    posteriors = np.repeat((1 - own)[:, None] / (n_classes - 1), n_classes, axis=1)
    posteriors[np.arange(n), classes] = own
    shifts_A, latents = rng.uniform(-6, 6, (n, 2)), rng.standard_normal((n, latent_dim))
    return Assignments(classes, posteriors, random_rotations(n, rng), shifts_A, latents)


def write_result(folder: Path, found: Assignments, state: str = OK) -> Path:
    """A reconstruction without maps."""
    write_assignments(folder, found)
    write_run(folder, Run("hydra", "hydra", "0", 0, {}, "cpu", state, "", 1, Cost(1, 1, 1)))
    return folder


def write_run_of(folder: Path, stack: Stack, found: Assignments | None = None) -> Path:
    """A run on anybody's particles, with the record of where they lie."""
    write_result(folder, found_of(len(stack)) if found is None else found)
    write_source(folder / SOURCE_FOLDER, source_of_particles(stack))
    return folder


def write_untrained_fields(run: Path, latent_dims: tuple[int, ...], box_px: int = 16) -> None:
    """Fields that nobody trained, as a run of Hydra keeps them, and a ball as the map of each class."""
    torch.manual_seed(0)
    fields = [Field(8, 16, 1, d, 0.5, torch.ones(box_px)) for d in latent_dims]
    content = {"shape": list(fields[0].shape), "latent_dims": list(latent_dims), "box_px": box_px, "pixel_size_A": 3.0}
    torch.save({**content, "weights": nn.ModuleList(fields).state_dict()}, run / FIELDS_NAME)
    axis = np.arange(box_px) - box_px // 2
    radius = np.sqrt((axis**2)[:, None, None] + (axis**2)[:, None] + (axis**2) / 4)
    for k in range(len(latent_dims)):
        write_map(class_volume_path(run, k), np.exp(-(radius**2) / (8 + k)), 3.0)


def select(run: Path, out: Path, *options: str) -> Path:
    assert main(["select", str(run), "--out", str(out), *options]) == 0
    return out


def problem(capsys: pytest.CaptureFixture[str], run: Path, out: Path, *options: str) -> str:
    """The one line that a refused selection says."""
    assert main(["select", str(run), "--out", str(out), *options]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert not out.exists()
    return said.removeprefix("hydra-bench: error: ")
