"""From a trained mixture to the reconstruction contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hydra_bench import reconstruction
from hydra_bench.files import atomic, write_map
from hydra_bench.hydra.rendering import render_map
from hydra_bench.hydra.train import Trained
from hydra_bench.reconstruction import Assignments
from hydra_bench.stack import Stack

EMPTY_SHARE = 0.02
"""A class with less than this share of the particles is called empty."""


@torch.no_grad()
def assignments(trained: Trained, pixel_size_A: float) -> Assignments:
    """Every particle's state in its most probable class."""
    tables = trained.model.tables
    classes = tables.hard_classes()
    rotations, shifts = np.zeros((tables.n, 3, 3)), np.zeros((tables.n, 2))
    latents = np.zeros((tables.n, tables.latent_dim))
    for k in range(tables.classes):
        members = np.flatnonzero(classes == k)
        index = torch.from_numpy(members).to(tables.rotations.device)
        rotation, shift = tables.pose(index, k)
        rotations[members], shifts[members] = rotation.cpu().numpy(), shift.cpu().numpy()
        if tables.latent_dim:
            latents[members] = tables.latent(index, k)[0].cpu().numpy()
    return Assignments(classes, tables.posteriors.cpu().double().numpy(), rotations, shifts * pixel_size_A, latents)


def write_reconstruction(trained: Trained, stack: Stack, evaluation: np.ndarray, folder: Path) -> None:
    """Write particles.star, class maps at the mean latents, the evaluated particles' own maps, and history.csv."""
    found, tables = assignments(trained, stack.pixel_size_A), trained.model.tables
    reconstruction.write_assignments(folder, found)
    for k, field in enumerate(trained.model.fields):
        volume = render_map(field, stack.box_px, tables.mean_latent(k))
        write_map(reconstruction.class_volume_path(folder, k), volume.cpu().numpy(), stack.pixel_size_A)
    for particle in evaluation:
        field = trained.model.fields[found.classes[particle]]
        latent = torch.from_numpy(found.latents[particle]).float().to(tables.rotations.device)
        volume = render_map(field, stack.box_px, latent if tables.latent_dim else None)
        write_map(reconstruction.sample_path(folder, int(particle)), volume.cpu().numpy(), stack.pixel_size_A)
    with atomic(folder / reconstruction.HISTORY_NAME) as temporary:
        pd.DataFrame(trained.history.rows).round(6).to_csv(temporary, index=False)


def notes(trained: Trained) -> dict[str, object]:
    """What a reader should know of the result: class sizes, empty classes, parameters that were settled."""
    sizes = trained.model.tables.class_sizes()
    limit = EMPTY_SHARE * trained.model.tables.n
    return {"class_sizes": sizes, "empty_classes": [k + 1 for k, size in enumerate(sizes) if size < limit]}
