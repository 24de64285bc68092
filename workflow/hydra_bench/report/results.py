"""The metrics of every run, as the report reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from hydra_bench.contracts.metrics_file import MetricsFile, read_metrics_file
from hydra_bench.contracts.places import (
    TRUTH_NAME,
    DatasetPlaces,
    Results,
    RunPlaces,
    class_volume_path,
    dataset_and_draw,
)
from hydra_bench.contracts.reconstruction import FRAME, LABELS, MAPS, NO_MAPS, OK
from hydra_bench.contracts.scores import ClusteringScores, FscScores, Latents
from hydra_bench.contracts.truth import PROVENANCE_NAME, Truth, read_truth
from hydra_bench.core.errors import InputError
from hydra_bench.core.files import read_json
from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.types import FloatArray

MOST_NAMED = 12
"""Species that a line of text names."""
CEILING, CHANCE = "ceiling", "chance"
"""What a bound says of itself under `reference` in its notes."""

T = TypeVar("T")


class _Key(Generic[T]):
    """A key of the metrics file, by its own name; those of results are only asked of runs that ended well."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, run: EvaluatedRun, owner: type) -> T:
        value: T | None = getattr(run.metrics, self.name)
        assert value is not None, f"{self.name}: a run that did not end well has no such results"
        return value


@dataclass(frozen=True)
class EvaluatedRun:
    """One run: what its metrics file says, and where its files lie."""

    metrics: MetricsFile
    places: RunPlaces

    dataset = _Key[str]()
    method = _Key[str]()
    label = _Key[str]()
    state = _Key[str]()
    seed = _Key[int]()
    # Of runs that ended well; fsc and latents of those that have any, which metrics.fsc and metrics.latents say.
    clustering = _Key[ClusteringScores]()
    fsc = _Key[FscScores]()
    latents = _Key[Latents]()
    labels = _Key[list[int]]()
    true_classes = _Key[list[int]]()
    class_names = _Key[list[str]]()
    n_particles = _Key[int]()
    box_px = _Key[int]()
    pixel_size_A = _Key[float]()

    @property
    def group(self) -> str:
        """The dataset that tables show it under: the same for every draw of the images."""
        return dataset_and_draw(self.metrics.dataset)[0]

    @property
    def draw(self) -> int:
        """Which draw of the dataset's images it had, from 0."""
        return dataset_and_draw(self.metrics.dataset)[1]

    @property
    def key(self) -> tuple[str, int]:
        """The draw of the images and the seed, by which runs of a method differ, and runs of two are paired."""
        return self.metrics.dataset, self.seed

    @property
    def reference(self) -> str | None:
        """CEILING or CHANCE of a bound whose maps other maps' scores are set between, else None."""
        return self.metrics.notes.get("reference")

    @property
    def unscored(self) -> list[str]:
        """Why a bound that ended well has no scores of labels, or of maps, in words."""
        found = [f"{what} are the truth" for what in (LABELS, MAPS) if what in self.metrics.given]
        lacks_maps = self.metrics.reads_truth and self.metrics.notes.get(FRAME) == NO_MAPS
        return [*found, "there are no maps"] if lacks_maps and MAPS not in self.metrics.given else found

    @property
    def sorted_by_itself(self) -> bool:
        """Whether its labels are its own, and not the truth's: only then is there something to see in them."""
        return LABELS not in self.metrics.given

    @property
    def ok(self) -> bool:
        return self.state == OK

    @property
    def reason(self) -> str:
        """Why it is not ok; without the state, where a program says that too."""
        return self.metrics.reason.removeprefix(f"{self.state}: ")

    @property
    def noun(self) -> str:
        """What a label is: a class of the method, or a cluster that k-means made of its latents."""
        return "class" if self.clustering.labels_from == "classes" else "cluster"

    @property
    def labels_text(self) -> str:
        """Where labels come from, and which count as one."""
        several = [group for group in self.clustering.groups or [] if len(group.labels) > 1]
        joins = [f"{group.name} is {' + '.join(map(str, group.labels))}" for group in several]
        source = self.clustering.labels_from if self.sorted_by_itself else "the truth"
        return f"{source}, merged: {', '.join(joins)}" if joins else source

    def label_name(self, label: int) -> str:
        """What a label (1-based) is called: by its number, or by the name that joined ones were given."""
        groups = self.clustering.groups
        return f"{self.noun} {label}" if groups is None else groups[label - 1].name

    def short_name(self, label: int) -> str:
        """The same where its kind is known: its number, or the name."""
        return self.label_name(label).removeprefix(f"{self.noun} ")

    def own_label(self, label: int) -> int:
        """The method's own label whose map and frame stand for a label, both 1-based; the same if none are joined."""
        groups = self.clustering.groups
        return label if groups is None else groups[label - 1].map_of

    @property
    def own_labels(self) -> list[int]:
        """Labels (0-based) as the method gave them, each with a latent space, even where some count as one."""
        own = self.metrics.own_labels
        return self.labels if own is None else own

    @property
    def own_sizes(self) -> list[int]:
        """Particles of each of the method's own labels."""
        clustering = self.clustering
        if not clustering.groups:
            return clustering.label_sizes
        count = max(label for group in clustering.groups for label in group.labels)
        return [self.own_labels.count(j) for j in range(count)]

    @property
    def judge(self) -> str:
        """What its labels and maps are compared with: truth, or reference where another program's results stand in."""
        return "reference" if self.metrics.judged_by in ("reference", "nothing") else "truth"

    @property
    def judge_adjective(self) -> str:
        """The same before a noun: true class, reference class."""
        return "true" if self.judge == "truth" else "reference"

    @property
    def poses_from(self) -> str | None:
        """The method whose poses it was given; "truth", or None for one that found its own."""
        return self.metrics.notes.get("poses_from")

    @property
    def init_from(self) -> str | None:
        """The method, or the file, whose poses and classes it began at; "truth", or None if it began from nothing."""
        return self.metrics.notes.get("init_from")

    def aligned_map(self, label: int) -> Path:
        """Path of the map of a label (1-based), aligned to its truth; an empty label has none."""
        return self.places.aligned / f"label_{label}.mrc"

    def shown_map(self, label: int) -> Path | None:
        """The map of a label (1-based) to draw: aligned, or as the method wrote it where there is no true map."""
        written = self.places.reconstruction / "volumes" / f"class_{self.own_label(label)}.mrc"
        candidates = [self.aligned_map(label), *([written] if self.noun == "class" else [])]
        return next((path for path in candidates if path.is_file()), None)

    def labels_with_map(self) -> list[int]:
        """Labels (1-based) that are not empty and have a map, in the order of their species."""
        empty = self.clustering.empty_labels
        numbers = [j + 1 for j in self.label_order()]
        return [j for j in numbers if j not in empty and self.shown_map(j) is not None]

    def label_order(self) -> list[int]:
        """Labels (0-based) in the order of the species that they are matched to; those without a match come last."""
        matched = self.clustering.matched_class
        return sorted(range(len(matched)), key=lambda j: (matched[j] is None, matched[j] or 0, j))


