"""Evaluation of one run: the three contracts in, one JSON and the aligned maps out.

Numbers are rounded to six digits and nothing depends on the time of day, so the same run gives the same
bytes. Every sd is over particles and divides by N, as the ± of the paper's Table 1. Labels that
name a map (file names, per_particle, alignments) are 1-based; the lists of labels and classes are 0-based.
Where classes are joined, `labels`, the clustering and per_particle are those after it; alignments, poses, conformations
and latents are of the method's own labels, each of which has its own frame, and `own_labels` are these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from hydra_bench.contracts.places import EVALUATION_NAME
from hydra_bench.contracts.reconstruction import Run, read_assignments, read_history_labels, read_run
from hydra_bench.contracts.stack import Stack, read_evaluation_list, read_stack
from hydra_bench.contracts.truth import Truth, judged_by, read_truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import write_json
from hydra_bench.core.mrc import write_map
from hydra_bench.metrics.clustering import Clustering, Group, Labels, joined, labels_of, score
from hydra_bench.metrics.fsc import resolution, shell_frequencies, spherical_mask
from hydra_bench.metrics.own_labels import conformation, latents, pose
from hydra_bench.metrics.volumes import AlignedMaps
from hydra_bench.physics.rotations import euler_from_matrices

_MEASURED = ("clustering", "fsc", "alignments", "pose", "conformation", "latents")
_MEASURED += ("labels", "own_labels", "true_classes", "history_ari")


@dataclass(frozen=True)
class EvaluationSettings:
    """mask_radius_A: both maps are multiplied by a soft sphere before the FSC, None for none; kmeans_seed.

    merge_classes: labels (from 1) that count as one, by name.
    """

    mask_radius_A: float | None = None
    kmeans_seed: int = 0
    merge_classes: dict[str, list[int]] | None = None

    @classmethod
    def from_definition(cls, evaluation: dict[str, Any]) -> EvaluationSettings:
        """From the configuration's `evaluation` block, and the method's merge_classes.

        mask is "none" or {"radius_A": ...}.
        """
        mask = evaluation.get("mask", "none")
        return cls(
            mask_radius_A=None if mask == "none" else mask["radius_A"],
            merge_classes=evaluation.get("merge_classes"),
        )

    @property
    def mask_name(self) -> str:
        return "none" if self.mask_radius_A is None else f"sphere of radius {self.mask_radius_A:g} Å"


def _quiet(_: str) -> None:
    pass


def evaluate(
    stack_star: Path | str,
    truth_folder: Path | str,
    reconstruction_folder: Path | str,
    output_json: Path | str,
    aligned_folder: Path | str,
    settings: EvaluationSettings,
    dataset: str,
    method: str,
    label: str,
    progress: Callable[[str], None] = _quiet,
) -> dict[str, Any]:
    """Evaluate one run, write `output_json` and aligned_folder/label_<j>.mrc, and return the JSON's content.

    A failed run gives the same fields with null for all that was to be measured.

    Raises
    ------
    InputError
        If a contract is broken: see read_stack, read_truth, read_run and read_assignments.
    """
    folder = Path(reconstruction_folder)
    stack, truth, run = read_stack(stack_star), read_truth(truth_folder), read_run(folder)
    if len(truth) != len(stack):
        raise InputError(f"{truth_folder}: {len(truth)} particles; the stack {stack_star} has {len(stack)}")
    content = _identity(run, stack, truth, Path(truth_folder), dataset, method, label)
    Path(aligned_folder).mkdir(parents=True, exist_ok=True)
    if run.state == "ok":
        content |= _measure(stack, truth, folder, Path(aligned_folder), settings, progress)
        if content["judged_by"] == "nothing":  # all particles are of one class, of which nothing is known
            content["clustering"] |= dict.fromkeys(("ari", "ami", "accuracy"))
            content["history_ari"] = None
    content = _rounded(content)
    write_json(output_json, content)
    return content


def _identity(
    run: Run, stack: Stack, truth: Truth, truth_folder: Path, dataset: str, method: str, label: str
) -> dict[str, Any]:
    fields = asdict(run)
    del fields["method"]
    return {
        **dict.fromkeys(_MEASURED),
        **fields,
        "dataset": dataset,
        "method": method,
        "label": label,
        "n_particles": len(stack),
        "box_px": stack.box_px,
        "pixel_size_A": stack.pixel_size_A,
        "class_names": list(truth.class_names),
        "judged_by": judged_by(truth_folder),
    }


def _measure(
    stack: Stack,
    truth: Truth,
    folder: Path,
    aligned_folder: Path,
    settings: EvaluationSettings,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    assignments = read_assignments(folder, len(stack))
    evaluation = read_evaluation_list(stack.path.parent / EVALUATION_NAME, len(stack))
    # Its own labels, each with a frame and a latent space; and those that are scored, of which some may be joined.
    own = labels_of(assignments, truth.n_classes, settings.kmeans_seed)
    predicted = joined(own, settings.merge_classes)
    clustering = score(truth.classes, truth.n_classes, predicted)
    mask = None
    if settings.mask_radius_A is not None:
        mask = spherical_mask(stack.box_px, 2 * settings.mask_radius_A / stack.pixel_size_A)
    maps = AlignedMaps(truth, folder, assignments, own, evaluation, stack.box_px, mask, progress)
    for j in range(predicted.n_labels):
        target = _target_class(clustering, j)
        if target is not None and truth.has_map(target):
            volume = maps.aligned_label_map(predicted.group(j).largest, target)
            write_map(aligned_folder / f"label_{j + 1}.mrc", volume, stack.pixel_size_A)
    fsc = _fsc(maps, truth, predicted, evaluation, stack, settings, progress)
    matches = _own_matches(predicted, clustering)
    return {
        "clustering": _clustering(clustering, predicted, truth),
        "fsc": fsc,
        "pose": pose(maps, truth, assignments, own, matches, stack.pixel_size_A),
        "alignments": _alignments(maps, truth, stack.pixel_size_A),
        "conformation": conformation(truth, assignments, own, matches),
        "latents": latents(assignments, own),
        "labels": predicted.labels.tolist(),
        "own_labels": None if predicted.groups is None else own.labels.tolist(),
        "true_classes": truth.classes.tolist(),
        "history_ari": _history_ari(folder, truth, predicted),
    }


def _own_matches(predicted: Labels, clustering: Clustering) -> dict[int, int | None]:
    """Own label -> the class that it, or what it is joined to, is matched to."""
    labels = range(predicted.n_labels)
    return {own: clustering.matched_class[j] for j in labels for own in predicted.group(j).members}


def _history_ari(folder: Path, truth: Truth, predicted: Labels) -> list[float] | None:
    """The ARI of the labels that a method had at each row of its history, joined as its last; None if it left none."""
    labels = read_history_labels(folder, len(truth))
    if labels is None:
        return None
    if predicted.groups is not None:
        joined_as = {own: j for j in range(predicted.n_labels) for own in predicted.group(j).members}
        labels = np.vectorize(lambda own: joined_as.get(own, predicted.n_labels + own), otypes=[np.int64])(labels)
    return [adjusted_rand_score(truth.classes, row) for row in labels]


def _target_class(clustering: Clustering, label: int) -> int | None:
    """The class that a label's map is shown against: the matched one, else its most frequent; None if empty."""
    if label in clustering.empty:
        return None
    matched = clustering.matched_class[label]
    return clustering.majority_class[label] if matched is None else matched


