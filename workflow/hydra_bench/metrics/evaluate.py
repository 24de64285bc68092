"""Evaluation of one run: the three contracts in, its metrics file and the aligned maps out.

Nothing depends on the time of day, so the same run gives the same bytes. Where classes are joined, `labels`, the
clustering and per_particle are those after it; alignments, poses, conformations and latents are of the method's own
labels, each of which has its own frame, and `own_labels` are these.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

from hydra_bench.contracts.metrics_file import MetricsFile, RunCost, write_metrics
from hydra_bench.contracts.places import EVALUATION_NAME, is_name
from hydra_bench.contracts.reconstruction import (
    FRAME,
    GIVEN,
    LABELS,
    NO_MAPS,
    OK,
    POSES,
    TRUTH_FRAME,
    Assignments,
    Run,
    read_assignments,
    read_history_labels,
    read_run,
)
from hydra_bench.contracts.scores import (
    Calibration,
    CalibrationAtNoise,
    FscScores,
    LabelAlignment,
    ParticleFsc,
    SpeciesFsc,
)
from hydra_bench.contracts.stack import Stack, read_evaluation_list, read_stack
from hydra_bench.contracts.truth import Truth, judged_by, read_truth
from hydra_bench.core.checksums import check_checksums
from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.mrc import write_map
from hydra_bench.core.types import FloatArray
from hydra_bench.maps.fsc import resolution, shell_frequencies
from hydra_bench.maps.masks import SOFT_MASK_TEXT
from hydra_bench.metrics.calibration import R, calibration
from hydra_bench.metrics.clustering import Labels, joined, junk_scores, labels_of, score
from hydra_bench.metrics.own_labels import conformation, latents, pose
from hydra_bench.metrics.resamples import of_means
from hydra_bench.metrics.volumes import AlignedMaps, JudgedRun
from hydra_bench.physics.rotations import euler_from_matrices

_KEPT = 1e-3
"""By how much poses that were kept may miss those given, in rotation matrices and in Å: files have five digits."""


@dataclass(frozen=True)
class EvaluationSettings:
    """mask: what both maps are multiplied by before the FSC that tables show: "none", "truth" (a soft mask of the true
    map), or the radius of a soft sphere in Å.

    merge_classes: labels (from 1) that count as one, by name. symmetry: point groups of species, by their names.
    """

    mask: str | float = "none"
    merge_classes: dict[str, list[int]] | None = None
    symmetry: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_definition(cls, evaluation: JsonObject) -> EvaluationSettings:  # as the configuration's schema says
        """From the configuration's `evaluation` block, and the method's merge_classes.

        mask is "none", "truth" or {"radius_A": ...}.
        """
        mask = evaluation.get("mask", "none")
        return cls(
            mask=mask if isinstance(mask, str) else float(mask["radius_A"]),
            merge_classes=evaluation.get("merge_classes"),
            symmetry=evaluation.get("symmetry") or {},
        )

    @property
    def mask_name(self) -> str:
        if self.mask == "truth":
            return f"soft mask of the true map ({SOFT_MASK_TEXT})"
        return self.mask if isinstance(self.mask, str) else f"sphere of radius {self.mask:g} Å"


@dataclass(frozen=True)
class RunFiles:
    """What is evaluated, and what it is called: particles.star of the stack, folders of truth and reconstruction."""

    stack_star: Path
    truth: Path
    reconstruction: Path
    dataset: str
    method: str
    label: str


def evaluate(files: RunFiles, output_json: Path, aligned_folder: Path, settings: EvaluationSettings) -> MetricsFile:
    """Evaluate one run, write `output_json` and aligned_folder/label_<j>.mrc, and return what the file says.

    A failed run gives the same keys with null for all that was to be measured.

    Raises
    ------
    InputError
        If a dataset or a method has no name, or a contract is broken: see read_stack, read_truth, read_run and
        read_assignments; or if a file of the reconstruction is not as it was written.
    """
    for kind, name in (("dataset", files.dataset), ("method", files.method)):
        if not is_name(name):
            raise InputError(f"--{kind}: {name[:100]!r} is no name of letters, digits, _, . and - (at most 100)")
    stack = read_stack(files.stack_star)
    truth = read_truth(files.truth)
    check_checksums(files.reconstruction)
    run = read_run(files.reconstruction)
    if len(truth) != len(stack):
        raise InputError(f"{files.truth}: {len(truth)} particles; the stack {files.stack_star} has {len(stack)}")
    aligned_folder.mkdir(parents=True, exist_ok=True)
    measured = _measured(stack, truth, files, aligned_folder, settings, run) if run.state == OK else {}
    metrics = MetricsFile(
        dataset=files.dataset,
        method=files.method,
        label=files.label,
        seed=run.seed,
        state=run.state,
        reason=run.reason,
        reads_truth=run.reads_truth,
        program=run.program,
        program_version=run.version,
        parameters=run.parameters,
        notes=run.notes,
        device=run.device,
        images_seen=run.images_seen,
        n_particles=len(stack),
        box_px=stack.box_px,
        pixel_size_A=stack.pixel_size_A,
        class_names=list(truth.class_names),
        judged_by=judged_by(files.truth),
        cost=RunCost(**asdict(run.cost)),
        **measured,
    )
    write_metrics(output_json, metrics)
    return metrics


def _measured(
    stack: Stack,
    truth: Truth,
    files: RunFiles,
    aligned_folder: Path,
    settings: EvaluationSettings,
    recorded: Run,
) -> JsonObject:  # keys of MetricsFile, whose types it holds them to
    """What only a run that ended well has."""
    assignments = read_assignments(files.reconstruction, len(stack))
    frame = recorded.notes.get(FRAME, "") if recorded.reads_truth else ""
    given = _given(recorded, truth, assignments)
    evaluated = read_evaluation_list(stack.path.parent / EVALUATION_NAME, len(stack))
    # Its own labels, each with a frame and a latent space; and those that are scored, of which some may be joined.
    own = labels_of(assignments, truth.n_classes)
    predicted = joined(own, settings.merge_classes)
    # Without a reference all particles are of one class, of which nothing is known.
    known = judged_by(files.truth) != "nothing" and LABELS not in given
    clustering = score(truth.classes, truth.class_names, predicted, known, truth.junk)
    run = JudgedRun(files.reconstruction, stack, truth, assignments, own, evaluated, frame == TRUTH_FRAME)
    maps = AlignedMaps(run, settings.mask)
    for label in range(1, predicted.n_labels + 1):
        target = clustering.species_of(label)
        if frame != NO_MAPS and label not in clustering.empty_labels and target is not None and truth.has_map(target):
            volume = maps.aligned_label_map(predicted.group(label - 1).map_of - 1, target)
            write_map(aligned_folder / f"label_{label}.mrc", volume, stack.pixel_size_A)
    fsc = _fsc(maps, run, predicted, settings.mask_name) if len(evaluated) and frame != NO_MAPS else None
    found = {own: clustering.matched_class[label] for own, label in predicted.joined_as.items()}

    def believed(kind: type[R], posteriors: FloatArray | None) -> R | None:
        if posteriors is None or not known or own.source != "classes":
            return None
        return calibration(kind, posteriors, predicted.joined_as, clustering, truth.classes, truth.junk)

    matches = {own: true_class for own, true_class in found.items() if true_class is not None}
    return {
        "given": given,
        "clustering": clustering,
        "calibration": believed(Calibration, assignments.posteriors),
        "calibration_at_noise": believed(CalibrationAtNoise, assignments.at_noise),
        "junk": junk_scores(assignments.junk, truth.junk) if known else None,
        "fsc": fsc,
        "pose": None if POSES in given else pose(maps, run, matches, settings.symmetry),
        "alignments": _alignments(maps, run),
        "conformation": conformation(run, matches),
        "latents": latents(run),
        "labels": predicted.labels.tolist(),
        "own_labels": None if predicted.groups is None else own.labels.tolist(),
        "true_classes": truth.classes.tolist(),
        "history_ari": _history_ari(files.reconstruction, truth, predicted) if known else None,
    }


def _given(run: Run, truth: Truth, assignments: Assignments) -> list[str]:
    """What of a bound's results is the truth's own: what it says itself, and true poses that it was given and kept."""
    if not run.reads_truth:
        return []
    given = set(run.notes.get(GIVEN, []))
    if truth.rotations is not None and truth.shifts_A is not None:
        turned, moved = assignments.rotations - truth.rotations, assignments.shifts_A - truth.shifts_A
        if np.abs(turned).max() < _KEPT and np.abs(moved).max() < _KEPT:
            given.add(POSES)
    return sorted(given)


def _history_ari(folder: Path, truth: Truth, predicted: Labels) -> list[float] | None:
    """The ARI of the labels that a method had at each row of its history, joined as its last; None if it left none."""
    labels = read_history_labels(folder, len(truth))
    if labels is None:
        return None
    if predicted.groups is not None:
        joined_as = predicted.joined_as
        labels = np.vectorize(lambda own: joined_as.get(own, predicted.n_labels + own), otypes=[np.int64])(labels)
    return [float(adjusted_rand_score(truth.classes, row)) for row in labels]


def _fsc(maps: AlignedMaps, run: JudgedRun, predicted: Labels, mask_name: str) -> FscScores:
    """FSC of every evaluated particle, of which there is at least one."""
    agreements = [maps.particle_agreement(int(i)) for i in run.evaluated]
    auc = np.array([found.stated.auc for found in agreements])
    unmasked = np.array([found.unmasked.auc for found in agreements])
    masked = np.array([found.masked.auc for found in agreements])
    cryobench = np.array([found.stated.cryobench_auc for found in agreements])
    gains = [maps.gain(int(i)) for i in run.evaluated]
    curves = np.stack([found.stated.curve for found in agreements])
    classes, labels = run.truth.classes[run.evaluated], predicted.labels[run.evaluated]
    pixel = run.stack.pixel_size_A
    per_class = []
    for k, name in enumerate(run.truth.class_names):
        own = classes == k
        if own.any():
            mean = curves[own].mean(0)
            per_class.append(
                SpeciesFsc(
                    class_name=name,
                    auc_mean=auc[own].mean(),
                    auc_sd=auc[own].std(),
                    curve_mean=mean.tolist(),
                    curve_sd=curves[own].std(0).tolist(),
                    resolution_0_5_A=resolution(mean, pixel, 0.5),
                    resolution_0_143_A=resolution(mean, pixel, 0.143),
                )
            )
    return FscScores(
        mask=mask_name,
        frequency_per_A=shell_frequencies(run.stack.box_px, pixel).tolist(),
        auc_mean=auc.mean(),
        auc_sd=auc.std(),
        auc_interval=of_means(auc, classes),
        unmasked_auc_mean=unmasked.mean(),
        unmasked_auc_sd=unmasked.std(),
        masked_auc_mean=masked.mean(),
        masked_auc_sd=masked.std(),
        cryobench_auc_mean=cryobench.mean(),
        cryobench_auc_sd=cryobench.std(),
        gain_mean=float(np.mean(known)) if (known := [gain for gain in gains if gain is not None]) else None,
        per_particle=[
            ParticleFsc(
                particle=int(i),
                true_class=int(classes[n]),
                label=int(labels[n]) + 1,
                auc=auc[n],
                unmasked_auc=unmasked[n],
                masked_auc=masked[n],
                cryobench_auc=cryobench[n],
                gain=gains[n],
            )
            for n, i in enumerate(run.evaluated)
        ],
        per_class=per_class,
    )


def _alignments(maps: AlignedMaps, run: JudgedRun) -> list[LabelAlignment]:
    return [
        LabelAlignment(
            label=j + 1,
            class_name=run.truth.class_names[k],
            mirrored=alignment.mirrored,
            correlation=alignment.correlation,
            angles_deg=euler_from_matrices(alignment.rotation).tolist(),
            shift_A=(alignment.shift_px * run.stack.pixel_size_A).tolist(),
        )
        for (j, k), alignment in sorted(maps.alignments.items())
    ]
