"""What each trouble of real images does to every method.

A study is simulated datasets of the same species, one of which has no trouble, and some of which have. Its matrix has a
row for each method with labels of its own, a column for each dataset, and in a cell the ARI, of the particles that are
no junk, with what share that is of the bound of classes on the same images.

A method that cannot do without trouble what it is to do with it says nothing of the trouble: where its ARI without is
below 0.9, its other cells are empty of numbers, and say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hydra_bench.contracts.reconstruction import OK
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.report.results import EvaluatedRun, by_dataset, by_method, definition_of
from hydra_bench.report.tables.rows import number
from hydra_bench.report.tables.texts import plain

LEAST_ARI_WITHOUT = 0.9
"""Of a method whose cells under troubles are shown."""
SWITCHES = (
    *("contrast_log_sd", "noise_excess", "plane_sd", "views", "defocus_error_sd_A"),
    *("junk_share", "neighbour_share"),
)
"""Keys of `simulation.troubles` that are 0 or empty without such trouble; the others say of what kind it is."""
LEGEND = (
    "ARI of the particles that are no junk, mean over runs, and its share of the class bound's on the same images; "
    f"“fails without” where a method's ARI without trouble is below {LEAST_ARI_WITHOUT:g}."
)
CLASS_BOUND = "class_bound"
"""The program of it."""
FAILS_WITHOUT = "fails without"
_NO_TROUBLE = "none"


@dataclass(frozen=True)
class Cell:
    """A method on a dataset: its mean ARI over the runs that ended well, None without one, of how many.

    bound: the ARI of the class bound there; state: how runs ended, where none ended well; fails_without: whether the
    method fails without trouble, so that the number says nothing of this one.
    """

    ari: float | None
    n_runs: int
    bound: float | None
    state: str
    fails_without: bool = False

    @property
    def share(self) -> float | None:
        """Of the class bound, which noise may put a little below a method; None without one."""
        return None if self.shown is None or not self.bound else self.shown / self.bound

    @property
    def shown(self) -> float | None:
        """The ARI, where it says something."""
        return None if self.fails_without else self.ari

    @property
    def share_text(self) -> str:
        """The share of the bound in percent; "" without one."""
        return "" if self.share is None else f"{100 * self.share:.0f} %"

    @property
    def text(self) -> str:
        """The ARI, or why there is none."""
        return FAILS_WITHOUT if self.fails_without else self.state if self.ari is None else number(self.ari)


@dataclass(frozen=True)
class Column:
    """A dataset of a study: its name, the part of it that sets it apart, and the keys that do, in words."""

    dataset: str
    name: str
    differs: str


@dataclass(frozen=True)
class Row:
    """A method of a study: its name, label, whether it is a bound, and a cell for each dataset."""

    method: str
    label: str
    is_bound: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Study:
    """Datasets of the same species, the first of them without trouble; methods, the bounds last."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def studies(runs: list[EvaluatedRun]) -> list[Study]:
    """The studies among all runs, in the order of their first datasets."""
    groups = by_dataset(runs)
    definitions = {dataset: definition_of(group[0]) for dataset, group in groups.items()}
    of_species: dict[str, list[str]] = {}
    for dataset, definition in definitions.items():
        if definition.get("simulation") and definition.get("species"):
            of_species.setdefault(_species(definition), []).append(dataset)
    found = []
    for datasets in of_species.values():
        without = [name for name in datasets if not _has_trouble(definitions[name])]
        if without and len(without) < len(datasets):
            ordered = [without[0], *(name for name in datasets if name != without[0])]
            columns = _columns({name: definitions[name] for name in ordered})
            found.append(Study(columns, tuple(_rows([groups[name] for name in ordered]))))
    return found


def _species(definition: JsonObject) -> str:
    """What the species are, but not how many images there are of each."""
    species = definition["species"].items()
    return json.dumps([[name, {k: v for k, v in own.items() if k != "images"}] for name, own in species])


def _has_trouble(definition: JsonObject) -> bool:
    troubles = definition["simulation"].get("troubles") or {}
    return any(troubles.get(key) for key in SWITCHES)


def _columns(definitions: dict[str, JsonObject]) -> tuple[Column, ...]:
    first = next(iter(definitions.values()))
    words = [name.split("_") for name in definitions]
    # What names begin with alike, as in `robust_none` and `robust_noise`, does not set them apart.
    shared = next((n for n, there in enumerate(zip(*words, strict=False)) if len(set(there)) > 1), 0)
    return tuple(
        Column(name, "_".join(own[shared:]), "; ".join(_differing(definition, first)) or _NO_TROUBLE)
        for own, (name, definition) in zip(words, definitions.items(), strict=True)
    )


