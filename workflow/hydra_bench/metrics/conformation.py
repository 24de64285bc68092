"""How well latent coordinates follow the true conformation.

A latent space has no preferred direction, sign or scale, so a true coordinate is looked for along one
direction of it, in two ways, neither of which can score by overfitting:

- The best direction, by regression with cross-validation. The particles are cut into FOLDS parts; in turn
  each is scored along the direction, and by the monotone function, that were fitted to the others.
- The first principal axis, which the truth has no part in; only the monotone function is cross-validated.

The first says whether the coordinate is in the latents, the second whether it is what they vary by most. A
coordinate that runs along a curve that turns back on itself is in neither, and one direction misses it.
"""

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import rankdata, spearmanr

from hydra_bench.contracts.scores import Recovery

FOLDS, PERMUTATIONS = 5, 39
_FEWEST = 2 * FOLDS


def principal_axes(latents: np.ndarray, count: int | None = None) -> np.ndarray:
    """Latents (N, d) in their principal axes (N, min(count, d)), each axis' largest value positive."""
    centred = latents - latents.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    projected = centred @ axes[:count].T
    largest = projected[np.abs(projected).argmax(0), np.arange(projected.shape[1])]
    signed: np.ndarray = projected * np.where(largest < 0, -1.0, 1.0)
    return signed


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

    None where either side does not vary, or particles are too few to fit to some and score the others. Without a
    relation the rank correlation is 0 on average, and R² lies a little below 0; permutations of the coordinate say what
    it may be by chance.
    """
    if latents.shape[1] == 0 or len(coordinate) < _FEWEST or np.ptp(coordinate) == 0:
        return None
    axes = principal_axes(latents)
    axes = axes[:, np.ptp(axes, axis=0) > 1e-9 * max(1.0, float(np.abs(latents).max()))]
    if not axes.shape[1]:
        return None
    # Drawn, not cut in order: particles may come sorted. The seed makes the same run give the same numbers.
    folds = np.random.default_rng(0).permutation(np.arange(len(coordinate)) % FOLDS)
    axes = axes / axes.std(0)
    position, r2 = _cross_validated(axes, coordinate, folds)
    _, first_axis_r2 = _cross_validated(axes[:, :1], coordinate, folds)
    generator = np.random.default_rng(0)
    by_chance = [_cross_validated(axes, generator.permutation(coordinate), folds)[1] for _ in range(PERMUTATIONS)]
    return Recovery(
        spearman=_rank_correlation(position, coordinate, folds),
        r2=r2,
        r2_by_chance=float(np.percentile(by_chance, 95)),
        p=(1 + sum(other >= r2 for other in by_chance)) / (1 + PERMUTATIONS),
        first_axis_spearman=abs(float(spearmanr(axes[:, 0], coordinate).statistic)),
        first_axis_r2=first_axis_r2,
    )


def _cross_validated(axes: np.ndarray, coordinate: np.ndarray, folds: np.ndarray) -> tuple[np.ndarray, float]:
    """What the other folds' particles say of each: its position (N,) along the direction in which a coordinate (N,)
    rises, and R² (1 is perfect) of the coordinate with the monotone function of that position.

    axes (N, d): uncorrelated, of standard deviation 1; folds (N,): numbers 0..FOLDS-1.
    """
    position, predicted = np.zeros(len(folds)), np.zeros(len(folds))
    for fold in range(FOLDS):
        held, rest = folds == fold, folds != fold
        direction = _direction(axes[rest], coordinate[rest])
        position[held] = axes[held] @ direction
        predicted[held] = _monotone(axes[rest] @ direction, coordinate[rest], position[held])
    residual = np.square(coordinate - predicted).sum() / np.square(coordinate - coordinate.mean()).sum()
    return position, float(1 - residual)


def _monotone(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The rising function that fits y (N,) at x (N,) best by least squares, linear between, at other places (M,)."""
    places, place_of = np.unique(x, return_inverse=True)
    counts = np.bincount(place_of)
    fitted = isotonic_regression(np.bincount(place_of, y) / counts, weights=counts).x
    values: np.ndarray = np.interp(at, places, fitted)
    return values


def _rank_correlation(position: np.ndarray, coordinate: np.ndarray, folds: np.ndarray) -> float:
    """The mean over folds, each by itself.

    Positions of different folds were put on one scale by other particles, whose mean a particle left out has pulled the
    other way, and unrelated latents would get less than 0.
    """
    correlations = []
    for fold in range(FOLDS):
        held = folds == fold
        if np.ptp(position[held]) > 0 and np.ptp(coordinate[held]) > 0:
            correlations.append(float(spearmanr(position[held], coordinate[held]).statistic))
    return float(np.mean(correlations)) if correlations else 0.0


def _direction(axes: np.ndarray, coordinate: np.ndarray) -> np.ndarray:
    """The direction (d,), of length 1, along which a coordinate (N,) rises, by least squares of its ranks.

    Ranks, so that a stretched scale at one end of the coordinate does not decide.
    """
    centred = axes - axes.mean(0)
    ranks = rankdata(coordinate)
    direction: np.ndarray = np.linalg.lstsq(centred, ranks - ranks.mean(), rcond=None)[0]
    length = float(np.linalg.norm(direction))
    unit: np.ndarray = direction / length if length > 0 else np.eye(axes.shape[1])[0]
    return unit
