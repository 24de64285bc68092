"""The cases of config/bench.yaml, checked, and shrunk for a quick try."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hydra_bench.bench.summary import Bar
from hydra_bench.config import configuration as config
from hydra_bench.core.clone import CLONE
from hydra_bench.core.errors import InputError
from hydra_bench.core.json_values import Json, JsonObject
from hydra_bench.core.schema import KeyPathError, filled, nearest
from hydra_bench.core.yaml_files import read_yaml
from hydra_bench.methods.hydra.settings import Settings

SCHEMA_PATH = CLONE / "workflow" / "schemas" / "bench.schema.yaml"
CASES_PATH, DEMO_PATH = CLONE / "config" / "bench.yaml", CLONE / "config" / "config.yaml"


@dataclass(frozen=True)
class Case:
    """One case; the schema says what its keys mean. `dataset` is the dataset's whole definition."""

    name: str
    kind: str
    group: str
    about: str
    dataset: JsonObject
    parameters: JsonObject
    seeds: tuple[int, ...]
    ari: float
    quality: bool
    images: int
    particles: int
    variants: dict[str, JsonObject]
    base: dict[str, int]
    axes: dict[str, list[int]]
    bars: dict[str, Bar]
    forced: JsonObject = field(default_factory=dict)  # parameters that win over all others: a quick run's

    def settings(self, **differing: Json) -> Settings:
        """The case's parameters with some that differ. Raises InputError that names the case."""
        parameters = {**self.parameters, **differing, **self.forced}
        try:
            return Settings.from_parameters(parameters)
        except InputError as error:
            raise InputError(f"cases.{self.name}.parameters: {error}") from None

    def check(self) -> None:
        """Raises InputError for parameters that no run could take."""
        self.settings()
        for differing in self.variants.values():
            self.settings(**differing)

    def plain(self) -> JsonObject:
        """What a reader of the results should know of the case, for JSON."""
        return {"kind": self.kind, "about": self.about, "parameters": {**self.parameters, **self.forced}}


def load_cases(path: Path, names: Sequence[str], seeds: Sequence[int] | None, quick: bool) -> list[Case]:
    """The cases named, by their own or their group's name, or all that are in no group, in the file's order.

    Raises
    ------
    InputError
        For a file that is not right, a case that is not in it, or a dataset that nothing defines.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: a mapping of keys to values is expected")
    bench = {key: value for key, value in content.items() if key != "dataset_definitions"}
    try:
        bench = filled(read_yaml(SCHEMA_PATH), bench)
    except KeyPathError as problem:
        raise InputError(f"{path}: {problem}") from None
    groups = {definition["group"] for definition in bench["cases"].values() if definition["group"]}
    known = [*bench["cases"], *sorted(groups)]
    for name in names:
        if name not in known:
            raise InputError(f"--cases: unknown case {name!r}; {', '.join(known)} are allowed{nearest(name, known)}")
    datasets = _datasets(path)
    cases = [
        _case(name, definition, datasets, path)
        for name, definition in bench["cases"].items()
        if (name in names or definition["group"] in names if names else not definition["group"])
    ]
    if seeds is not None:
        cases = [replace(case, seeds=tuple(seeds)) for case in cases]
    if quick:
        cases = [shrunk(case, bench["quick"]) for case in cases]
    for case in cases:
        case.check()
    return cases


def _datasets(path: Path) -> dict[str, JsonObject]:
    """All datasets that cases may name, with the defaults of the configuration's schema."""
    merged = config.load([DEMO_PATH, path])
    merged = {key: value for key, value in merged.items() if key not in ("cases", "quick")}
    datasets: dict[str, JsonObject] = config.validate(merged, [path, DEMO_PATH])["dataset_definitions"]
    return datasets


def _case(name: str, definition: JsonObject, datasets: dict[str, JsonObject], path: Path) -> Case:
    dataset = definition["dataset"]
    if dataset not in datasets:
        known = f"{', '.join(datasets)} are allowed{nearest(dataset, datasets)}"
        raise InputError(f"{path}: cases.{name}.dataset: unknown dataset {dataset!r}; {known}")
    bars = {figure: Bar(**bar) for figure, bar in definition["bars"].items()}
    changed = {"dataset": datasets[dataset] | {"name": dataset}, "bars": bars, "seeds": tuple(definition["seeds"])}
    return Case(name=name, **{**definition, **changed})


def shrunk(case: Case, quick: JsonObject) -> Case:
    """The same case on a few small images, with small fields and short schedules; its bars stay and mean nothing."""
    dataset, images = case.dataset, quick["images"]
    small = {
        "species": {name: {**species, "images": images} for name, species in dataset["species"].items()},
        "simulation": {**dataset["simulation"], **quick["simulation"]},
        "evaluation_particles_per_class": 1,
    }
    return replace(
        case,
        dataset={**dataset, **small},
        seeds=case.seeds[:1],
        images=min(case.images, images * len(dataset["species"])),
        particles=min(case.particles, quick["particles"]),
        variants=dict(list(case.variants.items())[:1]),
        axes={axis: values[:1] for axis, values in case.axes.items()},
        base={key: min(value, quick["simulation"].get(key, value)) for key, value in case.base.items()},
        # The order of these is that of settings(): a quick run's own win, also over those of a variant.
        forced=quick["parameters"],
    )


def with_delivered_box(dataset: JsonObject, box_px: int) -> JsonObject:
    """A dataset's definition, delivered at another box; nothing is delivered larger than it is simulated."""
    simulation = dataset["simulation"]
    return {**dataset, "simulation": {**simulation, "delivered_box_px": min(box_px, simulation["box_px"])}}
