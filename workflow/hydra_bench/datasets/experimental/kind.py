"""The kind of dataset whose particles are an experiment's, or anybody's, judged by what another program found."""

from collections.abc import Iterator
from pathlib import Path

from hydra_bench.core.schema import KeyPath, KeyPathError, at_key
from hydra_bench.datasets.kind import Definition, Kind
from hydra_bench.datasets.simulated.entries import Folders


class Experimental(Kind):
    """Particles of a file: no truth, perhaps a reference in its place."""

    key = "particles"
    title = "particles of a file, judged by a reference"

    def check_keys(self, dataset: Definition, at: KeyPath) -> None:
        reference, at = dataset["particles"]["reference"], (*at, "particles", "reference")
        if reference is None:
            return
        classes, labels = reference["classes"], reference["labels"]
        if classes is None and labels is None:
            raise KeyPathError((*at, "labels"), "is missing, as is classes; one of both at least is expected")
        if reference["poses"] and labels is None:
            problem = "true is not allowed; poses are those of the labels' file, which is missing"
            raise KeyPathError((*at, "poses"), problem)
        class_of_label: dict[int, str] = {}
        for name, definition in (classes or {}).items():
            if definition["labels"] is not None and labels is None:
                raise KeyPathError((*at, "classes", name, "labels"), "is not allowed; the labels' file is missing")
            if all(definition[key] is None for key in ("labels", "files", "map")):
                raise KeyPathError((*at, "classes", name), "is empty; labels, files or map is expected")
            for label in definition["labels"] or []:
                if label in class_of_label:
                    problem = f"{label} is not allowed; it belongs to class {class_of_label[label]} already"
                    raise KeyPathError((*at, "classes", name, "labels"), problem)
                class_of_label[label] = name

    def files(self, dataset: Definition) -> Iterator[tuple[KeyPath, Path]]:
        particles = dataset["particles"]
        for key in ("file", "passthrough"):
            if particles[key] is not None:
                yield ("particles", key), Path(particles[key])
        for path in reference_files(particles["reference"]):
            yield ("particles", "reference"), path

    def delivered_size(self, dataset: Definition) -> tuple[int, int] | None:
        images, box = dataset["particles"]["subset"], dataset["particles"]["box_px"]
        return (images, box) if isinstance(images, int) and box is not None else None

    def check(self, dataset: Definition, folders: Folders, at: KeyPath) -> None:
        from hydra_bench.datasets.experimental.experiment import Experiment

        definition, at = dataset["particles"], (*at, "particles")
        with at_key((*at, "file")):
            experiment = Experiment.open(definition)
        with at_key((*at, "box_px")):
            experiment.check_box()
        with at_key((*at, "subset")):
            experiment.chosen(dataset["seed"])
        with at_key((*at, "reference")):
            experiment.reference()

    def describe(self, dataset: Definition, folders: Folders) -> Iterator[str]:
        from hydra_bench.datasets.experimental.experiment import describe_experiment

        return describe_experiment(dataset)

    def make(self, dataset: Definition, folders: Folders, stack: Path, truth: Path) -> None:
        from hydra_bench.datasets.experimental.experiment import import_experiment

        import_experiment(dataset, stack, truth)


def reference_files(reference: Definition | None) -> list[Path]:
    """Every file that a reference names."""
    if reference is None:
        return []
    named = [reference["labels"], reference["passthrough"]]
    for definition in (reference["classes"] or {}).values():
        named += [definition["map"], *(definition["files"] or [])]
    return [Path(name) for name in dict.fromkeys(named) if name is not None]
