"""Every score of Table 1 and Table 2 again, by other code: from docs/reference/metrics.md, not the package.

NumPy, SciPy and scikit-learn alone, from what lies in a results folder: particles.star, the truth, maps and samples,
and the alignments that were recorded. One run a method, no joined classes.

    python tests/material/independent_scores.py results    # how far from it the tables of a results folder are
"""

from __future__ import annotations

import csv
import json
import sys
from functools import cache
from pathlib import Path

import mrcfile
import numpy as np
from scipy.ndimage import affine_transform, distance_transform_edt
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, confusion_matrix, f1_score, recall_score

TOLERANCES = {"fsc": 1e-4, "interval": 1e-3, "A": 0.02, "": 1e-6}
"""Of FSC-AUCs, ends of intervals, resolutions in Å, and all else."""
Scores = dict[str, float | str]


def star(path: Path) -> dict[str, list[list[str]]]:
    """Tables of a STAR file: the first row names the columns."""
    tables: dict[str, list[list[str]]] = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if line.startswith("data_"):
            tables[line[5:]] = table = [[]]
        elif line.startswith("_"):
            table[0].append(words[0][1:])
        elif words and words[0] not in ("loop_", "#"):
            table.append(words)
    return tables


def columns(table: list[list[str]], start: str) -> np.ndarray:
    """Columns (N, n) whose names are `start` and a number, or `start` alone."""
    chosen = [j for j, name in enumerate(table[0]) if name.removeprefix(start).isdigit() or name == start]
    return np.array([[float(row[j]) for j in chosen] for row in table[1:]]).reshape(len(table) - 1, len(chosen))


@cache
def volume(path: Path) -> np.ndarray:
    with mrcfile.open(path, permissive=False) as file:
        return np.array(file.data, dtype=np.float64)


def soft_mask(of: np.ndarray, pixel_A: float) -> np.ndarray:
    k = np.fft.fftfreq(len(of), pixel_A)
    squared = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2
    smooth = np.fft.ifftn(np.fft.fftn(of) * 0.5 ** (squared * max(20.0, 3 * pixel_A) ** 2)).real
    beyond = distance_transform_edt(smooth <= 0.15 * np.percentile(smooth, 99.9)) - 1
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(beyond / 3, 0, 1))


def on_reference(of: np.ndarray, alignment: dict, pixel_A: float) -> np.ndarray:
    """A map moved by x_ref = Q x + t, z mirrored first where it is mirrored: twofold finer, then a cubic spline."""
    box = len(of)
    k = np.arange(box) - box // 2
    inside = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2 < (box / 2) ** 2
    transform = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(of))) * inside
    padded = np.zeros((2 * box,) * 3, dtype=complex)
    at = slice(box - box // 2, box - box // 2 + box)
    padded[at, at, at] = transform
    fine = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(padded))).real * 8
    # RELION's angles are those of the transpose.
    matrix = Rotation.from_euler("ZYZ", alignment["angles_deg"], degrees=True).as_matrix().T
    if alignment["mirrored"]:
        matrix = matrix @ np.diag([1, 1, -1])
    inverse, shift = matrix.T[::-1, ::-1], np.array(alignment["shift_A"])[::-1] / pixel_A
    offset = box - 2 * inverse @ (box // 2 + shift)
    return affine_transform(fine, 2 * inverse, offset, of.shape, order=3)


def shells(box: int) -> np.ndarray:
    k = np.fft.fftfreq(box, 1 / box)
    return np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2).round().astype(int).ravel()


