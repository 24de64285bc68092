"""The metrics of every run, as the report reads them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra_bench.contracts.places import TRUTH_NAME
from hydra_bench.contracts.reconstruction import OK
from hydra_bench.contracts.truth import Truth, read_truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json

_IDENTITY = ("dataset", "method", "label", "seed", "state", "reason", "reads_truth", "cost")
_RESULTS_OF_A_RUN = ("clustering", "labels", "true_classes", "class_names")


@dataclass(frozen=True)
class Metrics:
    """One metrics file: results/metrics/<dataset>/<method>/<seed>.json and the folders beside it."""

    path: Path
    content: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.content[key]

    def get(self, key: str) -> Any:
        """The value, or None where this run has none."""
        return self.content.get(key)

    @property
    def dataset(self) -> str:
        return str(self.content["dataset"])

    @property
    def method(self) -> str:
        return str(self.content["method"])

    @property
    def label(self) -> str:
        return str(self.content["label"])

    @property
    def seed(self) -> int:
        return int(self.content["seed"])

    @property
    def ok(self) -> bool:
        return self.state == OK

    @property
    def state(self) -> str:
        """ok; failed; or not configured: a program that has no licence or host here, which is no failure."""
        return str(self.content["state"])

    @property
    def reason(self) -> str:
        """Why it is not ok; without the state, where a program says that too."""
        return str(self.content["reason"] or "").removeprefix(f"{self.state}: ")

    @property
    def noun(self) -> str:
        """What a label is: a class of the method, or a cluster that k-means made of its latents."""
        return "class" if self.content["clustering"]["labels_from"] == "classes" else "cluster"

    @property
    def labels_text(self) -> str:
        """Where labels come from, and which count as one."""
        several = [group for group in self.content["clustering"].get("groups") or [] if len(group["labels"]) > 1]
        joins = [f"{group['name']} is {' + '.join(map(str, group['labels']))}" for group in several]
        source = str(self.content["clustering"]["labels_from"])
        return f"{source}, merged: {', '.join(joins)}" if joins else source

    def label_name(self, label: int) -> str:
        """What a label (1-based) is called: by its number, or by the name that joined ones were given."""
        groups = self.content["clustering"].get("groups")
        return f"{self.noun} {label}" if groups is None else str(groups[label - 1]["name"])

    def short_name(self, label: int) -> str:
        """The same where its kind is known: its number, or the name."""
        return self.label_name(label).removeprefix(f"{self.noun} ")

    def own_label(self, label: int) -> int:
        """The method's own label whose map and frame stand for a label, both 1-based; the same if none are joined."""
        groups = self.content["clustering"].get("groups")
        return label if groups is None else int(groups[label - 1]["map_of"])

    @property
    def own_labels(self) -> list[int]:
        """Labels (0-based) as the method gave them, each with a latent space, even where some count as one."""
        own = self.content.get("own_labels")
        return self.content["labels"] if own is None else own

    @property
    def own_sizes(self) -> list[int]:
        """Particles of each of the method's own labels."""
        clustering = self.content["clustering"]
        if not clustering.get("groups"):
            return clustering["label_sizes"]
        count = max(label for group in clustering["groups"] for label in group["labels"])
        return [self.own_labels.count(j) for j in range(count)]

    @property
    def judge(self) -> str:
        """What its labels and maps are compared with: truth, or reference where another program's results stand in."""
        return "reference" if self.content.get("judged_by") in ("reference", "nothing") else "truth"

    @property
    def true(self) -> str:
        """The adjective to that: true class, reference class."""
        return "true" if self.judge == "truth" else "reference"

    @property
    def poses_from(self) -> str | None:
        """The method whose poses it was given; "truth", or None for one that found its own."""
        return (self.content.get("notes") or {}).get("poses_from")

    @property
    def is_bound(self) -> bool:
        """A bound knows the truth: it is shown apart and not ranked."""
        return bool(self.content["reads_truth"])

    def species_of(self, label: int) -> int | None:
        """The class whose true map the map of a label (1-based) was aligned to; None if the label has no particle."""
        matched, majority = (self.content["clustering"][key][label - 1] for key in ("matched_class", "majority_class"))
        return majority if matched is None else matched

    def aligned_map(self, label: int) -> Path:
        """Path of the map of a label (1-based), aligned to its truth; an empty label has none."""
        return self.path.with_name(f"{self.seed}_aligned") / f"label_{label}.mrc"

    @property
    def reconstruction(self) -> Path:
        """The folder with what the method gave back."""
        return results_folder(self) / "reconstructions" / self.dataset / self.method / str(self.seed)

    def shown_map(self, label: int) -> Path | None:
        """The map of a label (1-based) to draw: aligned, or as the method wrote it where there is no true map."""
        written = self.reconstruction / "volumes" / f"class_{self.own_label(label)}.mrc"
        candidates = [self.aligned_map(label), *([written] if self.noun == "class" else [])]
        return next((path for path in candidates if path.is_file()), None)

    def labels_with_map(self) -> list[int]:
        """Labels (1-based) that are not empty and have a map, in the order of their species."""
        empty = self.content["clustering"]["empty_labels"]
        numbers = [j + 1 for j in self.label_order()]
        return [j for j in numbers if j not in empty and self.shown_map(j) is not None]

    def label_order(self) -> list[int]:
        """Labels (0-based) in the order of the species that they are matched to; those without a match come last."""
        matched = self.content["clustering"]["matched_class"]
        return sorted(range(len(matched)), key=lambda j: (matched[j] is None, matched[j] or 0, j))


