"""Made-up but consistent results of a benchmark, small, that the tests of the report share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hydra_bench.contracts.metrics_file import VERSION, MetricsFile
from hydra_bench.contracts.reconstruction import Cost
from hydra_bench.contracts.scores import ClusteringScores
from hydra_bench.core.files import write_json, write_text
from hydra_bench.core.mrc import ImageStackWriter, write_map

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
    return dict.fromkeys(MetricsFile.model_fields) | {
        "metrics_version": VERSION,
        "dataset": "demo",
        "method": method,
        "label": label,
        "program": "hydra" if "hydra" in method else "back-projection",
        "seed": seed,
        "state": "failed",
        "reason": "out of memory",
        "reads_truth": reads_truth,
        "given": [],
        "parameters": {"n_classes": 3},
        "notes": {},
        "device": "cpu",
        "images_seen": 0,
        "program_version": "0.1.0",
        "cost": asdict(Cost(wall_s=61.25 + seed, cpu_s=118.5, peak_rss_mb=1234.5)),
    }


def clustering(
    labels: list[int], n_labels: int, ari: float, labels_from: str, true: list[int] = TRUE
) -> dict[str, Any]:
    """Clustering metrics of 0-based labels; every label is matched to its majority class, once."""
    confusion = np.zeros((max(true) + 1, n_labels), int)
    np.add.at(confusion, (true, labels), 1)
    majority = [int(column.argmax()) if column.any() else None for column in confusion.T]
    taken: list[int] = []
    matched: list[int | None] = []
    for k in majority:
        matched.append(None if k in taken else k)
        taken.append(k)
    sizes = confusion.sum(0).tolist()
    return dict.fromkeys(ClusteringScores.model_fields) | {
        "labels_from": labels_from,
        "ari": ari,
        "ari_interval": {"low": ari - 0.02, "high": ari + 0.01, "draws": 2000, "seed": 0},
        "ami": ari - 0.011,
        "accuracy": 0.987654,
        "macro_f1": 0.912345,
        "per_species": [
            {
                "class_name": NAMES[k % 3],
                "n_particles": sum(row.tolist()),
                "recall": 0.9,
                "precision": 0.8,
                "f1": 0.85,
                "label": matched.index(k) + 1 if k in matched else None,
            }
            for k, row in enumerate(confusion)
        ],
        "majority_accuracy": 0.991234,
        "lost_species": [],
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


def resolution(quality: float, names: list[str] = NAMES) -> dict[str, Any]:
    """FSC metrics whose curves fall off at a frequency that `quality` sets."""
    frequency = np.arange(1, BOX // 2) / (BOX * PIXEL)
    random = np.random.default_rng(int(quality * 1000))
    particles, classes = [], []
    for k, name in enumerate(names):
        aucs = np.clip(quality + random.normal(0, 0.02, 20), 0, 1)
        for i, auc in enumerate(aucs):
            particles.append(
                {"particle": k * PER_CLASS + i, "true_class": k, "label": k + 1, "auc": auc,
                 "unmasked_auc": auc, "masked_auc": 1.1 * auc, "cryobench_auc": auc / 2, "gain": None}
            )  # fmt: skip
        curve = 1 / (1 + np.exp((frequency / frequency[-1] - quality) * 12))
        entry = {"class_name": name, "auc_mean": aucs.mean(), "auc_sd": aucs.std(), "curve_mean": curve.tolist()}
        entry |= {"curve_sd": (0.04 * curve).tolist(), "resolution_0_5_A": 21.3, "resolution_0_143_A": 15.1 + k}
        classes.append(entry)
    aucs = np.array([p["auc"] for p in particles])
    summary = {"auc_mean": aucs.mean(), "auc_sd": aucs.std()}
    summary["auc_interval"] = {"low": aucs.mean() - 0.01, "high": aucs.mean() + 0.01, "draws": 2000, "seed": 0}
    summary |= {"unmasked_auc_mean": aucs.mean(), "unmasked_auc_sd": aucs.std()}
    summary["gain_mean"] = None
    summary |= {"masked_auc_mean": 1.1 * aucs.mean(), "masked_auc_sd": 1.1 * aucs.std()}
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
        "latents": {"dimension": 2, "projection": points.tolist()} if more.get("latents", True) else None,
    }  # fmt: skip


def contents() -> list[dict[str, Any]]:
    """Three seeds of Hydra K=3, K=5 with an empty and a split class, K=1, two bounds and a failure."""
    split = [4 if i % 3 == 0 and k == 2 else k for i, k in enumerate(TRUE)]
    clusters = [i % 3 for i in range(len(TRUE))]
    return [
        finished("oracle", "Oracle", 1.0, 0.95, latents=False, reads_truth=True),
        *[
            with_history(finished("hydra_k3", "Hydra, K=3", 0.98 + 0.005 * s, 0.88 + 0.01 * s, seed=s))
            for s in (2, 1, 3)
        ],
        finished("hydra_k5", "Hydra, K=5", 0.9012, 0.86, n_labels=5, labels=split),
        finished("hydra_k1", "Hydra, K=1", 0.0712, 0.41, labels=clusters, labels_from="k-means on latents, k=3"),
        finished("shuffled", "Shuffled labels", -0.0002, 0.33, latents=False, reads_truth=True),
        identity("other_program", "Other & program_1"),
    ]


def with_history(content: dict[str, Any]) -> dict[str, Any]:
    """With the ARI of each row of the history that `write_run` writes."""
    return content | {"history_ari": [content["clustering"]["ari"] * i / 7 for i in range(8)]}


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


def of_classes(method: str, label: str, n: int, per_class: int) -> dict[str, Any]:
    """A metrics file of a method that sorts n species of per_class particles each without a fault."""
    names, true = [f"species {k + 1}" for k in range(n)], [k for k in range(n) for _ in range(per_class)]
    fsc = resolution(0.8, names)
    for particle in fsc["per_particle"]:
        particle["particle"] = particle["true_class"] * per_class
    return finished(method, label, 1.0, 0.8) | {
        "class_names": names,
        "n_particles": len(true),
        "labels": true,
        "true_classes": true,
        "clustering": clustering(true, n, 1.0, "classes", true),
        "fsc": fsc,
        "alignments": [
            {"label": k + 1, "class_name": name, "mirrored": False, "correlation": 0.9, "angles_deg": [0.0] * 3,
             "shift_A": [0.0] * 3}
            for k, name in enumerate(names)
        ],
        "latents": {"dimension": 2, "projection": np.random.default_rng(0).normal(0, 1, (len(true), 2)).tolist()},
    }  # fmt: skip


def write_truth(folder: Path, n: int, dataset: str = "demo") -> None:
    """True maps of n species."""
    for k in range(n):
        write_map(folder / "datasets" / dataset / "truth" / "volumes" / f"class_{k + 1}.mrc", blob(k % 7), PIXEL)


def failed_only(folder: Path) -> list[Path]:
    """No run ended well, and one could not be: a program without a licence here."""
    failed = identity("hydra_k3", "Hydra, K=3") | {"notes": {"log_tail": ["step 3 of 9", "<b>Killed</b> & gone"]}}
    other = identity("sparc", "cryoSPARC") | {"state": "not configured", "reason": "set CRYOSPARC_LICENSE_ID"}
    return [write_run(folder, failed), write_run(folder, other)]


def missing_seed(folder: Path) -> list[Path]:
    """Two methods; of one, a seed failed and another was never run."""
    contents = [finished("hydra_k3", "Hydra, K=3", 0.9 + 0.01 * s, 0.8, seed=s) for s in (1, 2, 3)]
    contents += [finished("hydra_k5", "Hydra, K=5", 0.8, 0.7, seed=1), identity("hydra_k5", "Hydra, K=5", seed=2)]
    write_truth(folder, 3)
    return [write_run(folder, content) for content in contents]


def one_class(folder: Path) -> list[Path]:
    """One species, and a method with one class and no latents: one label for all."""
    content = of_classes("lone", "One class", 1, 40) | {"latents": None}
    content["clustering"]["labels_from"] = "one class"
    write_truth(folder, 1)
    return [write_run(folder, content)]


def hundred_classes(folder: Path) -> list[Path]:
    """A hundred species, two methods."""
    write_truth(folder, 100)
    contents = [of_classes("hydra_k100", "Hydra, K=100", 100, 20), of_classes("other", "Other", 100, 20)]
    return [write_run(folder, content) for content in contents]


def no_truth(folder: Path) -> list[Path]:
    """Experimental images: another program's labels to compare with, but neither true maps nor poses."""
    content = finished("hydra_k3", "Hydra, K=3", 0.83, 0.5) | {"fsc": None, "pose": None, "alignments": []}
    content["judged_by"] = "reference"
    path = folder / "metrics" / "demo" / "hydra_k3" / "1.json"
    write_json(path, content)
    for k in range(3):
        write_map(
            folder / "reconstructions" / "demo" / "hydra_k3" / "1" / "volumes" / f"class_{k + 1}.mrc", blob(k), PIXEL
        )
    return [path]


