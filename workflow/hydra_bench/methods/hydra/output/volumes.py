"""Maps of a finished run: at any latent, along principal components, at or between k-means centres."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hydra_bench.contracts.places import PARTICLES_NAME
from hydra_bench.contracts.reconstruction import read_assignments
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import atomic
from hydra_bench.core.k_means import k_means
from hydra_bench.core.mrc import write_map
from hydra_bench.core.star import read_star
from hydra_bench.core.types import FloatArray
from hydra_bench.methods.hydra.model.rendering import render_maps
from hydra_bench.methods.hydra.output.reconstruction import SavedFields

MOST_MAPS = 1000
"""Along a component, or between two centres: more are a mistake, and would fill a disk."""


def class_latents(folder: Path, saved: SavedFields, k: int) -> FloatArray:
    """Latents (n, d_k) of the particles of class k in a run's folder. Raises InputError if there are none."""
    table = read_star(folder / PARTICLES_NAME).get("particles")
    found = read_assignments(folder, 0 if table is None else len(table))
    if not 0 <= k < len(saved.fields):
        raise InputError(f"--class: {k + 1}; 1 to {len(saved.fields)} is allowed")
    d = saved.fields[k].latent_dim
    latents = found.latents[found.classes == k, :d]
    if not d or not len(latents):
        why = "is rigid" if not d else "holds no particles"
        raise InputError(f"--class: class {k + 1} {why}; only its map in volumes/ is there")
    return latents


def principal_path(latents: FloatArray, component: int, points: int) -> FloatArray:
    """Latents (points, d) along a principal component (from 1), between the 5th and 95th percentile.

    The sign of the component is fixed by its largest entry, which is made positive. Raises InputError.
    """
    if not 1 <= component <= latents.shape[1]:
        raise InputError(f"--principal-component: {component}; 1 to {latents.shape[1]} is allowed")
    if not 1 <= points <= MOST_MAPS:
        raise InputError(f"--points: {points}; {'1 or more' if points < 1 else f'at most {MOST_MAPS}'} is allowed")
    centre = latents.mean(0)
    direction = np.linalg.svd(latents - centre, full_matrices=False)[2][component - 1]
    direction = direction * np.sign(direction[np.abs(direction).argmax()])
    first, last = np.percentile((latents - centre) @ direction, [5, 95])
    path: FloatArray = centre + np.linspace(first, last, points)[:, None] * direction
    return path


def centres_path(latents: FloatArray, centres: int, between: int, seed: int = 0) -> FloatArray:
    """K-means centres, each moved to its nearest particle, in the order of a walk, `between` points between each two.

    The walk starts at the centre farthest along the first principal component and goes to the nearest one left.
    Raises InputError for more centres than particles.
    """
    if not 1 <= centres <= len(np.unique(latents, axis=0)):
        raise InputError(f"--kmeans: {centres}; 1 to the number of different latents of the class is allowed")
    if not 0 <= between <= MOST_MAPS:
        raise InputError(f"--between: {between}; {'0 or more' if between < 0 else f'at most {MOST_MAPS}'} is allowed")
    found = k_means(latents, centres, seed).centres
    nearest = ((latents[None] - found[:, None]) ** 2).sum(2).argmin(1)
    left = list(latents[nearest])
    first = np.linalg.svd(latents - latents.mean(0), full_matrices=False)[2][0]
    walk = [left.pop(int(np.argmin([z @ first for z in left])))]
    while left:
        walk.append(left.pop(int(np.argmin([np.linalg.norm(z - walk[-1]) for z in left]))))
    steps = [np.linspace(a, b, between + 2)[:-1] for a, b in pairwise(walk)]
    return np.concatenate([*steps, walk[-1][None]])


def write_volumes(saved: SavedFields, k: int, latents: FloatArray, folder: Path) -> None:
    """Render class k at latents (m, d_k): <class>_<number>.mrc, and latents.csv that says which is which."""
    field = saved.fields[k]
    if latents.shape[1] != field.latent_dim:
        raise InputError(f"--latent: {latents.shape[1]} numbers; class {k + 1} has {field.latent_dim} dimensions")
    rows, volumes = [], render_maps(field, saved.box_px, list(torch.from_numpy(latents).float()))
    for number, (latent, volume) in enumerate(zip(latents, volumes, strict=True)):
        name = f"class_{k + 1}_{number:03d}.mrc"
        write_map(folder / name, volume.numpy(), saved.pixel_size_A)
        rows.append({"map": name, **{f"latent_{j + 1}": value for j, value in enumerate(latent)}})
    with atomic(folder / "latents.csv") as temporary:
        pd.DataFrame(rows).round(6).to_csv(temporary, index=False)
