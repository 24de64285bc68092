"""What a measure is: a number by which runs are judged, registered once, on its key of the metrics file.

The file's contract annotates a field with a `Measure`; `measures_of` collects them with their keys and meanings.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Measure:
    """A number by which runs are judged: what it is called, how it is printed, which way is better, where it stands.

    over: what a row of the table aggregates. "seeds": mean and sd of one value a run; "images": mean and sd of the
    values of every evaluated image of all seeds, kept as <key>_mean, <key>_sd and in per_particle; "cost": mean of one
    value a run, failed runs' where none ended well. shown: "table" (also on the page's and in table1.csv), "page" (its
    table and table1.csv), "csv" (table1.csv alone), "compare", "runs" (the page's table of every run). column: its name
    in table1.csv, the key's where it is "". optional: tables of results where no run has it are without its column.
    key and meaning are filled in from the field that carries the measure; a run is asked by its metrics file, the model
    that the field is of.
    """

    label: str
    digits: int
    shown: tuple[Literal["table", "page", "csv", "compare", "runs"], ...]
    unit: str = ""
    more_is_better: bool = True
    over: Literal["seeds", "images", "cost"] = "seeds"
    column: str = ""
    optional: bool = False
    key: str = ""
    meaning: str = ""

    @property
    def quality(self) -> bool:
        """Whether it says how good a result is, which methods are ranked by; costs are not."""
        return self.over != "cost"

    @property
    def name(self) -> str:
        """Label and unit, as the head of a column."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def of(self, metrics: BaseModel) -> float | None:
        """The measured value; None where the run has none."""
        part = self._part(metrics)
        value = getattr(part, self.key.rpartition(".")[2], None)
        return None if value is None else float(value)

    def sd_over_images(self, metrics: BaseModel) -> float:
        """Of a measure over images that the run has: the sd over its images."""
        return float(getattr(self._part(metrics), f"{self._stem}_sd"))

    def of_images(self, metrics: BaseModel) -> list[float]:
        """Of a measure over images that the run has: the value of each image."""
        return [float(getattr(particle, self._stem)) for particle in self._part(metrics).per_particle]

    @property
    def _stem(self) -> str:
        return self.key.rpartition(".")[2].removesuffix("_mean")

    def _part(self, metrics: BaseModel) -> Any:  # any part of the file, by its name
        return getattr(metrics, self.key.partition(".")[0])


def measures_of(model: type[BaseModel]) -> tuple[Measure, ...]:
    """Every measure of a model, in the order of its fields: that in which tables show them."""
    return tuple(
        replace(
            measure,
            key=key,
            column=measure.column or key.rpartition(".")[2],
            meaning=" ".join((field.description or "").split()),
        )
        for key, field in keys(model)
        for measure in field.metadata
        if isinstance(measure, Measure)
    )


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key as a path, such as clustering.ari or fsc.per_particle[].auc, with its type and meaning."""
    for name, field in model.model_fields.items():
        yield prefix + name, field
        for inner, is_list in _parts_of(field.annotation):
            yield from keys(inner, f"{prefix}{name}{'[]' if is_list else ''}.")


def _parts_of(annotation: Any, is_list: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:  # Any: of any form
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, is_list
    for argument in get_args(annotation):
        yield from _parts_of(argument, is_list or getattr(annotation, "__origin__", None) is list)