def _clustering(clustering: Clustering, predicted: Labels, truth: Truth) -> dict[str, Any]:
    names = truth.class_names
    return {
        "labels_from": predicted.source,
        "ari": clustering.ari,
        "ami": clustering.ami,
        "accuracy": clustering.accuracy,
        "n_labels": predicted.n_labels,
        "n_nonempty": predicted.n_labels - len(clustering.empty),
        "label_sizes": clustering.confusion.sum(0).tolist(),
        "empty_labels": [j + 1 for j in clustering.empty],
        "matched_class": list(clustering.matched_class),
        "majority_class": list(clustering.majority_class),
        "split_species": {names[i]: [j + 1 for j in labels] for i, labels in clustering.split.items()},
        "merged_labels": {str(j + 1): [names[i] for i in classes] for j, classes in clustering.merged.items()},
        "confusion": clustering.confusion.tolist(),
        "groups": None if predicted.groups is None else [_group(group) for group in predicted.groups],
    }


def _group(group: Group) -> dict[str, Any]:
    return {"name": group.name, "labels": [j + 1 for j in group.members], "map_of": group.largest + 1}


def _fsc(
    maps: AlignedMaps,
    truth: Truth,
    predicted: Labels,
    evaluation: np.ndarray,
    stack: Stack,
    settings: EvaluationSettings,
    progress: Callable[[str], None],
) -> dict[str, Any] | None:
    """FSC of every evaluated particle; None if none is to be evaluated."""
    if not len(evaluation):
        return None
    progress(f"FSC of {len(evaluation)} particles")
    agreements = [maps.particle_agreement(int(i)) for i in evaluation]
    auc, cryobench = (np.array([getattr(a, n) for a in agreements]) for n in ("auc", "cryobench_auc"))
    curves, classes = np.stack([a.curve for a in agreements]), truth.classes[evaluation]
    per_class = []
    for k, name in enumerate(truth.class_names):
        own = classes == k
        if own.any():
            mean = curves[own].mean(0)
            per_class.append(
                {
                    "class_name": name,
                    "auc_mean": auc[own].mean(),
                    "auc_sd": auc[own].std(),
                    "curve_mean": mean.tolist(),
                    "curve_sd": curves[own].std(0).tolist(),
                    "resolution_0.5_A": resolution(mean, stack.pixel_size_A, 0.5),
                    "resolution_0.143_A": resolution(mean, stack.pixel_size_A, 0.143),
                }
            )
    per_particle = [
        {"particle": i, "class": truth.classes[i], "label": predicted.labels[i] + 1, "auc": a, "cryobench_auc": c}
        for i, a, c in zip(evaluation, auc, cryobench, strict=True)
    ]
    return {
        "mask": settings.mask_name,
        "frequency_per_A": shell_frequencies(stack.box_px, stack.pixel_size_A).tolist(),
        "auc_mean": auc.mean(),
        "auc_sd": auc.std(),
        "cryobench_auc_mean": cryobench.mean(),
        "cryobench_auc_sd": cryobench.std(),
        "per_particle": per_particle,
        "per_class": per_class,
    }


def _alignments(maps: AlignedMaps, truth: Truth, pixel_size_A: float) -> list[dict[str, Any]]:
    return [
        {
            "label": j + 1,
            "class_name": truth.class_names[k],
            "mirrored": alignment.mirrored,
            "correlation": alignment.correlation,
            "angles_deg": euler_from_matrices(alignment.rotation).tolist(),
            "shift_A": (alignment.shift_px * pixel_size_A).tolist(),
        }
        for (j, k), alignment in sorted(maps.alignments.items())
    ]


def _rounded(value: Any) -> Any:
    """Plain Python numbers, floats to six digits after the point and without a negative zero."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, np.integer):
        return int(value)
    return round(float(value), 6) + 0.0 if isinstance(value, float | np.floating) else value
