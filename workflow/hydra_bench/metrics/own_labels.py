"""What is measured of a method's own labels, each of which has its own frame and its own latent space.

Where labels are joined for the scores, these stay apart; `matches` says of each the class that it, or what it is joined
to, is matched to. Labels in the results are 1-based.
"""

import numpy as np

from hydra_bench.contracts.scores import Conformations, LabelConformation, LabelPose, Latents, PoseErrors
from hydra_bench.metrics.conformation import in_two_columns, recovery
from hydra_bench.metrics.pose import aligned_poses, pose_errors
from hydra_bench.metrics.symmetry import NO_SYMMETRY, group_of_map
from hydra_bench.metrics.volumes import AlignedMaps, JudgedRun


def _matched_particles(run: JudgedRun, label: int, true_class: int) -> np.ndarray:
    """Numbers of the particles of a label that are of the class it is matched to."""
    return np.flatnonzero((run.own.labels == label) & (run.truth.classes == true_class))


def pose(maps: AlignedMaps, run: JudgedRun, matches: dict[int, int], symmetry: dict[str, str]) -> PoseErrors | None:
    """Errors over particles of the class that their label is matched to; None if there is none, or no true pose.

    symmetry: point groups of species, by their names; others have none.
    """
    truth, assignments = run.truth, run.assignments
    if truth.rotations is None or truth.shifts_A is None:
        return None
    angles, shifts, per_class = [], [], []
    for j, k in sorted(matches.items()):
        chosen = _matched_particles(run, j, k)
        if (j, k) not in maps.alignments or not len(chosen):
            continue
        own = assignments.rotations[chosen], assignments.shifts_A[chosen]
        aligned = aligned_poses(*own, maps.alignments[j, k], run.stack.pixel_size_A)
        named = symmetry.get(truth.class_names[k], NO_SYMMETRY)
        group = group_of_map(truth.class_volume(k), named)
        errors = pose_errors(*aligned, truth.rotations[chosen], truth.shifts_A[chosen], group)
        angles.append(errors.angle_deg)
        shifts.append(errors.shift_A)
        per_class.append(
            LabelPose(
                class_name=truth.class_names[k],
                label=j + 1,
                n_particles=len(chosen),
                symmetry=named,
                median_angular_error_deg=float(np.median(errors.angle_deg)),
                median_shift_error_A=float(np.median(errors.shift_A)),
            )
        )
    if not angles:
        return None
    return PoseErrors(
        median_angular_error_deg=float(np.median(np.concatenate(angles))),
        median_shift_error_A=float(np.median(np.concatenate(shifts))),
        per_class=per_class,
    )


def conformation(run: JudgedRun, matches: dict[int, int]) -> Conformations | None:
    """Per matched class that has true coordinates, and per coordinate; None where no class has any."""
    truth = run.truth
    has = ~np.isnan(truth.conformations)
    if not has.any():
        return None
    per_class = []
    for j, k in sorted(matches.items()):
        chosen = _matched_particles(run, j, k)
        # A class that does not move has NaN throughout, and nothing to say here.
        coordinates = np.flatnonzero(has[chosen].any(0))
        if not len(coordinates):
            continue
        found = [recovery(run.assignments.latents[chosen], truth.conformations[chosen, c]) for c in coordinates]
        per_class.append(
            LabelConformation(class_name=truth.class_names[k], label=j + 1, n_particles=len(chosen), coordinates=found)
        )
    return Conformations(per_class=per_class)


def latents(run: JudgedRun) -> Latents | None:
    """Two coordinates a particle, for plots; None for a method without latents."""
    dimension = run.assignments.latents.shape[1]
    if not dimension:
        return None
    # A one-class method has one latent space, whatever k-means cut it into.
    spaces = run.own.labels if run.own.centres is None else np.zeros_like(run.own.labels)
    return Latents(dimension=dimension, projection=in_two_columns(run.assignments.latents, spaces).tolist())