def read_run(path: Path | str) -> EvaluatedRun:
    """Read a metrics file. Raises InputError: see read_metrics_file."""
    metrics = read_metrics_file(path)
    return EvaluatedRun(metrics, Results.of_metrics(Path(path)).run(metrics.dataset, metrics.method, metrics.seed))


def read_all(paths: Iterable[Path | str], nodes: bool = True) -> list[EvaluatedRun]:
    """Read metrics files; order is kept, and says in which order datasets and methods are shown.

    Without `nodes`, they say nothing of the machines that jobs ran on.
    """
    paths = list(paths)
    runs = [read_run(path) if nodes else _without_node(read_run(path)) for path in paths]
    if not runs:
        raise InputError("no metrics files were given; a report needs at least one")
    seen = set()
    for run, path in zip(runs, paths, strict=True):
        if (key := (run.dataset, run.method, run.seed)) in seen:
            raise InputError(
                f"{path}: dataset {key[0]}, method {key[1]}, seed {key[2]} was given before; once is expected"
            )
        seen.add(key)
    return runs


def _without_node(run: EvaluatedRun) -> EvaluatedRun:
    cost = run.metrics.cost.model_copy(update={"node": ""})
    return replace(run, metrics=run.metrics.model_copy(update={"cost": cost}))


def by_dataset(runs: list[EvaluatedRun]) -> dict[str, list[EvaluatedRun]]:
    """Runs of each dataset, all draws of its images, in order of appearance; bounds after the methods that compete."""
    groups = {name: [run for run in runs if run.group == name] for name in dict.fromkeys(run.group for run in runs)}
    return {name: sorted(group, key=lambda run: run.metrics.reads_truth) for name, group in groups.items()}


def by_method(runs: list[EvaluatedRun]) -> dict[str, list[EvaluatedRun]]:
    """Runs of each method of one dataset, the first seed of the first draw first."""
    groups = {name: [run for run in runs if run.method == name] for name in dict.fromkeys(run.method for run in runs)}
    return {name: sorted(group, key=lambda run: (run.draw, run.seed)) for name, group in groups.items()}


def first_seeds(runs: list[EvaluatedRun]) -> list[EvaluatedRun]:
    """For each method of one dataset the first seed that ended well: what figures show."""
    good = ([run for run in group if run.ok] for group in by_method(runs).values())
    return [group[0] for group in good if group]


def dataset_places(run: EvaluatedRun) -> DatasetPlaces:
    """Where the files of a run's dataset lie."""
    return run.places.results.dataset(run.metrics.dataset)


