"""The kind of dataset that CryoBench publishes, with its images and its truth."""

from collections.abc import Iterator
from pathlib import Path

from hydra_bench.core.errors import InputError
from hydra_bench.core.schema import KeyPath, at_key
from hydra_bench.datasets.kind import Definition, Kind
from hydra_bench.datasets.simulated.entries import Folders


class CryoBench(Kind):
    """An unpacked archive."""

    key = "cryobench"
    title = "a dataset of CryoBench, with its truth"

    def files(self, dataset: Definition) -> Iterator[tuple[KeyPath, Path]]:
        archive = dataset["cryobench"]
        names = [archive[key] for key in ("ctf", "poses", "labels")]
        return ((("cryobench",), Path(archive["folder"]) / name) for name in names if name is not None)

    def check_files_exist(self, dataset: Definition, at: KeyPath) -> None:
        with at_key((*at, "cryobench")):
            archive_folder(dataset["cryobench"])
        super().check_files_exist(dataset, at)

    def delivered_size(self, dataset: Definition) -> tuple[int, int] | None:
        classes, per_class, box = (dataset["cryobench"][key] for key in ("classes", "images_per_class", "box_px"))
        return None if None in (classes, per_class, box) else (len(classes) * per_class, box)

    def check(self, dataset: Definition, folders: Folders, at: KeyPath) -> None:
        from hydra_bench.datasets.cryobench.archive import Archive

        with at_key((*at, "cryobench")):
            Archive.open(dataset["cryobench"]).chosen(dataset["seed"])

    def describe(self, dataset: Definition, folders: Folders) -> Iterator[str]:
        from hydra_bench.datasets.cryobench.archive import describe_archive

        return describe_archive(dataset)

    def make(self, dataset: Definition, folders: Folders, stack: Path, truth: Path) -> None:
        from hydra_bench.datasets.cryobench.archive import import_archive

        import_archive(dataset, stack, truth)


def archive_folder(definition: Definition) -> Path:
    """Raises InputError if it is not there."""
    folder = Path(definition["folder"])
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; an unpacked archive of CryoBench is expected")
    return folder
