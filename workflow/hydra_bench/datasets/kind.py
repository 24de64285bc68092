"""What every kind of dataset answers: its keys, files, cost, checks, a description, and how it is made.

Reading a workflow asks for keys, files and cost, so the module of a kind imports nothing heavy: what a check, a
description or the making takes is imported in the method that takes it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from hydra_bench.core.json_values import JsonObject
from hydra_bench.core.schema import KeyPath, KeyPathError
from hydra_bench.datasets.simulated.entries import Folders

# A checked block of the configuration, whose values are of as many types as its schema says.
Definition = JsonObject


class Kind(ABC):
    """A kind of dataset, told by the key of a definition that only this kind has.

    `at` is where the definition stands in the configuration; a key path that is yielded is below that.
    """

    key: ClassVar[str]
    title: ClassVar[str]

    def check_keys(self, dataset: Definition, at: KeyPath) -> None:
        """Check relations between keys, which a schema cannot say. Raises KeyPathError."""
        return

    def entries(self, dataset: Definition) -> Iterator[tuple[KeyPath, str]]:
        """Entries of the PDB, or files in their place, each with its key."""
        return iter(())

    def files(self, dataset: Definition) -> Iterator[tuple[KeyPath, Path]]:
        """Other files that a definition names, each with its key; a change of one makes the dataset anew."""
        return iter(())

    def check_files_exist(self, dataset: Definition, at: KeyPath) -> None:
        """Raises KeyPathError for the first of `files` that is not there."""
        for key, path in self.files(dataset):
            if not path.exists():
                raise KeyPathError((*at, *key), f"{path}: no such file")

    def delivered_size(self, dataset: Definition) -> tuple[int, int] | None:
        """Number of images and their box in px, as far as a checked definition says so by itself; None if not."""
        return None

    def memory_bytes(self, dataset: Definition) -> float:
        """Peak memory of making the dataset, nearly; of images that lie on disk a few are read at a time."""
        return 1e9

    def few_images(self, dataset: Definition) -> Definition:
        """A definition of a small version to look at, where that is quicker to make."""
        return dataset

    @abstractmethod
    def check(self, dataset: Definition, folders: Folders, at: KeyPath) -> None:
        """Check what is in the files that are named. Raises KeyPathError for the first thing that is wrong."""

    @abstractmethod
    def describe(self, dataset: Definition, folders: Folders) -> Iterator[str]:
        """Lines on what the dataset would be. Raises InputError if its files are not usable."""

    @abstractmethod
    def make(self, dataset: Definition, folders: Folders, stack: Path, truth: Path) -> None:
        """Write the stack, and the truth or what stands in its place, into their folders. Raises InputError."""


def size_text(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{max(n_bytes / 1e6, 0.1):.1f} MB"


def duration_text(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{max(seconds, 1):.0f} s"
