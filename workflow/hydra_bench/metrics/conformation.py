"""How well latent coordinates follow the true conformation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression


@dataclass(frozen=True)
class Recovery:
    """One true coordinate: |Spearman's rank correlation| with the best latent axis, and R² of a monotone fit."""

    spearman: float
    r2: float


def principal_axes(latents: np.ndarray, count: int | None = None) -> np.ndarray:
    """Latents (N, d) in their principal axes (N, min(count, d)), each axis' largest value positive."""
    centred = latents - latents.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    projected = centred @ axes[:count].T
    largest = projected[np.abs(projected).argmax(0), np.arange(projected.shape[1])]
    return projected * np.where(largest < 0, -1.0, 1.0)


def in_two_columns(latents: np.ndarray, spaces: np.ndarray) -> np.ndarray:
    """Latents (N, d) for a plot, (N, 2): as they are for d <= 2, else two principal axes of each space (N,)."""
    columns = latents.shape[1]
    projection = np.zeros((len(latents), 2))
    if columns <= 2:
        projection[:, :columns] = latents
        return projection
    for space in np.unique(spaces):
        axes = principal_axes(latents[spaces == space], 2)
        projection[spaces == space, : axes.shape[1]] = axes
    return projection


def recovery(latents: np.ndarray, coordinate: np.ndarray) -> Recovery | None:
    """How a true coordinate (N,) of one class's particles shows in their latents (N, d).

    Of the principal axes of the latents the one with the strongest rank correlation counts: a latent space
    has no preferred direction and no sign. None where either side does not vary or there is nothing to fit.
    """
    if latents.shape[1] == 0 or len(coordinate) < 3 or np.ptp(coordinate) == 0:
        return None
    axes = principal_axes(latents)
    axes = axes[:, np.ptp(axes, axis=0) > 1e-9 * max(1.0, float(np.abs(latents).max()))]
    if not axes.shape[1]:
        return None
    ranks = [float(spearmanr(axis, coordinate).statistic) for axis in axes.T]
    best = int(np.argmax(np.abs(ranks)))
    fit = IsotonicRegression(increasing=ranks[best] >= 0).fit_transform(axes[:, best], coordinate)
    residual = np.square(coordinate - fit).sum() / np.square(coordinate - coordinate.mean()).sum()
    return Recovery(abs(ranks[best]), float(1 - residual))
