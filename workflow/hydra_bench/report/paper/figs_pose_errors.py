"""Errors of pose and shift after the alignment of each class's map to its species."""

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from hydra_bench.contracts.reconstruction import read_assignments
from hydra_bench.contracts.truth import Truth
from hydra_bench.core.errors import InputError
from hydra_bench.metrics.pose import PoseErrors, aligned_poses, pose_errors
from hydra_bench.metrics.symmetry import NO_SYMMETRY, group_of_map
from hydra_bench.report.figures.method_lines import method_legend
from hydra_bench.report.figures.style import Look, Picture
from hydra_bench.report.paper.marked_particles import alignment
from hydra_bench.report.paper.shown_runs import ShownRuns
from hydra_bench.report.results import EvaluatedRun, truth_of

_BINS = 40


def draw(shown: ShownRuns) -> list[Picture]:
    """Histograms over the particles in the class that is matched to their species. None without true poses."""
    truth = truth_of(shown.main) if shown.main.metrics.pose else None
    if truth is None or truth.rotations is None:
        return []
    searched = [run for run in shown.competitors if run.metrics.pose]
    found = [(run, errors) for run in searched if (errors := _pose_errors(run, truth)) is not None]
    if not found:
        return []
    figure = Figure(figsize=(7.2, 3.1), layout="constrained")
    angles, shifts = figure.subplots(1, 2)
    farthest_A = max(float(np.quantile(errors.shift_A, 0.99)) for _, errors in found)
    for run, errors in found:
        line = shown.lines[run.method]
        look: Look = {"histtype": "step", "color": line.colour, "linestyle": line.style, "linewidth": 1.4}
        share = np.full(len(errors.angle_deg), 1 / len(errors.angle_deg))
        angles.hist(errors.angle_deg, np.geomspace(0.3, 180, _BINS), weights=share, **look)
        shifts.hist(errors.shift_A, np.linspace(0, farthest_A, _BINS), weights=share, **look)
    angles.set(xscale="log", xlabel="angle between estimated and true pose (°)", ylabel="share of particles")
    angles.set_xticks([1, 10, 100], ["1", "10", "100"])
    shifts.set(xlabel="in-plane shift error (Å)")
    unmarked = {method: replace(line, marked=False) for method, line in shown.lines.items()}
    method_legend(figure, [run for run, _ in found], unmarked)
    text = (
        "Pose errors after the alignment of each class's map to its species, over the particles in the class that is "
        f"matched to their species. Seed {shown.main.seed}."
    )
    return [Picture("pose_errors", "Pose errors", text, figure)]


def _pose_errors(run: EvaluatedRun, truth: Truth) -> PoseErrors | None:
    """Of the particles in matched classes; None where no class has an alignment, or there are no poses."""
    try:
        assignments = read_assignments(run.places.reconstruction, len(truth))
    except InputError:
        return None
    assert truth.rotations is not None
    assert truth.shifts_A is not None
    angles_deg, shifts_A = [], []
    labels, own_labels = np.array(run.labels), np.array(run.own_labels)
    for label, own_label in sorted(set(zip(run.labels, run.own_labels, strict=True))):
        species = run.clustering.matched_class[label]
        aligned = None if species is None else alignment(run, label + 1, own_label + 1)
        matched = np.flatnonzero((labels == label) & (own_labels == own_label) & (truth.classes == species))
        if species is None or aligned is None or not len(matched):
            continue
        rotations, shifts = aligned_poses(
            assignments.rotations[matched], assignments.shifts_A[matched], aligned, float(run.pixel_size_A)
        )
        group = group_of_map(truth.class_volume(species), _symmetry(run, own_label + 1))
        errors = pose_errors(rotations, shifts, truth.rotations[matched], truth.shifts_A[matched], group)
        angles_deg.append(errors.angle_deg)
        shifts_A.append(errors.shift_A)
    return PoseErrors(np.concatenate(angles_deg), np.concatenate(shifts_A)) if angles_deg else None


def _symmetry(run: EvaluatedRun, own_label: int) -> str:
    """The point group that the errors of a label (from 1) go by."""
    per_class = run.metrics.pose.per_class if run.metrics.pose else []
    return next((entry.symmetry for entry in per_class if entry.label == own_label), NO_SYMMETRY)
