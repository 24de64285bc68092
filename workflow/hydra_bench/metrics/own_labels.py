"""What is measured of a method's own labels, each of which has its own frame and its own latent space.

Where labels are joined for the scores, these stay apart; `matches` says of each the class that it, or what it is joined
to, is matched to. Labels in the results are 1-based.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from hydra_bench.contracts.reconstruction import Assignments
from hydra_bench.contracts.truth import Truth
from hydra_bench.metrics.clustering import Labels
from hydra_bench.metrics.conformation import in_two_columns, recovery
from hydra_bench.metrics.pose import aligned_poses, pose_errors
from hydra_bench.metrics.volumes import AlignedMaps


def _matched_particles(truth: Truth, predicted: Labels, label: int, true_class: int | None) -> np.ndarray:
    """Numbers of the particles of a label that are of the class it is matched to."""
    if true_class is None:
        return np.zeros(0, dtype=np.int64)
    return np.nonzero((predicted.labels == label) & (truth.classes == true_class))[0]


def pose(
    maps: AlignedMaps,
    truth: Truth,
    assignments: Assignments,
    own: Labels,
    matches: dict[int, int | None],
    pixel_size_A: float,
) -> dict[str, Any] | None:
    """Errors over particles of the class that their label is matched to; None if there is none, or no true pose."""
    if truth.rotations is None or truth.shifts_A is None:
        return None
    angles, shifts, per_class = [], [], []
    for j, k in sorted(matches.items()):
        chosen = _matched_particles(truth, own, j, k)
        if (j, k) not in maps.alignments or not len(chosen):
            continue
        ours = aligned_poses(
            assignments.rotations[chosen], assignments.shifts_A[chosen], maps.alignments[j, k], pixel_size_A
        )
        errors = pose_errors(*ours, truth.rotations[chosen], truth.shifts_A[chosen])
        angles.append(errors.angle_deg)
        shifts.append(errors.shift_A)
        identity = {"class_name": truth.class_names[k], "label": j + 1, "n_particles": len(chosen)}
        per_class.append(identity | _medians(errors.angle_deg, errors.shift_A))
    if not angles:
        return None
    return {**_medians(np.concatenate(angles), np.concatenate(shifts)), "per_class": per_class}


def _medians(angle_deg: np.ndarray, shift_A: np.ndarray) -> dict[str, float]:
    return {"median_angular_error_deg": np.median(angle_deg), "median_shift_error_A": np.median(shift_A)}


def conformation(
    truth: Truth, assignments: Assignments, own: Labels, matches: dict[int, int | None]
) -> dict[str, Any] | None:
    """Per matched class that has true coordinates, and per coordinate; None where no class has any."""
    has = ~np.isnan(truth.conformations)
    if not has.any():
        return None
    per_class = []
    for j, k in sorted(matches.items()):
        chosen = _matched_particles(truth, own, j, k)
        # A class that does not move has NaN throughout, and nothing to say here.
        coordinates = np.flatnonzero(has[chosen].any(0))
        found = [recovery(assignments.latents[chosen], truth.conformations[chosen, c]) for c in coordinates]
        if found:
            identity = {"class_name": truth.class_names[k], "label": j + 1, "n_particles": len(chosen)}
            per_class.append({**identity, "coordinates": [None if r is None else asdict(r) for r in found]})
    return {"per_class": per_class}


def latents(assignments: Assignments, own: Labels) -> dict[str, Any] | None:
    columns = assignments.latents.shape[1]
    if not columns:
        return None
    # A one-class method has one latent space, whatever k-means cut it into.
    spaces = own.labels if own.centres is None else np.zeros_like(own.labels)
    return {"columns": columns, "projection": in_two_columns(assignments.latents, spaces).tolist()}
