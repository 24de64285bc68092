"""Reading metrics, and the made-up but consistent results that the report's tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydra_bench.errors import InputError
from hydra_bench.files import ImageStackWriter, write_json, write_map, write_text
from hydra_bench.report.runs import by_dataset, first_seeds, read_all, read_metrics, results_folder, settings

NAMES = ["spliceosome", "large subunit", "small subunit"]
PER_CLASS, BOX, PIXEL = 40, 16, 6.6
TRUE = [k for k in range(3) for _ in range(PER_CLASS)]


def blob(k: int, box: int = BOX) -> np.ndarray:
    """A map (D, D, D) of two spheres, different for each k."""
    grid = np.stack(np.meshgrid(*[np.arange(box) - box // 2] * 3, indexing="ij"))
    centres = [np.zeros(3), np.array([0.25, 0.08 * k, 0.12]) * box]
    spread = (0.11 * box) ** 2
    return sum(np.exp(-((grid - c[:, None, None, None]) ** 2).sum(0) / spread) for c in centres).astype(np.float32)


def identity(method: str, label: str, seed: int = 1, reads_truth: bool = False) -> dict[str, Any]:
    """What a metrics file of a failed run holds."""
    empty = ("clustering", "fsc", "alignments", "pose", "conformation", "latents", "labels", "true_classes")
    return dict.fromkeys(empty) | {
        "dataset": "demo",
        "method": method,
        "label": label,
        "program": "hydra" if "hydra" in method else "back-projection",
        "seed": seed,
        "state": "failed",
        "reason": "out of memory",
        "reads_truth": reads_truth,
        "parameters": {"n_classes": 3},
        "notes": {},
        "device": "cpu",
        "images_seen": 0,
        "version": "0.1.0",
        "cost": {"wall_s": 61.25 + seed, "cpu_s": 118.5, "peak_rss_mb": 1234.5, "gpu_memory_mb": 0.0},
    }


def clustering(labels: list[int], n_labels: int, ari: float, labels_from: str) -> dict[str, Any]:
    """Clustering metrics of 0-based labels; every label is matched to its majority class, once."""
    confusion = np.zeros((3, n_labels), int)
    np.add.at(confusion, (TRUE, labels), 1)
    majority = [int(column.argmax()) if column.any() else None for column in confusion.T]
    taken: list[int] = []
    matched: list[int | None] = []
    for k in majority:
        matched.append(None if k in taken else k)
        taken.append(k)
    sizes = confusion.sum(0).tolist()
    return {
        "labels_from": labels_from,
        "ari": ari,
        "ami": ari - 0.011,
        "accuracy": 0.987654,
        "n_labels": n_labels,
        "n_nonempty": sum(size > 0 for size in sizes),
        "label_sizes": sizes,
        "empty_labels": [j + 1 for j, size in enumerate(sizes) if not size],
        "matched_class": matched,
        "majority_class": majority,
        "split_species": {},
        "merged_labels": {},
        "confusion": confusion.tolist(),
    }


def resolution(quality: float) -> dict[str, Any]:
    """FSC metrics whose curves fall off at a frequency that `quality` sets."""
    frequency = np.arange(1, BOX // 2) / (BOX * PIXEL)
    random = np.random.default_rng(int(quality * 1000))
    particles, classes = [], []
    for k, name in enumerate(NAMES):
        aucs = np.clip(quality + random.normal(0, 0.02, 20), 0, 1)
        for i, auc in enumerate(aucs):
            particles.append(
                {"particle": k * PER_CLASS + i, "class": k, "label": k, "auc": auc, "cryobench_auc": auc / 2}
            )
        curve = 1 / (1 + np.exp((frequency / frequency[-1] - quality) * 12))
        entry = {"class_name": name, "auc_mean": aucs.mean(), "auc_sd": aucs.std(), "curve_mean": curve.tolist()}
        entry |= {"curve_sd": (0.04 * curve).tolist(), "resolution_0.5_A": 21.3, "resolution_0.143_A": 15.1 + k}
        classes.append(entry)
    aucs = np.array([p["auc"] for p in particles])
    summary = {"auc_mean": aucs.mean(), "auc_sd": aucs.std()}
    summary |= {"cryobench_auc_mean": aucs.mean() / 2, "cryobench_auc_sd": aucs.std() / 2}
    return {
        "mask": "none", "frequency_per_A": frequency.tolist(), **summary,
        "per_particle": particles, "per_class": classes,
    }  # fmt: skip


def finished(
    method: str, label: str, ari: float, quality: float, n_labels: int = 3, seed: int = 1, **more: Any
) -> dict[str, Any]:
    """A metrics file of a run that ended well. `more`: labels, labels_from, latents, reads_truth."""
    labels = more.get("labels", TRUE)
    random = np.random.default_rng(seed)
    points = random.normal(0, 1, (len(TRUE), 2)) + np.array(TRUE)[:, None]
    return identity(method, label, seed, more.get("reads_truth", False)) | {
        "state": "ok",
        "reason": "",
        "images_seen": 1200,
        "n_particles": len(TRUE),
        "box_px": BOX,
        "pixel_size_A": PIXEL,
        "class_names": NAMES,
        "labels": labels,
        "true_classes": TRUE,
        "clustering": clustering(labels, n_labels, ari, more.get("labels_from", "classes")),
        "fsc": resolution(quality),
        "alignments": [
            {"label": 1, "class_name": NAMES[0], "mirrored": True, "correlation": 0.9713, "angles_deg": [1.0, 2.0, 3.0],
             "shift_A": [0.1, 0.2, 0.3]}
        ],
        "pose": {"median_angular_error_deg": 2.345, "median_shift_error_A": 1.987, "per_class": []},
        "latents": {"columns": 2, "projection": points.tolist()} if more.get("latents", True) else None,
    }  # fmt: skip


def contents() -> list[dict[str, Any]]:
    """Three seeds of Hydra K=3, K=5 with an empty and a split class, K=1, two bounds and a failure."""
    split = [4 if i % 3 == 0 and k == 2 else k for i, k in enumerate(TRUE)]
    clusters = [i % 3 for i in range(len(TRUE))]
    return [
        finished("oracle", "Oracle", 1.0, 0.95, latents=False, reads_truth=True),
        *[finished("hydra_k3", "Hydra, K=3", 0.98 + 0.005 * s, 0.88 + 0.01 * s, seed=s) for s in (2, 1, 3)],
        finished("hydra_k5", "Hydra, K=5", 0.9012, 0.86, n_labels=5, labels=split),
        finished("hydra_k1", "Hydra, K=1", 0.0712, 0.41, labels=clusters, labels_from="k-means on latents, k=3"),
        finished("shuffled", "Shuffled labels", -0.0002, 0.33, latents=False, reads_truth=True),
        identity("other_program", "Other & program_1"),
    ]


def make_results(folder: Path) -> list[Path]:
    """A results folder with all that the report may read; returns the metrics files."""
    volumes = folder / "datasets" / "demo" / "truth" / "volumes"
    for k in range(3):
        write_map(volumes / f"class_{k + 1}.mrc", blob(k), PIXEL)
    simulation = {"snr": 0.1, "box_px": 32, "pixel_size_A": 3.3, "shift_px": 6}
    write_json(volumes.parent / "provenance.json", {"definition": {"simulation": simulation}})
    images = np.random.default_rng(0).normal(0, 1, (len(TRUE), BOX, BOX))
    stack = folder / "datasets" / "demo" / "stack" / "particles.mrcs"
    stack.parent.mkdir(parents=True)
    with ImageStackWriter(stack, len(TRUE), BOX, PIXEL) as writer:
        writer.write(np.arange(len(TRUE)), images)
    return [write_run(folder, content) for content in contents()]


def write_run(folder: Path, content: dict[str, Any]) -> Path:
    """Write one metrics file with its aligned maps and history; returns its path."""
    method, seed = content["method"], content["seed"]
    path = folder / "metrics" / "demo" / method / f"{seed}.json"
    write_json(path, content)
    if content["state"] == "ok":
        for j, k in enumerate(content["clustering"]["majority_class"]):
            if k is not None and (method != "hydra_k1" or j == 0):
                write_map(path.with_name(f"{seed}_aligned") / f"label_{j + 1}.mrc", blob(k), PIXEL)
    if method == "hydra_k3":
        rows = ["phase,epoch,l,loss,images_seen,wall_s,size_1,size_2,size_3"]
        rows += [
            f"{'search' if i < 4 else 'refine'},{i},{4 + i},{9 - i},{120 * i},{i},40,{40 - i},{40 + i}"
            for i in range(8)
        ]
        write_text(folder / "reconstructions" / "demo" / method / str(seed) / "history.csv", "\n".join(rows) + "\n")
    return path


def test_bounds_come_after_competitors_and_figures_take_the_first_seed(tmp_path: Path) -> None:
    groups = by_dataset(read_all(make_results(tmp_path)))
    assert list(groups) == ["demo"]
    assert [run.method for run in groups["demo"]][-2:] == ["oracle", "shuffled"]
    shown = first_seeds(groups["demo"])
    assert (shown[0].method, shown[0].seed) == ("hydra_k3", 1)
    assert "other_program" not in [run.method for run in shown]


def test_settings_state_snr_and_mask(tmp_path: Path) -> None:
    runs = read_all(make_results(tmp_path))
    facts = dict(settings(results_folder(runs[0]), runs))
    assert facts["SNR"] == "0.1 at the full box of 32 px"
    assert facts["FSC mask"] == "none"
    assert facts["Species (particles)"] == "spliceosome (40), large subunit (40), small subunit (40)"


def test_settings_without_provenance_or_results(tmp_path: Path) -> None:
    run = read_metrics(write_run(tmp_path, identity("m", "M")))
    assert settings(tmp_path, [run]) == []


def test_a_file_that_lacks_a_field_is_refused(tmp_path: Path) -> None:
    content = finished("m", "M", 0.5, 0.5)
    del content["clustering"]
    path = tmp_path / "1.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"1\.json: lacks 'clustering'"):
        read_metrics(path)


def test_no_metrics_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        read_all([])