def fsc(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of shells 1 … D/2 - 1; 0 where a map has nothing."""
    fa, fb = np.fft.fftn(a).ravel(), np.fft.fftn(b).ravel()
    sums = [np.bincount(shells(len(a)), v) for v in ((fa * fb.conj()).real, np.abs(fa) ** 2, np.abs(fb) ** 2)]
    there = (sums[1] > 1e-14 * sums[1].max()) & (sums[2] > 1e-14 * sums[2].max())
    curve = np.where(there, sums[0] / np.sqrt(np.where(there, sums[1] * sums[2], 1)), 0)
    return curve[1 : len(a) // 2]


def cryobench_area(a: np.ndarray, b: np.ndarray) -> float:
    """Under |FSC| from 0 to 0.5 - 1/D per pixel: 1 at 0, then shells i - 1 <= |k| < i, the first of which is k = 0."""
    box = len(a)
    k = np.fft.fftfreq(box, 1 / box)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    inside = [(radius >= i - 1) & (radius < i) for i in range(1, box // 2)]
    fa, fb = np.fft.fftn(a), np.fft.fftn(b)
    cross, *powers = np.array(
        [[(fa[s] * fb[s].conj()).sum().real, *(abs(f[s] ** 2).sum() for f in (fa, fb))] for s in inside]
    ).T
    there = np.all([power > 1e-14 * power.max() for power in powers], axis=0)
    values = np.where(there, abs(cross) / np.sqrt(np.where(there, powers[0] * powers[1], 1)), 0)
    return float(np.trapezoid([1.0, *values], dx=1 / box))


def resolution(curve: np.ndarray, level: float, pixel_A: float) -> float | None:
    below = np.flatnonzero(curve < level)
    if len(below) and below[0] == 0:
        return None
    if not len(below):
        return 2 * (len(curve) + 1) * pixel_A / len(curve)
    i = below[0]
    return 2 * (len(curve) + 1) * pixel_A / (i + (curve[i - 1] - level) / (curve[i - 1] - curve[i]))


class Run:
    """One reconstruction, its truth, and the alignments that its metrics file recorded."""

    def __init__(self, results: Path, dataset: str, method: str, seed: str = "0") -> None:
        truth = results / "datasets" / dataset / "truth"
        self.folder = results / "reconstructions" / dataset / method / seed
        recorded = json.loads((results / "metrics" / dataset / method / f"{seed}.json").read_text())
        self.pixel_A = recorded["pixel_size_A"]
        self.alignments = {(a["label"] - 1, a["class_name"]): a for a in recorded["alignments"]}
        tables = star(truth / "truth.star")
        self.true = columns(tables["particles"], "rlnClassNumber")[:, 0].astype(int) - 1
        self.names = [row[tables["classes"][0].index("hydraBenchClassName")] for row in tables["classes"][1:]]
        self.maps = [truth / row[tables["classes"][0].index("rlnReferenceImage")] for row in tables["classes"][1:]]
        found = star(self.folder / "particles.star")["particles"]
        self.posteriors, latents = columns(found, "hydraBenchPosterior"), columns(found, "hydraBenchLatent")
        self.has_classes = self.posteriors.shape[1] > 1
        if self.has_classes:
            self.labels = columns(found, "rlnClassNumber")[:, 0].astype(int) - 1
            self.n_labels = self.posteriors.shape[1]
        else:
            self.n_labels = len(self.names)
            self.labels = KMeans(self.n_labels, n_init=10, random_state=0).fit(latents).labels_
        # What a bound was given of the truth has no score.
        given = recorded["notes"].get("given", []) if recorded["reads_truth"] else []
        self.labels_scored = "labels" not in given
        self.has_maps = (self.folder / "samples").is_dir()  # a bound of classes has none
        listed = (results / "datasets" / dataset / "stack" / "evaluation_particles.txt").read_text()
        self.evaluated = np.array(listed.split(), dtype=int)

    def table1(self) -> Scores:
        found = self.classes() | self.calibration()
        if not self.labels_scored:
            found = dict.fromkeys(found)
        if not self.has_maps:
            return found
        curves = self.curves()
        auc = curves["unmasked"].mean(1)
        own = self.true[self.evaluated]
        found |= {"fsc_auc_mean": auc.mean(), "fsc_auc_sd": auc.std(), "fsc_auc_unmasked_mean": auc.mean()}
        found["fsc_auc_masked_mean"] = curves["masked"].mean()
        found["fsc_auc_cryobench_mean"] = curves["cryobench"].mean()
        generator, summed = np.random.default_rng(0), 0
        for k in np.unique(own):
            values = auc[own == k]
            summed = summed + values[generator.integers(len(values), size=(2000, len(values)))].sum(1)
        found["fsc_auc_low"], found["fsc_auc_high"] = np.percentile(summed / len(auc), [2.5, 97.5])
        for k, name in enumerate(self.names):
            found |= {f"fsc_auc_{name}_mean": auc[own == k].mean(), f"fsc_auc_{name}_sd": auc[own == k].std()}
        return found

    def matching(self) -> tuple[np.ndarray, dict[int, int]]:
        """The confusion table, and the label of each species by the best one-to-one matching."""
        size = max(len(self.names), self.n_labels)
        counts = confusion_matrix(self.true, self.labels, labels=range(size))[: len(self.names), : self.n_labels]
        rows, chosen = linear_sum_assignment(-counts)
        return counts, {int(i): int(j) for i, j in zip(rows, chosen, strict=True) if counts[i, j]}

    def classes(self) -> Scores:
        counts, label_of = self.matching()
        species_of = {j: i for i, j in label_of.items()}
        # Labels without a species get numbers of their own, which are no species'.
        named = np.array([species_of.get(j, len(self.names) + j) for j in self.labels])
        f1 = f1_score(self.true, named, labels=range(len(self.names)), average="macro", zero_division=0)
        majority = counts.argmax(0)
        full = counts.sum(0) >= min(0.02, 0.25 / self.n_labels) * len(self.true)
        homes = [[j for j in np.flatnonzero(full) if majority[j] == i] for i in range(len(self.names))]
        drawn = np.random.default_rng(0).multinomial(len(self.true), counts.ravel() / counts.sum(), 2000)
        aris = [ari_of(table) for table in drawn.reshape(-1, *counts.shape)]
        low, high = np.percentile(aris, [2.5, 97.5])
        return {
            "ari_mean": adjusted_rand_score(self.true, self.labels),
            "ari_low": low,
            "ari_high": high,
            "macro_f1_mean": f1,
            "accuracy_mean": np.mean(named == self.true),
            "majority_accuracy_mean": np.mean(majority[self.labels] == self.true),
            "lost_species": "; ".join(name for name, home in zip(self.names, homes, strict=True) if not home),
            "split_species": "; ".join(n for n, home in zip(self.names, homes, strict=True) if len(home) > 1),
        }

    def calibration(self) -> Scores:
        if not self.has_classes or (self.posteriors.max(1) >= 1 - 1e-6).all():
            return {}
        counts, _ = self.matching()
        of_species = np.zeros((len(self.true), len(self.names)))
        for j in np.flatnonzero(counts.sum(0)):
            of_species[:, counts[:, j].argmax()] += self.posteriors[:, j]
        sure, right = of_species.max(1), of_species.argmax(1) == self.true
        order = np.argsort(sure, kind="stable")
        bins = np.array_split(order, 10)
        ece = sum(len(part) * abs(sure[part].mean() - right[part].mean()) for part in bins) / len(order)
        brier = np.mean([np.sum((p - np.eye(len(p))[k]) ** 2) for p, k in zip(of_species, self.true, strict=True)])
        return {"ece_mean": ece, "brier_mean": brier}

    @cache  # noqa: B019  a run is asked twice, and there are few
    def curves(self) -> dict[str, np.ndarray]:
        """Of the M evaluated particles: FSC curves (M, D/2 - 1), unmasked and in a mask of the truth, and areas."""
        known: dict[tuple, tuple[np.ndarray, np.ndarray, float]] = {}
        found = []
        for particle in self.evaluated:
            k, label = int(self.true[particle]), int(self.labels[particle])
            sample = self.folder / "samples" / f"{particle:06d}.mrc"
            key = (k, label, sample.read_bytes())
            if key not in known:
                truth = volume(self.maps[k])
                moved = on_reference(volume(sample), self.alignments[label, self.names[k]], self.pixel_A)
                mask = soft_mask(truth, self.pixel_A)
                known[key] = fsc(moved, truth), fsc(moved * mask, truth * mask), cryobench_area(moved, truth)
            found.append(known[key])
        return {name: np.array([f[n] for f in found]) for n, name in enumerate(("unmasked", "masked", "cryobench"))}

    def table2(self) -> dict[str, Scores]:
        """By species; none without maps."""
        if not self.has_maps:
            return {}
        own, curves, rows = self.true[self.evaluated], self.curves()["unmasked"], {}
        _, label_of = self.matching()
        for k, name in enumerate(self.names):
            of_k = curves[own == k]
            predicted = self.labels == label_of.get(k, -1)
            truly = self.true == k
            recall = recall_score(truly, predicted)
            precision = (truly & predicted).sum() / max(predicted.sum(), 1)
            f1 = 2 * recall * precision / (recall + precision) if recall else 0.0
            found = {"recall": recall, "precision": precision, "f1": f1}
            rows[name] = (found if self.labels_scored else dict.fromkeys(found)) | {
                "fsc_auc_mean": of_k.mean(1).mean(),
                "fsc_auc_sd": of_k.mean(1).std(),
                "resolution_0.5_A": resolution(of_k.mean(0), 0.5, self.pixel_A),
                "resolution_0.143_A": resolution(of_k.mean(0), 0.143, self.pixel_A),
            }
        return rows


def ari_of(table: np.ndarray) -> float:
    """Hubert and Arabie's index of a confusion table."""

    def pairs(n: np.ndarray) -> float:
        return float((n * (n - 1)).sum() / 2)

    rows, chosen, total = pairs(table.sum(1)), pairs(table.sum(0)), pairs(table.sum()[None])
    expected = rows * chosen / total
    largest = (rows + chosen) / 2
    return 1.0 if largest == expected else (pairs(table) - expected) / (largest - expected)


def normalised(table: dict[str, Scores], row: Scores, names: list[str]) -> float:
    """Between chance, the better of two references, and the ceiling, over species."""
    chances = [method for method in ("other_species", "noise") if method in table]
    shares = []
    for name in (f"fsc_auc_{name}_mean" for name in names):
        chance, ceiling = max(table[method][name] for method in chances), table["ceiling"][name]
        shares.append((row[name] - chance) / (ceiling - chance))
    return float(np.mean(shares))


def deviations(results: Path, dataset: str = "demo") -> list[tuple[float, float, str]]:
    """How far each number of the tables is from here, its tolerance, and what it is; runs that ended well."""
    with open(results / "tables" / "table1.csv") as file:
        table1 = {row["method"]: row for row in csv.DictReader(file) if row["state"] == "ok"}
    with open(results / "tables" / "table2.csv") as file:
        table2 = {(row["method"], row["species"]): row for row in csv.DictReader(file)}
    runs = {method: Run(results, dataset, method) for method in table1}
    ours = {method: run.table1() for method, run in runs.items()}
    for method, run in ((method, run) for method, run in runs.items() if run.has_maps):
        ours[method]["fsc_auc_normalised"] = normalised(ours, ours[method], run.names)
    found = []
    for method, run in runs.items():
        rows = [("table1", table1[method], ours[method])]
        rows += [("table2", table2[method, name], row) for name, row in run.table2().items()]
        for table, theirs, row in rows:
            for key, value in row.items():
                what = f"{table} {method} {theirs.get('species', '')} {key}"
                if isinstance(value, str) or value is None:
                    found.append((float(theirs[key] != (value or "")), 0.0, what))
                    continue
                kind = next(kind for kind in ("low", "high", "fsc", "A", "") if kind in key)
                kind = "interval" if kind in ("low", "high") else kind
                found.append((abs(float(theirs[key]) - value), TOLERANCES[kind], what))
    return found


if __name__ == "__main__":
    checked = deviations(Path(sys.argv[1]))
    for tolerance in sorted({entry[1] for entry in checked}):
        deviation, _, what = max(entry for entry in checked if entry[1] == tolerance)
        count = sum(entry[1] == tolerance for entry in checked)
        print(f"{count} numbers to {tolerance:g}: at most {deviation:.2g} off ({what})")