def true_maps(run: EvaluatedRun) -> list[Path | None]:
    """The true (or reference) map of each class of a run's dataset, None where there is none."""
    paths = [class_volume_path(dataset_places(run).truth, k) for k in range(len(run.class_names))]
    return [path if path.is_file() else None for path in paths]


def truth_of(run: EvaluatedRun) -> Truth | None:
    """The truth of a run's dataset; None where it is not there."""
    folder = dataset_places(run).truth
    return read_truth(folder) if (folder / TRUTH_NAME).is_file() else None


def true_coordinate(run: EvaluatedRun) -> FloatArray | None:
    """The first true coordinate (N,) of each particle, NaN where its species has none; None where no species moves."""
    truth = truth_of(run) if run.metrics.conformation else None
    known = None if truth is None else ~np.isnan(truth.conformations)
    if truth is None or known is None or not known.any():
        return None
    first: FloatArray = truth.conformations[np.arange(len(known)), known.argmax(1)]
    return first


def _provenance(path: Path) -> JsonObject:
    """What is recorded of a dataset's making. Raises InputError for what is no such record."""
    content = read_json(path)
    definition = content.get("definition") or {} if isinstance(content, dict) else None
    simulation = definition.get("simulation") or {} if isinstance(definition, dict) else None
    wanted = ("snr", "box_px", "shift_px", "pixel_size_A")
    is_record = isinstance(content, dict) and isinstance(content.get("notes", []), list)
    if not is_record or not isinstance(simulation, dict):
        raise InputError(f"{path}: a mapping with a definition is expected")
    if simulation and not all(isinstance(simulation.get(key), int | float) for key in wanted):
        raise InputError(f"{path}: definition.simulation: numbers {', '.join(wanted)} are expected")
    troubles, species = simulation.get("troubles"), (definition or {}).get("species")
    if troubles is not None and not isinstance(troubles, dict):
        raise InputError(f"{path}: definition.simulation.troubles: a mapping is expected")
    # Of datasets that are not simulated from species, the key is kept without a value.
    if species is not None and not (isinstance(species, dict) and all(_is_species(own) for own in species.values())):
        raise InputError(f"{path}: definition.species: mappings with a whole number of images are expected")
    record: JsonObject = content | {"definition": {**(definition or {}), "simulation": simulation}}
    return record


def _is_species(definition: object) -> bool:
    return isinstance(definition, dict) and isinstance(definition.get("images", 0), int)


def definition_of(run: EvaluatedRun) -> JsonObject:
    """What a run's dataset was made by, as the configuration defines it; without a record of that, nothing."""
    path = dataset_places(run).truth / PROVENANCE_NAME
    definition: JsonObject = _provenance(path)["definition"] if path.is_file() else {}
    return definition


def _species_text(run: EvaluatedRun) -> str:
    """Each species with its number of particles; of many, how many there are, and the least and the most of one."""
    counts = np.bincount(run.true_classes, minlength=len(run.class_names)).tolist()
    if len(counts) <= MOST_NAMED:
        return ", ".join(f"{name} ({count:,})" for name, count in zip(run.class_names, counts, strict=True))
    least, most = min(counts), max(counts)
    return (
        f"{len(counts)} species ({least:,} each)" if least == most else f"{len(counts)} species ({least:,} to {most:,})"
    )


def named(names: Sequence[str], between: str = ", ") -> str:
    """Names in a row; of many the first MOST_NAMED, and how many more there are."""
    more = len(names) - MOST_NAMED
    return between.join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def settings(runs: list[EvaluatedRun]) -> list[tuple[str, str]]:
    """What the numbers of one dataset depend on, as (name, value), from whatever is known."""
    facts: list[tuple[str, str]] = []
    provenance = dataset_places(runs[0]).truth / PROVENANCE_NAME
    content = _provenance(provenance) if provenance.is_file() else {}
    simulation = content.get("definition", {}).get("simulation", {})
    good = next((run for run in runs if run.ok), None)
    if good is not None:
        facts += [("Particles", f"{good.n_particles:,}"), ("Species (particles)", _species_text(good))]
        facts += [("Box", f"{good.box_px} px"), ("Pixel size", f"{good.pixel_size_A:g} Å")]
    if simulation:
        facts += [
            ("SNR", f"{simulation['snr']:g} at the full box of {simulation['box_px']} px"),
            ("Shifts", f"±{simulation['shift_px']:g} px of {simulation['pixel_size_A']:g} Å"),
        ]
    facts += [("Particles as read", str(note)) for note in content.get("notes", [])]
    judges = {"reference": "the reference of another program, not a truth", "nothing": "nothing: no reference is given"}
    if (judge := runs[0].metrics.judged_by) in judges:
        facts += [("Judged by", judges[judge])]
    if good is not None and good.metrics.fsc:
        facts += [("FSC mask", good.fsc.mask)]
    return facts