def read_metrics(path: Path | str) -> Metrics:
    """Read a metrics file. Raises InputError that names the file and the field it lacks."""
    path = Path(path)
    content = read_json(path)
    wanted = _IDENTITY + (_RESULTS_OF_A_RUN if content.get("state") == "ok" else ())
    missing = [key for key in wanted if content.get(key) is None and key != "reason"]
    if missing:
        raise InputError(f"{path}: lacks {missing[0]!r}; it is not a metrics file of this version")
    return Metrics(path, content)


def read_all(paths: Iterable[Path | str]) -> list[Metrics]:
    """Read metrics files; order is kept, and says in which order datasets and methods are shown."""
    runs = [read_metrics(path) for path in paths]
    if not runs:
        raise InputError("no metrics files were given; a report needs at least one")
    return runs


def by_dataset(runs: list[Metrics]) -> dict[str, list[Metrics]]:
    """Runs of each dataset, in order of appearance; bounds after the methods that compete."""
    groups: dict[str, list[Metrics]] = {}
    for run in runs:
        groups.setdefault(run.dataset, []).append(run)
    return {dataset: sorted(group, key=lambda run: run.is_bound) for dataset, group in groups.items()}


def by_method(runs: list[Metrics]) -> dict[str, list[Metrics]]:
    """Runs of each method of one dataset, the first seed first."""
    groups: dict[str, list[Metrics]] = {}
    for run in runs:
        groups.setdefault(run.method, []).append(run)
    return {method: sorted(group, key=lambda run: run.seed) for method, group in groups.items()}


def first_seeds(runs: list[Metrics]) -> list[Metrics]:
    """For each method of one dataset the first seed that ended well: what figures show."""
    good = ([run for run in group if run.ok] for group in by_method(runs).values())
    return [group[0] for group in good if group]


def results_folder(run: Metrics) -> Path:
    """The results folder that a metrics file lies in."""
    return run.path.parents[3]


def dataset_folder(results: Path, dataset: str) -> Path:
    """Where a dataset's stack and truth lie."""
    return results / "datasets" / dataset


def true_maps(results: Path, run: Metrics) -> list[Path | None]:
    """The true (or reference) map of each class, None where there is none."""
    volumes = dataset_folder(results, run.dataset) / "truth" / "volumes"
    paths = [volumes / f"class_{k + 1}.mrc" for k in range(len(run["class_names"]))]
    return [path if path.is_file() else None for path in paths]


def truth_of(results: Path, dataset: str) -> Truth | None:
    """A dataset's truth; None where it is not there."""
    folder = dataset_folder(results, dataset) / "truth"
    return read_truth(folder) if (folder / TRUTH_NAME).is_file() else None


def definition(results: Path, dataset: str) -> dict[str, Any] | None:
    """How a simulated dataset was defined, from its provenance; None where there is none."""
    path = dataset_folder(results, dataset) / "truth" / "provenance.json"
    return read_json(path).get("definition") if path.is_file() else None


def settings(results: Path, runs: list[Metrics]) -> list[tuple[str, str]]:
    """What the numbers of one dataset depend on, as (name, value), from whatever is known."""
    facts: list[tuple[str, str]] = []
    simulation = (definition(results, runs[0].dataset) or {}).get("simulation", {})
    good = next((run for run in runs if run.ok), None)
    if good is not None:
        counts = [good["true_classes"].count(k) for k in range(len(good["class_names"]))]
        species = ", ".join(f"{name} ({count:,})" for name, count in zip(good["class_names"], counts, strict=True))
        facts += [("Particles", f"{good['n_particles']:,}"), ("Species (particles)", species)]
        facts += [("Box", f"{good['box_px']} px"), ("Pixel size", f"{good['pixel_size_A']:g} Å")]
    if simulation:
        facts += [
            ("SNR", f"{simulation['snr']:g} at the full box of {simulation['box_px']} px"),
            ("Shifts", f"±{simulation['shift_px']:g} px of {simulation['pixel_size_A']:g} Å"),
        ]
    judges = {"reference": "the reference of another program, not a truth", "nothing": "nothing: no reference is given"}
    if (judge := runs[0].get("judged_by")) in judges:
        facts += [("Judged by", judges[judge])]
    if good is not None and good["fsc"]:
        facts += [("FSC mask", str(good["fsc"]["mask"]))]
    return facts