def _differing(definition: JsonObject, first: JsonObject) -> Iterator[str]:
    """What of a dataset's imaging, and of its numbers of images, is not as in the first one."""
    before = dict(_flat(first["simulation"]))
    yield from (f"{key}: {_words(v)}" for key, v in _flat(definition["simulation"]) if before.get(key) != v)
    images = {name: own.get("images") for name, own in definition["species"].items()}
    if images != {name: own.get("images") for name, own in first["species"].items()}:
        # The record has species by their names, so that the order says nothing.
        yield f"images: {_words(sorted(images.values(), reverse=True))}"


def _flat(values: JsonObject) -> Iterator[tuple[str, Json]]:
    """The keys of a mapping and of those within it, each by its own name."""
    for key, value in values.items():
        yield from _flat(value) if isinstance(value, dict) else [(key, value)]


def _words(value: Json) -> str:
    """A value on one line, without what is JSON's own."""
    return json.dumps(value).translate(str.maketrans("", "", '{}[]"'))


def _rows(groups: list[list[EvaluatedRun]]) -> list[Row]:
    """groups: the runs of each dataset, the one without trouble first."""
    of_methods = [by_method(group) for group in groups]
    bounds = [_bound(group) for group in groups]
    methods = dict.fromkeys(name for found in of_methods for name in found)
    rows = (_row(name, [found.get(name, []) for found in of_methods], bounds) for name in methods)
    return sorted((row for row in rows if row is not None), key=lambda row: row.is_bound)


def _row(method: str, groups: list[list[EvaluatedRun]], bounds: list[float | None]) -> Row | None:
    """A method's runs on each dataset as a row; None for a bound whose labels are the truth."""
    runs = [run for group in groups for run in group]
    is_bound = any(run.metrics.reads_truth for run in runs)
    if is_bound and not any(run.ok and run.sorted_by_itself for run in runs):
        return None
    if runs[0].metrics.program == CLASS_BOUND:
        cells = [_cell(group, None) for group in groups]
    else:
        cells = [_cell(group, bound) for group, bound in zip(groups, bounds, strict=True)]
        if (cells[0].ari or 0.0) < LEAST_ARI_WITHOUT:
            cells[1:] = [replace(cell, fails_without=True) for cell in cells[1:]]
    return Row(method, runs[0].label, is_bound, tuple(cells))


def _ari(run: EvaluatedRun) -> float | None:
    """Of the particles that are no junk."""
    good = run.clustering.ari_good
    return run.clustering.ari if good is None else good


def _mean(runs: Iterable[EvaluatedRun]) -> float | None:
    values = [value for run in runs if run.ok and (value := _ari(run)) is not None]
    return float(np.mean(values)) if values else None


def _bound(group: list[EvaluatedRun]) -> float | None:
    """The ARI of the class bound on a dataset; the highest, where there are several."""
    bounds = by_method([run for run in group if run.metrics.program == CLASS_BOUND])
    return max((value for runs in bounds.values() if (value := _mean(runs)) is not None), default=None)


def _cell(runs: list[EvaluatedRun], bound: float | None) -> Cell:
    ended = [run for run in runs if run.ok]
    states = dict.fromkeys(run.state for run in runs if run.state != OK)
    return Cell(_mean(ended), len(ended), bound, ", ".join(states) or "–")


def records(found: list[Study]) -> pd.DataFrame:
    """robustness.csv: a row for each method and dataset of each study."""
    return pd.DataFrame(
        [
            {
                "without_trouble": study.columns[0].dataset,
                "dataset": column.dataset,
                "differs": column.differs,
                "method": row.method,
                "ari": cell.ari,
                "n_runs": cell.n_runs,
                "class_bound": cell.bound,
                "of_bound": cell.share,
                "shown": cell.text,
            }
            for study in found
            for row in study.rows
            for column, cell in zip(study.columns, row.cells, strict=True)
        ]
    )


def markdown(found: list[Study]) -> str:
    """robustness.md: of each study a line a trouble, which a page can hold, and a column a method."""
    return "\n\n".join(_markdown_table(study) for study in found) + f"\n\n{LEGEND}\n"


def _markdown_table(study: Study) -> str:
    head = ["trouble", "keys", *(f"{row.label} (bound)" if row.is_bound else row.label for row in study.rows)]
    lines = [f"| {' | '.join(map(plain, head))} |", f"|---|---|{'--:|' * len(study.rows)}"]
    for n, column in enumerate(study.columns):
        cells = [row.cells[n] for row in study.rows]
        texts = [f"{cell.text} ({cell.share_text})" if cell.share_text else cell.text for cell in cells]
        lines.append(f"| {' | '.join(map(plain, [column.name, column.differs, *texts]))} |")
    return "\n".join(lines)