def joined_classes(folder: Path) -> list[Path]:
    """Four classes, of which the second and third count as one, under a name; each has a latent space of its own."""
    content = finished("hydra_k4", "Hydra, K=4", 0.97, 0.8)
    own = [k + 1 if i % 2 and k else k for i, k in enumerate(TRUE)]  # 40 of 0, 20 of 1, 40 of 2, 20 of 3
    labels = [[1, 0, 0, 2][k] for k in own]
    groups = [("both", [2, 3], 3), ("class 1", [1], 1), ("class 4", [4], 4)]
    content |= {"labels": labels, "own_labels": own, "clustering": clustering(labels, 3, 0.97, "classes")}
    content["clustering"]["groups"] = [{"name": name, "labels": own, "map_of": of} for name, own, of in groups]
    content["alignments"][0] |= {"label": 3, "class_name": NAMES[1]}
    write_truth(folder, 3)
    return [write_run(folder, content)]


def partly_mapped(folder: Path) -> list[Path]:
    """Experimental images whose third reference class, say of junk, has labels and no map."""
    names = ["receptor", "p97", "junk"]
    content = finished("hydra_k3", "Hydra, K=3", 0.83, 0.5) | {"pose": None, "judged_by": "reference"}
    content |= {"class_names": names, "fsc": resolution(0.6, names[:2])}
    content["alignments"] = [content["alignments"][0] | {"label": k + 1, "class_name": names[k]} for k in range(2)]
    write_truth(folder, 2)
    path = write_run(folder, content)
    (path.with_name("1_aligned") / "label_3.mrc").unlink()
    for k in range(3):
        write_map(folder / "reconstructions/demo/hydra_k3/1/volumes" / f"class_{k + 1}.mrc", blob(k), PIXEL)
    return [path]


ODD = {"failed": failed_only, "missing_seed": missing_seed, "one_class": one_class}
ODD |= {"hundred_classes": hundred_classes, "no_truth": no_truth, "joined": joined_classes}
ODD |= {"partly_mapped": partly_mapped}
